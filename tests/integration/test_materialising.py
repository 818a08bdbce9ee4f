"""Full versions made of chains, by real daemons."""

from __future__ import annotations

import shutil

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.life_cycle import LetGoRequest
from ckptd.control.messages.materialising import MaterialiseRequest, MaterialiseResult
from ckptd.errors import CkptdError, ExitCode
from ckptd.model.words import Result
from tests.support.cluster import Cluster, Node
from tests.support.delta_versions import OVERWRITE, Training, assert_same, tensors_in, write_chain

pytestmark = pytest.mark.integration

NAME = "policy"


def publish(node: Node, length: int, training: Training) -> None:
    """Publish a full version 0 and so many deltas."""
    for path in write_chain(node.path(), length, training, encoding=OVERWRITE):
        node.publish(path, NAME, int(path.name), critical=(), deferred=())


def materialise(node: Node, version: int, **how: object) -> MaterialiseResult:
    """Make a full version, and return how that ended."""
    request = MaterialiseRequest(
        checkpoint=NAME,
        version=version,
        to=str(node.path("made")),
        **how,  # type: ignore[arg-type]
    )
    *_, result = node.client.materialise(request)
    assert isinstance(result, MaterialiseResult)
    return result


def test_a_full_version_is_made_of_what_stands_here(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    node, training = cluster.node("a"), Training()
    publish(node, 3, training)
    foreseen = materialise(node, 3, is_dry_run=True)
    assert not node.path("made").exists()
    made = materialise(node, 3)
    assert_same(tensors_in(node.path("made")), training.tensors)
    assert [row.version for row in made.chain] == [0, 1, 2, 3]
    assert (foreseen.size_bytes, foreseen.files) == (made.size_bytes, made.files)
    assert made.size_bytes == sum(
        path.stat().st_size for path in node.path("made").iterdir() if path.name[0] != "."
    )
    assert materialise(node, 3).is_standing
    # In the way of another version, which a person hears of.
    socket = node.client.socket_path
    arguments = ["materialise", f"{NAME}@2", "--to", str(node.path("made"))]
    assert ckptctl([*arguments, "--socket", socket]) == ExitCode.FAILED
    assert "has what was made of policy@3" in capsys.readouterr().err
    # A base that went since: nothing is made of what is left.
    node.client.forget(LetGoRequest(checkpoint=NAME, version=1))
    shutil.rmtree(node.path("made"))
    with pytest.raises(CkptdError, match="stands on policy@1, which is not here"):
        materialise(node, 3)
    assert not node.path("made").exists()


def test_what_two_nodes_make_and_publish_is_one_version_that_a_third_takes(
    cluster: Cluster,
) -> None:
    first, training = cluster.node("a"), Training()
    publish(first, 2, training)
    second = cluster.node("b", peers=[first.address])
    for version in range(3):
        assert second.recover(NAME, version).result is Result.COMPLETE
    made = [materialise(node, 2, publish=True) for node in (first, second)]
    assert {result.published for result in made} == {f"{NAME}.full"}
    assert made[0].published_digest == made[1].published_digest != ""
    again = materialise(first, 2, publish=True)
    assert (again.is_standing, again.published_digest) == (True, made[0].published_digest)
    third = cluster.node("c", peers=[first.address, second.address])
    assert third.recover(f"{NAME}.full", 2, to=third.path("taken")).result is Result.COMPLETE
    assert_same(tensors_in(third.path("taken")), training.tensors)
    # What is not what was made is not published as that.
    weights = next(first.path("made").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(CkptdError, match="changed since"):
        materialise(first, 2, publish=True)

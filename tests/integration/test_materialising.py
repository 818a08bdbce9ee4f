"""Full versions made of chains, by real daemons."""

from __future__ import annotations

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.materialising import MaterialiseRequest, MaterialiseResult
from ckptd.errors import CkptdError, ExitCode
from ckptd.model.words import Result
from tests.support.cluster import Cluster, Node, eventually
from tests.support.delta_versions import (
    OVERWRITE,
    Training,
    assert_same,
    tensors_in,
    write_chain,
    write_delta,
)

pytestmark = pytest.mark.integration

NAME = "policy"


def publish(node: Node, length: int, training: Training) -> None:
    """Publish a full version 0 and so many deltas."""
    for path in write_chain(node.path(), length, training, encoding=OVERWRITE):
        node.publish(path, NAME, int(path.name), critical=(), deferred=())


def materialise(
    node: Node,
    version: int,
    *,
    to: str = "made",
    publish: bool = False,
    is_dry_run: bool = False,
) -> MaterialiseResult:
    """Make a full version, and return how that ended."""
    request = MaterialiseRequest(
        checkpoint=NAME,
        version=version,
        to=str(node.path(to)),
        publish=publish,
        is_dry_run=is_dry_run,
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
    # Without one of the deltas nothing is made of what is left.
    for version in (0, 2, 3):
        node.publish(node.path(str(version)), "gap", version, critical=(), deferred=())
    request = MaterialiseRequest(checkpoint="gap", version=3, to=str(node.path("other")))
    with pytest.raises(CkptdError, match="stands on gap@1, which neither this node nor a peer has"):
        list(node.client.materialise(request))
    assert not node.path("other").exists()


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


def test_what_is_missing_is_fetched_by_the_fastest_way(cluster: Cluster) -> None:
    first, training = cluster.node("a"), Training()
    publish(first, 3, training)
    second = cluster.node("b", peers=[first.address])
    foreseen = materialise(second, 3, is_dry_run=True)
    assert [row.is_fetched for row in foreseen.chain] == [True] * 4
    assert [way.text.split(":")[0] for way in foreseen.ways] == [
        "from 0 in full and 3 deltas on it"
    ]
    made = materialise(second, 3, publish=True)
    assert_same(tensors_in(second.path("made")), training.tensors)
    assert made.chain == foreseen.chain
    # What that made a later one takes as it is.
    third = cluster.node("c", peers=[first.address, second.address])
    taken = materialise(third, 3, publish=True)
    assert [(row.checkpoint, row.is_fetched) for row in taken.chain] == [(f"{NAME}.full", True)]
    assert len(taken.ways) == 2
    assert taken.published_digest == made.published_digest
    assert_same(tensors_in(third.path("made")), training.tensors)
    assert {row.checkpoint for row in third.client.checkpoints() if "c" in row.nodes} == {
        f"{NAME}.full"
    }
    assert materialise(third, 3).is_standing
    # From a copy that is here only what came since is fetched and applied.
    before = training.step()
    delta = write_delta(first.path("4"), before, training.tensors, 4, 3)
    first.publish(delta, NAME, 4, critical=(), deferred=())
    eventually(lambda: "a" in third.holders(4), "the new delta is known")
    made = materialise(third, 4, to="newer")
    assert [(row.version, row.is_fetched) for row in made.chain] == [(3, False), (4, True)]
    assert_same(tensors_in(third.path("newer")), training.tensors)

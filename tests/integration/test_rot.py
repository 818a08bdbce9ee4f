"""Content that changes under an unchanged fingerprint: bit rot, writers through a mapping.

On a file system in memory a write through a mapping changes no times, so it looks like rot.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.control.messages.checkpoints import PlaceRow
from ckptd.model.words import PeerState, PlaceState, Result, SourceState
from tests.support.cluster import (
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    tree_digest,
    with_and_without_tls,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a file system in memory"),
]

ROTTEN = "100/model-1.safetensors"
AS_IT_IS = '[serving]\ncoding = "0 cores"\n'
"""Who codes a block looks at it before, so it would find by itself what is rotten."""


@pytest.fixture
def memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ckptd-test-") as directory:
        yield Path(directory)


def _holder(cluster: Cluster, name: str, root: Path) -> Node:
    """Make a node that has the version, published."""
    root.mkdir(exist_ok=True)
    node = cluster.add(name, root=root, sections=AS_IT_IS)
    make_checkpoint(node.path("100"))
    node.wait_ready()
    node.publish(node.path("100"))
    return node


def _rot(node: Node) -> None:
    before = node.path(ROTTEN).stat()
    with node.path(ROTTEN).open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[300_000] ^= 0x40
    after = node.path(ROTTEN).stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)


@with_and_without_tls
def test_both_honest_holders_of_a_rotted_block_find_it_and_stay_in_use(
    cluster: Cluster, memory: Path
) -> None:
    a, b = (_holder(cluster, name, memory / name) for name in "ab")
    whole = cluster.node("c")
    receiver = cluster.node("r", peers=[a.address, b.address, whole.address])
    for node in (a, b):
        _rot(node)
    eventually(lambda: _live(receiver) == {"a", "b", "c"}, "all are known")
    recovery = receiver.begin()
    for node in (a, b):
        eventually(lambda: "version.rotten" in node.log_text(), f"{node.node} finds it")  # noqa: B023
        assert "model-1.safetensors" in node.log_text()
    make_checkpoint(whole.path("100"))
    whole.publish(whole.path("100"))
    result = receiver.result(recovery)
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(whole.path("100"))
    for name in "ab":
        detail = receiver.client.peer(name)
        assert [bad.answer for bad in detail.evidence] == ["stale"]
        assert detail.state is not SourceState.DISTRUSTED
    for node in (a, b):
        place = eventually(lambda: _stale_place(node), f"{node.node} shows it")  # noqa: B023
        assert (place.suspect_units, place.changed_units) == (0, 1), "the others stay on offer"
        assert "bit rot" in place.reason


def _stale_place(node: Node) -> PlaceRow | None:
    ((place,),) = (row.places for row in node.client.checkpoints() if row.places)
    return place if place.state is PlaceState.STALE else None


def _live(node: Node) -> set[str | None]:
    return {row.node for row in node.client.peers() if row.state is PeerState.LIVE}

"""What a node says it has, it has: changes on its disk are noticed without anybody asking."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptd.control.messages.checkpoints import CheckpointRow
from ckptd.control.messages.observation import CheckRow, EventRecord
from ckptd.control.messages.verifications import BadUnit, VerifyRequest, VerifyResult
from ckptd.errors import NotFound
from ckptd.limits import MIB
from ckptd.model.words import CheckResult, PlaceState
from tests.support.cluster import (
    NAME,
    Cluster,
    Node,
    checkpoint_files,
    eventually,
    make_checkpoint,
    tree_digest,
)

pytestmark = pytest.mark.integration

SLOW = '[store]\ncheck_every = "1h"\n'
"""Without a look in between: what is noticed, the kernel has reported."""
OFTEN = '[store]\ncheck_every = "1s"\n'


def source_with(cluster: Cluster, sections: str) -> Node:
    node = cluster.node("a", sections=sections)
    make_checkpoint(node.path("100"))
    node.publish(node.path("100"))
    return node


def row_of(node: Node, version: int = 100) -> CheckpointRow | None:
    return next((row for row in node.client.checkpoints() if row.version == version), None)


def state_of(node: Node) -> PlaceState | None:
    row = row_of(node)
    return row.places[0].state if row and row.places else None


def lost_units(node: Node) -> int:
    row = row_of(node)
    return sum(place.changed_units for place in row.places) if row else 0


def number(event: EventRecord, fact: str) -> int:
    value = event.facts[fact]
    assert isinstance(value, int)
    return value


def rot(path: Path) -> None:
    """Change a byte and let the file look as if nothing had happened, but for its ctime."""
    facts = path.stat()
    with path.open("r+b") as file:
        file.seek(5)
        byte = file.read(1)
        file.seek(5)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def touch_all(directory: Path) -> None:
    for path in directory.rglob("*"):
        os.utime(path)
        path.chmod(0o700)


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (lambda version: (version / "model-1.safetensors").unlink(), 1),
        (lambda version: os.truncate(version / "a/b/c/block", 0), 1),
        (lambda version: rot(version / "optimizer/shard.pt"), 1),
        (lambda version: os.rename(version / "a/b", version / "a/x"), 1),
        (lambda version: shutil.rmtree(version / "small"), 12),
    ],
    ids=["removed", "truncated", "rewritten", "renamed above", "directory removed"],
)
def test_a_change_is_known_to_peers_and_the_rest_stays_on_offer(
    cluster: Cluster, change: Callable[[Path], object], lost: int
) -> None:
    source = source_with(cluster, SLOW)
    peer = cluster.node("r", peers=[source.address])
    eventually(lambda: (row := row_of(peer)) and "a" in row.nodes, "the peer sees all of it")
    change(source.path("100"))
    # Nothing is looked at for an hour: the kernel reported it, and the peer had a question open.
    eventually(lambda: (row := row_of(peer)) and "a" not in row.nodes, "the peer knows")
    eventually(lambda: lost_units(source) == lost, "the source knows what is lost")
    assert state_of(source) is PlaceState.STALE
    assert sum(number(event, "units") for event in source.events("version.stale")) == lost


def test_a_version_whose_directory_is_removed_forgets_itself(cluster: Cluster) -> None:
    source = source_with(cluster, SLOW)
    peer = cluster.node("r", peers=[source.address])
    eventually(lambda: row_of(peer), "the peer sees it")
    shutil.rmtree(source.path("100"))
    eventually(lambda: row_of(peer) is None, "the peer knows")
    assert source.client.checkpoints() == []
    (event,) = eventually(lambda: source.events("version.forgotten"), "an event")
    assert event.facts["why"] == "its directory was removed"


@pytest.mark.parametrize(
    "change",
    [
        touch_all,
        lambda version: [
            path.write_bytes(path.read_bytes()) for path in version.rglob("*") if path.is_file()
        ],
        lambda version: shutil.copytree(version, version.parent / "backup", copy_function=os.link),
    ],
    ids=["touch and chmod", "the same bytes written again", "hard links"],
)
def test_right_content_is_on_offer_again_by_itself(
    cluster: Cluster, change: Callable[[Path], object]
) -> None:
    source = source_with(cluster, OFTEN)
    change(source.path("100"))
    eventually(lambda: source.events("version.right"), "it was hashed again")
    eventually(lambda: state_of(source) is PlaceState.HERE, "it is on offer")
    expected = tree_digest(source.path("100"))
    result = cluster.node("r", peers=[source.address]).recover()
    assert tree_digest(result.target).keys() == expected.keys()


def test_what_is_put_right_is_on_offer_again(cluster: Cluster) -> None:
    source = source_with(cluster, OFTEN)
    saved = source.path("100/run.sh").read_bytes()
    source.path("100/run.sh").unlink()
    eventually(lambda: state_of(source) is PlaceState.STALE, "it is gone")
    source.path("100/run.sh").write_bytes(saved)
    eventually(lambda: state_of(source) is PlaceState.HERE, "it is back")
    source.path("100/run.sh").write_bytes(b"else" + saved[4:])
    eventually(lambda: state_of(source) is PlaceState.STALE, "it is another one")
    source.restart()
    eventually(lambda: state_of(source) is PlaceState.STALE, "it still is")
    source.path("100/run.sh").write_bytes(saved)
    eventually(lambda: state_of(source) is PlaceState.HERE, "it is back")


def verify(node: Node, **what: object) -> tuple[list[BadUnit], VerifyResult]:
    *events, result = node.client.verify(VerifyRequest(**what))  # type: ignore[arg-type]
    assert isinstance(result, VerifyResult)
    return [event for event in events if isinstance(event, BadUnit)], result


def test_somebody_can_have_everything_read_again(cluster: Cluster) -> None:
    source = source_with(cluster, SLOW)
    bad, result = verify(source)
    assert bad == []
    assert (result.places, result.units, result.changed_units) == (1, 19, 0)
    assert result.read_bytes == sum(
        path.stat().st_size for path in source.path("100").rglob("*") if path.is_file()
    )
    with pytest.raises(NotFound):
        verify(source, checkpoint=NAME, version=7)
    rot(source.path("100/optimizer/shard.pt"))
    bad, result = verify(source, checkpoint=NAME, version=100)
    assert [unit.path for unit in bad] == ["optimizer/shard.pt"]
    assert (result.changed_units, result.unread_units) == (1, 0)
    assert state_of(source) is PlaceState.STALE


def test_the_doctor_names_what_is_wrong(cluster: Cluster) -> None:
    source = source_with(cluster, SLOW)

    def findings(check: str) -> list[CheckRow]:
        rows = source.client.examine()
        return [row for row in rows if isinstance(row, CheckRow) and row.check == check]

    assert [row.verdict for row in findings("place")] == [CheckResult.OK]
    assert [row.verdict for row in findings("watch")] == [CheckResult.OK]
    source.path("100/run.sh").unlink()
    eventually(lambda: state_of(source) is PlaceState.STALE, "it is known")
    (row,) = findings("place")
    assert row.verdict is CheckResult.WARN
    assert "1 of 19 units changed" in row.finding
    assert "run.sh: was removed" in row.finding


def test_what_somebody_waits_for_is_hashed_first(cluster: Cluster) -> None:
    source = cluster.node("a", sections='[store]\ncheck_every = "1s"\ncheck_rate = "1MiB/s"\n')
    directory = make_checkpoint(source.path("100"), files=checkpoint_files(64 * MIB))
    source.publish(directory)
    touch_all(directory)
    eventually(lambda: state_of(source) is PlaceState.SUSPECT, "it is suspect")
    eventually(lambda: (row := row_of(source)) and not row.nodes, "nothing of it is on offer")
    peer = cluster.node("r", peers=[source.address])
    result = peer.recover(version=None)  # at that rate it would be a minute
    assert tree_digest(result.target).keys() == tree_digest(directory).keys()
    assert state_of(source) is PlaceState.HERE

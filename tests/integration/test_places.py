"""What happens to files on offer, and where else a version stands."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptd.control.messages.checkpoints import CheckpointRow, PlaceRow
from ckptd.model.words import PlaceState, Result
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest

pytestmark = pytest.mark.integration

UNIT = "model-1.safetensors"


def write_again(path: Path) -> None:
    path.write_bytes(path.read_bytes())


def replace_by_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


def link_and_unlink(path: Path) -> None:
    os.link(path, path.parent.parent / "snapshot")
    (path.parent.parent / "snapshot").unlink()


HARMLESS: dict[str, Callable[[Path], None]] = {
    "touch": os.utime,
    "chmod": lambda path: path.chmod(0o640),
    "chown": lambda path: os.chown(path, -1, os.getgid()),
    "setxattr": lambda path: os.setxattr(path, "user.checked", b"1"),
    "the same bytes again": write_again,
    "a copy in its place": replace_by_a_copy,
    "a link made": lambda path: os.link(path, path.parent.parent / "kept"),
    "a link made and removed": link_and_unlink,
}


def row_of(node: Node) -> CheckpointRow:
    (row,) = node.client.checkpoints()
    return row


def places_of(node: Node) -> dict[str, PlaceRow]:
    return {place.directory: place for place in row_of(node).places}


def test_what_changes_no_byte_takes_nothing_off_offer_for_long(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    for kind, act in HARMLESS.items():
        act(source.path("100", UNIT))
        source.restart()  # the daemon was away when it happened
        eventually(lambda: row_of(source).nodes == ("a",), f"on offer after: {kind}")
        assert places_of(source)[str(source.path("100"))].state is PlaceState.HERE
    source.path("100", UNIT).chmod(0o600)  # and while it serves
    result = receiver.recover()
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(source.path("100"))
    assert "quarantine" not in receiver.log_text()


def test_a_changed_unit_goes_off_offer_and_the_rest_stays(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    with source.path("100", UNIT).open("r+b") as file:
        file.write(b"the next step")
    source.restart()
    eventually(lambda: row_of(source).is_stale, "it was hashed again")
    (place,) = row_of(source).places
    assert (place.state, place.changed_units, place.suspect_units) == (PlaceState.STALE, 1, 0)
    assert UNIT in place.reason
    receiver = cluster.node("r", peers=[source.address])
    recovery = receiver.begin(patience_s=60)
    whole = sum(facts.size_bytes for facts in tree_digest(source.path("100")).values())
    receiver.wait_bytes(recovery, whole - source.path("100", UNIT).stat().st_size)


def test_a_second_place_serves_when_the_first_is_removed_and_the_reverse(cluster: Cluster) -> None:
    (peer,) = cluster.sources("p")
    source = cluster.node("a", peers=[peer.address])
    make_checkpoint(source.path("100"))
    source.publish(source.path("100"))
    first, second = str(source.path("100")), str(source.path("copy"))
    result = source.recover(NAME, 100, to=second)
    assert result.result is Result.COMPLETE
    assert set(places_of(source)) == {first, second}

    shutil.rmtree(second)
    taker = cluster.node("t1", peers=[source.address])
    assert tree_digest(taker.recover().target) == tree_digest(first)
    source.restart()
    eventually(lambda: set(places_of(source)) == {first}, "what was removed is forgotten")
    assert "version.forgotten" in source.log_text()

    assert source.recover(NAME, 100, to=second).result is Result.COMPLETE
    shutil.rmtree(first)
    taker = cluster.node("t2", peers=[source.address])
    assert tree_digest(taker.recover().target) == tree_digest(second)
    assert row_of(source).directory in {first, second}

"""One daemon for each state directory; a damaged database is not hidden, and not in the way."""

import sqlite3
from pathlib import Path

import pytest

from ckptd.control.messages.checkpoints import PlaceRow
from ckptd.errors import ExitCode
from ckptd.model.words import PlaceState
from tests.support.cluster import (
    STOP_S,
    Cluster,
    Node,
    checkpoint_files,
    eventually,
    make_checkpoint,
    without_moments,
)

pytestmark = pytest.mark.integration


def test_a_second_daemon_on_a_state_directory_ends_with_75(cluster: Cluster) -> None:
    first = cluster.node("a")
    second = Node(str(Path(first.state_dir).parent), node="a", root=first.root)
    second.client.socket_path += ".second"
    second.start()
    try:
        assert second.wait_ended(STOP_S) == ExitCode.STATE_IN_USE
    finally:
        second.kill()
    assert first.state_dir in second.log_text()
    assert first.client.status().node == "a"


def test_a_damaged_database_stops_the_start_until_it_is_moved_aside(cluster: Cluster) -> None:
    (node,) = cluster.sources("a")
    digest = node.client.checkpoints()[0].digest
    node.stop()
    database = Path(node.state_dir, "ckptd.db")
    damaged = b"no database" * 1000
    database.write_bytes(damaged)
    node.start()
    assert node.wait_ended(STOP_S) == ExitCode.FAILED
    assert str(database) in node.log_text()
    assert "--move-damaged-state" in node.log_text()
    assert database.read_bytes() == damaged

    node.restart("--move-damaged-state")
    assert list(node.client.checkpoints()) == []
    assert damaged in {path.read_bytes() for path in Path(node.state_dir).iterdir()}
    assert node.publish(node.path("100")).digest == digest


def test_what_was_published_is_served_after_a_restart(cluster: Cluster) -> None:
    (node,) = cluster.sources("a")
    before = node.client.checkpoints()
    node.kill()
    with sqlite3.connect(Path(node.state_dir, "ckptd.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    node.restart()
    assert without_moments(node.client.checkpoints()) == without_moments(before)
    result = cluster.node("r", peers=[node.address]).recover()
    assert result.bytes_received - result.bytes_wasted == result.bytes_total


def test_what_changed_while_the_daemon_was_away_is_stale(cluster: Cluster) -> None:
    (node,) = cluster.sources("a")
    node.stop()
    make_checkpoint(node.path("100"), seed=2)
    node.restart()
    (row,) = node.client.checkpoints()
    assert row.nodes == ()

    def place() -> PlaceRow:
        return node.client.checkpoints()[0].places[0]

    eventually(lambda: not place().suspect_units, "all of it was hashed again")
    assert place().state is PlaceState.STALE
    assert node.client.checkpoints()[0].is_stale
    assert place().changed_units == sum(file.size_bytes > 0 for file in checkpoint_files())

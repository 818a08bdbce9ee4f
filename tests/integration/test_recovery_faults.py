"""Sources die, come back, change and lie while a version is recovered from them.

Where something has to happen in the middle of a recovery, the sources are behind slow links,
which are healed when it has happened.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.checkpoints import CheckpointRow
from ckptd.control.messages.recovery_results import exit_code_of
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.errors import ExitCode
from ckptd.limits import MIB, REFETCH_BYTES_MAX
from ckptd.model.words import FailureCause, Result
from ckptd.store.files.layout import PARTIAL_MARKER
from tests.support.cluster import NAME, Cluster, Node, eventually, tree_digest, with_and_without_tls
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.peers import liar

pytestmark = pytest.mark.integration


def slow_link(node: Node) -> contextlib.AbstractContextManager[FaultProxy]:
    return fault_proxy(node.data_port, rate_bytes_per_s=6 * MIB)


@contextlib.contextmanager
def slow_links(nodes: list[Node]) -> Iterator[list[FaultProxy]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(slow_link(node)) for node in nodes]


def journaled_count(node: Node) -> int:
    """Return how many rows of verified blocks are in a journal."""
    with contextlib.closing(sqlite3.connect(Path(node.state_dir, "ckptd.db"))) as database:
        (count,) = database.execute("SELECT count(*) FROM verified").fetchone()
    return int(count)


def heal(links: list[FaultProxy]) -> None:
    for link in links:
        link.heal()


@with_and_without_tls
def test_a_source_killed_half_way_is_made_up_for_by_the_others(cluster: Cluster) -> None:
    sources = cluster.sources("a", "b")
    with slow_links(sources) as links:
        receiver = cluster.node("r", peers=[link.address for link in links])
        recovery = receiver.begin()

        def both_gave(view: RecoveryView) -> bool:
            return len(view.sources) == 2 and all(row.bytes > 0 for row in view.sources)

        receiver.wait_view(recovery, both_gave, "both sources gave something")
        sources[0].kill()
        heal(links)
        result = receiver.result(recovery)
    assert result.result is Result.COMPLETE
    assert {share.node for share in result.sources} == {"a", "b"}
    assert tree_digest(result.target) == tree_digest(sources[1].path("100"))


@with_and_without_tls
def test_when_all_sources_die_a_recovery_waits_and_goes_on_when_one_returns(
    cluster: Cluster,
) -> None:
    (source,) = cluster.sources("a")
    with slow_link(source) as link:
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin()
        receiver.wait_bytes(recovery, 4 * MIB)
        source.kill()
        waiting = receiver.wait_view(
            recovery,
            lambda view: bool(view.waiting_for and view.missing_units),
            "it waits for units",
        )
        assert waiting.missing_blocks > 0
        assert "optimizer/shard.pt" in waiting.missing_units
        assert not set(waiting.missing_units) & {"config.json", "empty"}
        link.heal()
        source.restart()
        result = receiver.result(recovery)
    assert (result.result, result.is_degraded) == (Result.COMPLETE, False)
    assert result.bytes_received <= result.bytes_total + REFETCH_BYTES_MAX
    assert tree_digest(result.target) == tree_digest(source.path("100"))


@with_and_without_tls
def test_a_receiver_that_was_killed_goes_on_where_it_was(cluster: Cluster) -> None:
    sources = cluster.sources("a", "b")
    with slow_links(sources) as links:
        receiver = cluster.node("r", peers=[link.address for link in links])
        recovery = receiver.begin()
        eventually(lambda: journaled_count(receiver), "something is in the journal")
        assert not receiver.client.recovery(recovery).stage.is_ended
        receiver.kill()
        assert not receiver.path(NAME).exists()
        heal(links)
        receiver.restart()
        result = receiver.result(recovery)
    assert result.result is Result.COMPLETE
    assert result.bytes_resumed > 0
    assert result.bytes_resumed + result.bytes_received - result.bytes_wasted == result.bytes_total
    assert tree_digest(result.target) == tree_digest(sources[0].path("100"))
    assert {entry.name for entry in receiver.path().iterdir()} == {"llama"}


def test_a_file_that_changes_makes_its_version_stale_and_nobody_is_blamed(
    sources: list[Node], cluster: Cluster
) -> None:
    (changing,) = cluster.sources("c")
    receiver = cluster.node("r", peers=[changing.address, sources[0].address])
    holders_known = eventually(lambda: _holders(receiver) == {"c", "a"}, "both are known")
    assert holders_known
    with changing.path("100/model-1.safetensors").open("r+b") as file:
        file.write(b"the next step")
    result = receiver.recover()
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(sources[0].path("100"))
    assert "source.bad_block" not in receiver.log_text()
    assert eventually(lambda: _holders(receiver) == {"a", "r"}, "the version is stale")
    eventually(lambda: changing.client.checkpoints()[0].is_stale, "it was hashed again")
    (row,) = changing.client.checkpoints()
    assert row.nodes == ()
    (place,) = row.places
    assert (place.changed_units, place.suspect_units) == (1, 0)
    assert "model-1.safetensors" in place.reason


def _holders(node: Node) -> set[str]:
    rows: list[CheckpointRow] = node.client.checkpoints()
    return {name for row in rows if row.checkpoint == NAME for name in row.nodes}


def test_a_lying_source_is_found_out_and_the_version_is_right(
    sources: list[Node], cluster: Cluster
) -> None:
    with liar("liar", sources[1].data_port) as lying:
        receiver = cluster.node("r", peers=[lying.address, sources[0].address])
        eventually(lambda: _holders(receiver) == {"liar", "a"}, "both are known")
        result = receiver.recover()
        assert lying.lies > 0
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(sources[0].path("100"))
    assert result.bytes_wasted > 0
    assert "source.bad_block source=liar" in receiver.log_text()


def test_without_required_units_a_recovery_fails_and_places_nothing(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    with slow_link(source) as link:
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin(patience_s=0.3)
        receiver.wait_bytes(recovery, 4 * MIB)
        source.kill()
        result = receiver.result(recovery)
    assert (result.result, result.cause) == (Result.FAILED, FailureCause.REQUIRED_MISSING)
    assert "--allow-partial" in result.message
    assert exit_code_of(result) is ExitCode.MISSING
    assert not os.path.exists(result.target)
    assert receiver.client.checkpoints() == []


def test_a_partial_result_is_placed_if_that_is_permitted_and_not_called_complete(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = cluster.sources("a")
    with slow_link(source) as link:
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin(patience_s=0.3, allow_partial=True)
        receiver.wait_bytes(recovery, 4 * MIB)
        source.kill()
        result = receiver.result(recovery)
        assert (result.result, result.is_degraded) == (Result.PARTIAL, True)
        assert 0 < result.bytes_placed < result.bytes_total
        assert "optimizer/shard.pt" in result.missing_units
        marker = json.loads(Path(result.target, PARTIAL_MARKER).read_bytes())
        assert marker["digest"] == result.digest
        assert {unit["path"] for unit in marker["missing"]} == set(result.missing_units)
        os.unlink(os.path.join(result.target, PARTIAL_MARKER))
        here, whole = tree_digest(result.target), tree_digest(source.path("100"))
        assert "config.json" in here
        assert here.items() < whole.items()
        command = ["--socket", receiver.client.socket_path]
        assert ckptctl([*command, "watch", recovery]) == ExitCode.PARTIAL
        assert "missing: " in capsys.readouterr().out
    (row,) = receiver.client.checkpoints()
    assert (row.nodes, row.is_complete) == ((), False)


def test_a_version_that_ended_in_part_is_completed_where_it_stands(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    with slow_link(source) as link:
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin(patience_s=0.3, allow_partial=True)
        receiver.wait_bytes(recovery, 4 * MIB)
        source.kill()
        assert receiver.result(recovery).result is Result.PARTIAL
        source.restart()
        eventually(lambda: _holders(receiver) == {"a"}, "the holder is back")
        link.heal()
        result = receiver.recover()
    assert (result.result, result.is_degraded) == (Result.COMPLETE, False)
    assert result.bytes_local > 0
    assert tree_digest(result.target) == tree_digest(source.path("100"))
    assert "r" in _holders(receiver)


def test_without_patience_a_missing_critical_unit_fails_the_recovery(
    cluster: Cluster, tmp_path: Path
) -> None:
    (source,) = cluster.sources("a")
    source.publish(source.path("100"), "urgent", critical=("*.safetensors",))
    with slow_link(source) as link:
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin("urgent", patience_s=0.3)
        receiver.wait_bytes(recovery, 4 * MIB)
        source.kill()
        command = ["--socket", receiver.client.socket_path]
        assert ckptctl([*command, "watch", recovery]) == ExitCode.MISSING
    assert not receiver.path("urgent").exists()

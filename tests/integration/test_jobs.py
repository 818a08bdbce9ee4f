"""A job of several shards is recovered as one thing: one command, one directory, one version."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.jobs import NewestRequest, NewestView
from ckptd.control.messages.life_cycle import RemoveRequest, RemoveResult
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.errors import Conflict, UsageError
from ckptd.limits import MIB
from ckptd.model.words import Location, Result
from tests.support.cluster import (
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    tree_digest,
    with_and_without_tls,
)
from tests.support.metrics_page import samples

pytestmark = pytest.mark.integration

JOB = "llama"
COUNT = 4
SHARD_BYTES = 3 * MIB


def files_of(shard: int) -> list[PlannedFile]:
    return [
        PlannedFile(f"rank-{shard}/model.safetensors", SHARD_BYTES),
        PlannedFile(f"rank-{shard}/config.json", 300),
    ]


def save(node: Node, shards: Sequence[int], version: int = 100, *, count: int = COUNT) -> Path:
    """Save what some ranks have, each into a directory of its own, and publish it."""
    saved = node.path("saved", str(version))
    for shard in shards:
        directory = saved / str(shard)
        make_checkpoint(directory, seed=version * 100 + shard, files=files_of(shard))
        (directory / "config.json").write_bytes(b'{"layers": 32}')
        node.publish(directory, f"{JOB}/shard-{shard}-of-{count}", version, deferred=())
    return saved


def together(*saved: Path) -> dict[str, object]:
    """What all ranks have saved, as if into one directory."""
    return {
        path: facts
        for each in saved
        for directory in sorted(each.iterdir())
        for path, facts in tree_digest(directory).items()
    }


def recover(node: Node, shards: str = "", version: int | None = None) -> RecoveryResult:
    view = node.client.recover(RecoverRequest(checkpoint=JOB, version=version, shards=shards))
    return node.result(view.recovery)


def plan(node: Node, shards: str) -> Plan:
    """Return the plan once there is a version that is whole."""

    def look() -> Plan | None:
        found = node.client.plan(PlanRequest(checkpoint=JOB, shards=shards))
        return found if found.is_settled and found.version is not None else None

    return eventually(look, "a version can be chosen")


def removal_of(node: Node, *, is_dry_run: bool = False) -> RemoveResult:
    request = RemoveRequest(checkpoint=JOB, version=100, is_dry_run=is_dry_run)
    *_, removed = node.client.remove(request)
    assert isinstance(removed, RemoveResult)
    return removed


def shards_here(node: Node, version: int = 100) -> list[str]:
    return sorted(
        row.checkpoint.rpartition("/")[2]
        for row in node.client.checkpoints()
        if row.version == version and row.held is Location.HERE and not row.is_stale
    )


@pytest.fixture
def holders(cluster: Cluster) -> list[Node]:
    """Two nodes with two shards each; nobody has all."""
    nodes = [cluster.add(name) for name in ("a", "b")]
    for node in nodes:
        node.wait_ready()
    return nodes


@with_and_without_tls
def test_all_shards_come_into_one_directory_and_are_served_from_there(
    cluster: Cluster, holders: list[Node]
) -> None:
    first, second = holders
    saved = [save(first, (0, 1)), save(second, (2, 3))]
    receiver = cluster.node("r", peers=[first.address, second.address])
    before = plan(receiver, "all")
    assert (before.version, before.shards, before.missing_blocks) == (100, "all", 0)
    assert [row.node for row in before.sources] == ["a", "b"]
    assert before.here is None
    result = recover(receiver, "all")
    assert result.result is Result.COMPLETE
    assert (before.target, before.needed_bytes) == (result.target, result.bytes_received)
    after = plan(receiver, "all")
    assert (after.is_here, after.needed_bytes) == (True, 0)
    assert Path(result.target) == receiver.path(JOB, "100")
    assert tree_digest(result.target) == together(*saved)
    # The file that all of them have came once.
    assert result.bytes_total == COUNT * (SHARD_BYTES + 300) + len(b'{"layers": 32}')
    assert shards_here(receiver) == [f"shard-{shard}-of-{COUNT}" for shard in range(COUNT)]
    again = recover(receiver, "all")
    assert (again.result, again.bytes_received) == (Result.COMPLETE, 0)
    for node in holders:
        node.stop()
    (receiver.path(JOB, "100") / "of the job").write_text("stays")
    other = cluster.node("o", peers=[receiver.address])
    assert recover(other, "1,2").result is Result.COMPLETE
    assert tree_digest(other.path(JOB, "100")) == {
        path: facts
        for path, facts in together(*saved).items()
        if not path.startswith(("rank-0/", "rank-3/"))
    }
    foreseen = removal_of(other, is_dry_run=True)
    assert foreseen.places == removal_of(other).places
    assert [row.is_directory_gone for row in foreseen.places] == [True, True]
    assert not other.path(JOB, "100").exists()
    foreseen, removed = (
        removal_of(receiver, is_dry_run=is_dry_run) for is_dry_run in (True, False)
    )
    assert foreseen.places == removed.places
    assert len(removed.places) == COUNT
    assert sum(row.removed_bytes for row in removed.places) == result.bytes_total
    assert not any(row.is_directory_gone for row in removed.places)
    assert [path.name for path in receiver.path(JOB, "100").iterdir()] == ["of the job"]
    assert shards_here(receiver) == []


def test_a_node_gets_back_what_it_had_of_the_newest_version_that_is_whole(
    cluster: Cluster, holders: list[Node]
) -> None:
    first, second = holders
    save(first, (0, 1))
    saved = save(second, (2, 3))
    receiver = cluster.node("r", peers=[first.address, second.address])
    assert recover(receiver, "2,3").result is Result.COMPLETE
    save(first, (0, 1), 101)
    save(second, (2,), 101)  # the last rank never came so far
    shutil.rmtree(receiver.path(JOB))
    eventually(lambda: not shards_here(receiver) or None, "the node sees that all is gone")
    eventually(
        lambda: 101 in {row.version for row in receiver.client.checkpoints()} or None,
        "the newer version is known",
    )
    newest = receiver.client.newest(NewestRequest(job=JOB, for_s=60.0))
    assert (newest.version, newest.shards, newest.is_agreed) == (100, COUNT, True)
    planned = plan(receiver, "")
    assert (planned.version, planned.shards) == (100, f"2-3/{COUNT}")
    (over,) = planned.passed_over
    assert (over.version, over.why) == (101, f"shard 3/{COUNT} is missing: nobody has it")
    result = recover(receiver)
    assert (result.result, result.version) == (Result.COMPLETE, 100)
    assert planned.needed_bytes == result.bytes_received
    assert tree_digest(result.target) == {
        **tree_digest(saved / "2"),
        **tree_digest(saved / "3"),
    }
    told = receiver.client.explain(result.recovery)
    assert any("shard 3" in str(row) for row in told.passed_over), told.passed_over


def test_a_kill_loses_nothing_that_was_there(cluster: Cluster, holders: list[Node]) -> None:
    first, second = holders
    saved = [save(first, (0, 1)), save(second, (2, 3))]
    slow = '\n[limits]\ningress = "4MB/s"\n'
    receiver = cluster.node("r", peers=[first.address, second.address], sections=slow)
    view = receiver.client.recover(RecoverRequest(checkpoint=JOB, shards="all"))
    receiver.wait_bytes(view.recovery, 2 * SHARD_BYTES // 3)
    receiver.kill()
    receiver.sections = ""
    receiver.restart()
    result = receiver.result(view.recovery)
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == together(*saved)
    assert shards_here(receiver) == [f"shard-{shard}-of-{COUNT}" for shard in range(COUNT)]


def test_shards_that_contradict_each_other_are_named(cluster: Cluster, holders: list[Node]) -> None:
    first, second = holders
    save(first, (0,), count=2)
    directory = second.path("saved", "1")
    make_checkpoint(directory, files=[PlannedFile("config.json", 300)])
    second.publish(directory, f"{JOB}/shard-1-of-2", deferred=())
    receiver = cluster.node("r", peers=[first.address, second.address])
    result = recover(receiver, "all")
    assert result.result is Result.FAILED
    assert "'config.json'" in result.message
    assert "shard 0/2" in result.message
    with pytest.raises(Conflict, match=r"'config.json'"):
        first.publish(directory_with(first, b"{}"), f"{JOB}/shard-1-of-2", deferred=())


def directory_with(node: Node, content: bytes) -> Path:
    directory = node.path("other")
    directory.mkdir()
    (directory / "config.json").write_bytes(content)
    return directory


def test_a_node_that_never_had_a_shard_is_asked_which(
    cluster: Cluster, holders: list[Node]
) -> None:
    save(holders[0], (0, 1), count=2)
    receiver = cluster.node("r", peers=[holders[0].address])
    with pytest.raises(UsageError, match="never had one"):
        recover(receiver)
    with pytest.raises(UsageError, match="never had one"):
        receiver.client.plan(PlanRequest(checkpoint=JOB))
    assert recover(receiver, "1").result is Result.COMPLETE
    assert shards_here(receiver) == ["shard-1-of-2"]


def test_a_node_that_lost_its_state_gets_back_what_is_configured(
    cluster: Cluster, holders: list[Node]
) -> None:
    save(holders[0], (0, 1), count=2)
    receiver = cluster.node(
        "r", peers=[holders[0].address], sections='\n[jobs.llama]\nshards = "0/2"\n'
    )
    assert recover(receiver, "mine").result is Result.COMPLETE
    assert shards_here(receiver) == ["shard-0-of-2"]
    config = Path(receiver.config_path)
    config.write_text(config.read_text().replace('"0/2"', '"1/2"'))
    assert receiver.client.reload().applied == ("jobs.llama",)
    assert plan(receiver, "").shards == "1/2"


def test_nodes_that_placed_different_versions_are_named_and_counted(cluster: Cluster) -> None:
    source = cluster.node("s")
    for version in (100, 101):
        save(source, (0, 1), version, count=2)
    first = cluster.node("a", peers=[source.address])
    second = cluster.node("b", peers=[source.address, first.address])
    assert recover(first, "0", 100).result is Result.COMPLETE
    assert recover(second, "1", 101).result is Result.COMPLETE

    def newest() -> NewestView:
        return second.client.newest(NewestRequest(job=JOB))

    def by_node() -> dict[str, int]:
        return {row.node: row.version for row in newest().placed}

    eventually(lambda: by_node() == {"a": 100, "b": 101} or None, "they know of each other")
    assert not newest().is_agreed
    assert samples(second, "jobs_placed_apart") == {"": 1}
    placed_by = {
        row.version: row.placed_by
        for row in second.client.checkpoints()
        if row.checkpoint == f"{JOB}/shard-0-of-2"
    }
    assert placed_by == {100: ("a",), 101: ("b",)}
    assert recover(first, "0", 101).result is Result.COMPLETE
    eventually(lambda: newest().is_agreed or None, "all have the same again")
    assert samples(second, "jobs_placed_apart") == {"": 0}

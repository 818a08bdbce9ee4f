"""What somebody hears who lets retention remove now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ckptd.config.sections import RetentionSection
from ckptd.control.messages.retention import CollectedRow, CollectRequest, CollectResult
from ckptd.daemon.answer.collect_answers import CollectAnswers
from ckptd.errors import NotFound, UsageError
from ckptd.model.words import GoesBecause, KeptBecause
from tests.support.retaining import NAME, RetainingNode, RetainingNodes


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[RetainingNodes]:
    async with RetainingNodes(tmp_path) as opened:
        yield opened


async def node_of(nodes: RetainingNodes, section: RetentionSection) -> RetainingNode:
    """Return a node with three versions; an archive has the first one, too."""
    node, archive = await nodes.add("a", section), await nodes.add("z", RetentionSection())
    for version in (1, 2, 3):
        await node.save(version)
    await archive.save(1)
    nodes.spread()
    return node


async def collect(
    node: RetainingNode, request: CollectRequest
) -> tuple[list[CollectedRow], CollectResult]:
    *rows, result = [each async for each in CollectAnswers(node.retention).collect(request)]
    assert isinstance(result, CollectResult)
    return [row for row in rows if isinstance(row, CollectedRow)], result


async def test_each_version_comes_with_the_reason_and_last_the_sum(nodes: RetainingNodes) -> None:
    node = await node_of(nodes, RetentionSection(newest=1))
    rows, result = await collect(node, CollectRequest(is_dry_run=True))
    said = {row.version: (row.goes_because or row.kept_because, row.why) for row in rows}
    last = "0 other nodes have all of it, by what they said last"
    assert said == {
        3: (KeptBecause.NEWEST, "one of the newest 1"),
        2: (KeptBecause.COPIES, f"{last}; copies = 1 must say so when they are asked"),
        1: (GoesBecause.OLD, "not among the newest 1"),
    }
    (first,) = [row for row in rows if row.version == 1]
    size_bytes = first.size_bytes
    assert result == CollectResult(
        is_on=True,
        removed=1,
        freed_bytes=size_bytes,
        kept={"copies": 1, "newest": 1},
        short_bytes={},
        is_dry_run=True,
    )
    assert first.directories == (f"{node.root.path}/{NAME}/1",)
    _, result = await collect(node, CollectRequest(name=NAME))
    assert (result.removed, result.freed_bytes) == (1, size_bytes)
    assert node.on_disk == [2, 3]


async def test_a_shard_stands_for_its_job_and_a_name_that_is_not_here_is_an_error(
    nodes: RetainingNodes,
) -> None:
    node = await node_of(nodes, RetentionSection(newest=1))
    rows, _ = await collect(node, CollectRequest(name=f"{NAME}/shard-0-of-2", is_dry_run=True))
    assert len(rows) == 3
    with pytest.raises(NotFound, match="does not stand on this node"):
        await collect(node, CollectRequest(name="other"))


@pytest.mark.parametrize(
    ("section", "free_bytes"), [(RetentionSection(), 5), (RetentionSection(newest=1), -1)]
)
async def test_room_is_made_only_by_rules(
    nodes: RetainingNodes, section: RetentionSection, free_bytes: int
) -> None:
    node = await node_of(nodes, section)
    with pytest.raises(UsageError):
        await collect(node, CollectRequest(free_bytes=free_bytes))


async def test_each_reason_is_a_sentence(nodes: RetainingNodes) -> None:
    node = await node_of(nodes, RetentionSection(newest=1, every_s=3600))
    rows, _ = await collect(node, CollectRequest(is_dry_run=True))
    why = {row.version: row.why for row in rows}
    assert why[1] == "one for every 1h00m, while there is room"

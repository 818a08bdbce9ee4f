"""The chains of what stands on a node, by a real catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ckptd.chains.chain_links import ChainLink
from ckptd.config.sections import RetentionSection
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.published.held_chains import bases_for, known_version, series_by_name, series_of
from tests.support.retaining import NAME, RetainingNodes


async def test_a_chain_is_known_by_what_manifests_say_also_after_a_restart(tmp_path: Path) -> None:
    async with RetainingNodes(tmp_path) as nodes:
        node = await nodes.add("a", RetentionSection())
        full = await node.save(40)
        first = await node.save_delta(41, 40, full)
        second = await node.save_delta(42, 41, first)
        for _ in range(2):
            series = series_of(node.catalog, NAME)
            on = [series.base(ChainLink(Version(base))) for base in (41, 40)]
            assert [each and each.digest for each in on] == [first, full]
            assert [each.digest for each in series.standing_on({full})] == [first, second]
            await node.open()


async def test_what_is_withdrawn_is_known_all_the_same(tmp_path: Path) -> None:
    async with RetainingNodes(tmp_path) as nodes:
        node = await nodes.add("a", RetentionSection())
        full = await node.save(40)
        delta = await node.save_delta(41, 40, full)
        (held,) = node.catalog.find(NAME, Version(40))
        await node.catalog.withdraw_all([held.places[0].number])
        series = series_of(node.catalog, NAME)
        base = series.base(ChainLink(Version(40), full))
        assert base is not None
        assert base.digest == full
        assert [each.digest for each in series.standing_on({full})] == [delta]


async def test_of_what_is_unseen_nothing_is_known(tmp_path: Path) -> None:
    async with RetainingNodes(tmp_path) as nodes:
        node = await nodes.add("a", RetentionSection())
        delta = await node.save_delta(41, 40, None)
        held = node.catalog.held(delta)
        assert held is not None
        assert known_version(node.catalog, held).link == ChainLink(Version(40), None, "xor")
        unseen = replace(held, places=(replace(held.places[0], is_unseen=True),))
        assert series_by_name(node.catalog, [unseen]) == {}
        assert series_of(node.catalog, CheckpointName("other")).standing_on({delta}) == ()


async def test_bases_are_earlier_versions_with_one_content(tmp_path: Path) -> None:
    async with RetainingNodes(tmp_path) as nodes:
        node = await nodes.add("a", RetentionSection())
        full = await node.save(40)
        await node.save(41)
        await node.save_rival(41)
        delta = await node.save_delta(42, 40, full)
        await node.save(43)
        bases, links = bases_for(node.catalog, NAME, Version(42))
        assert bases == {Version(40): full}
        assert links == {delta: ChainLink(Version(40), full, "xor")}

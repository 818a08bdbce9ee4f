"""Of which units there are fewer proven copies than were asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.copies.counts import CopyCounts
from ckptd.daemon.audit.timetable import PROVEN_NS
from ckptd.daemon.measure.under_replicated import ShortOfCopies, UnderReplicated
from ckptd.limits import KIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.store.files.roots import Root
from ckptd.store.published.catalog import Catalog
from tests.support.scheduling import A, B, C, Saved, blocks, holding, saved
from tests.support.stores import mark_changed, publish, write_files

LISTED = CheckpointName("llama/rank-0")
VERSION = saved(2, 3, critical=(1, 1), deferred=(4,), optional=(2,))
"""Blocks 0 and 1 are critical units, 2 to 7 two normal ones, 7 to 11 a deferred one."""
ALL = {"critical": 0, "normal": 0, "deferred": 0}


class Scene:
    """A node that has nothing, and what peers say."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.peers: dict[NodeId, tuple[Holding, ...]] = {}
        self.proven = {A, B, C}
        self.counts = CopyCounts(2, 2, 1)
        self.versions: dict[Digest, Saved] = {VERSION.digest: VERSION}
        self.opened: list[Digest] = []
        self.now = 0
        self.under = UnderReplicated(
            catalog,
            self.of_peers,
            lambda node, _: node in self.proven,
            lambda name: self.counts if name == LISTED else None,
            self.space_of,
            lambda: self.now,
        )

    def of_peers(self) -> Iterable[tuple[NodeId, Iterable[Holding]]]:
        return self.peers.items()

    async def space_of(self, _: CheckpointName, digest: Digest) -> AddressSpace | None:
        self.opened.append(digest)
        if self.catalog.held(digest) is not None:
            return AddressSpace(await self.catalog.manifest(digest))
        known = self.versions.get(digest)
        return None if known is None else known.space

    async def units(self, **peers: Holding | Saved | tuple[Holding, ...]) -> dict[str, int]:
        """Let peers say what they have; return how many units have too few copies."""
        said = {
            NodeId(node): (what if isinstance(what, tuple) else (_held(what),))
            for node, what in peers.items()
        }
        self.peers = said
        await self.under.refresh()
        return dict(self.under.units(is_on=True))


def _held(what: Holding | Saved) -> Holding:
    return holding(what) if isinstance(what, Saved) else what


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    return Scene(catalog)


async def test_nobody_asked_so_nothing_is_said(scene: Scene) -> None:
    assert scene.under.units(is_on=False) == {}
    assert await scene.units() == ALL


async def test_units_of_a_class_are_counted_with_fewer_copies_than_asked(scene: Scene) -> None:
    assert await scene.units(a=VERSION) == {"critical": 2, "normal": 2, "deferred": 0}
    assert await scene.units(a=VERSION, b=VERSION) == ALL
    scene.counts = CopyCounts(3, 2, 0)
    assert await scene.units(a=VERSION, b=VERSION) == ALL | {"critical": 2}
    assert scene.under.short() == [ShortOfCopies(holding(VERSION), Criticality.CRITICAL, 3, 2, 2)]


async def test_a_claim_that_is_not_proven_is_no_copy(scene: Scene) -> None:
    scene.proven = {A}
    assert (await scene.units(a=VERSION, b=VERSION))["critical"] == 2
    scene.proven = {A, B}
    assert await scene.units(a=VERSION, b=VERSION) == ALL


async def test_who_has_the_critical_units_alone_counts_for_those(scene: Scene) -> None:
    part = holding(VERSION, blocks((0, 2)))
    assert await scene.units(a=VERSION, b=part) == ALL | {"normal": 2}


async def test_a_unit_of_which_a_block_is_missing_counts_once(scene: Scene) -> None:
    part = holding(VERSION, blocks((0, 4), (6, 7)))
    assert await scene.units(a=VERSION, b=part) == ALL | {"normal": 1}
    part = holding(VERSION, blocks((0, 3), (5, 6)))
    assert await scene.units(a=VERSION, b=part) == ALL | {"normal": 2}
    others = holding(VERSION, blocks((3, 5), (6, 7)))
    assert await scene.units(a=VERSION, b=part, c=others) == ALL, "together they have all"


async def test_optional_units_may_be_missing(scene: Scene) -> None:
    required = holding(VERSION, blocks((0, 11)))
    assert await scene.units(a=required, b=required) == ALL


async def test_only_the_newest_version_of_a_listed_checkpoint_counts(scene: Scene) -> None:
    newer = saved(5, version=200)
    other = saved(5, checkpoint="other")
    scene.versions |= {newer.digest: newer, other.digest: other}
    both = (holding(VERSION), holding(newer), holding(other))
    assert await scene.units(a=both) == ALL | {"normal": 1}
    assert scene.opened == [newer.digest]
    scene.proven = set()
    assert await scene.units(a=both) == ALL | {"normal": 1}, "it is watched on"


async def test_a_newer_version_that_nobody_proved_takes_no_place(scene: Scene) -> None:
    newer = saved(5, version=200)
    scene.versions[newer.digest] = newer
    scene.proven = {A}
    found = await scene.units(a=VERSION, b=newer)
    assert found == {"critical": 2, "normal": 2, "deferred": 0}


async def test_where_nobody_showed_anything_no_unit_has_a_copy(scene: Scene) -> None:
    scene.proven = set()
    assert await scene.units(a=VERSION) == {"critical": 2, "normal": 2, "deferred": 1}


async def test_a_version_that_is_lost_is_missed_for_a_day_or_until_a_newer_one_is_whole(
    scene: Scene,
) -> None:
    older = saved(5, version=50)
    newer = saved(5, version=200)
    scene.versions |= {older.digest: older, newer.digest: newer}
    await scene.units(a=VERSION, b=VERSION)
    lost = {"critical": 2, "normal": 2, "deferred": 1}
    assert await scene.units(a=older) == lost
    scene.now += PROVEN_NS - 1
    assert await scene.units(a=older) == lost
    scene.now += 1
    assert await scene.units(a=older) == ALL | {"normal": 1}
    assert await scene.units(a=newer, b=newer) == ALL


async def test_what_somebody_let_go_is_not_missed_if_nobody_else_has_it(scene: Scene) -> None:
    await scene.units(a=VERSION)
    scene.under.let_go(VERSION.digest)
    assert (await scene.units(a=VERSION))["critical"] == 2
    scene.under.let_go(VERSION.digest)
    assert await scene.units() == ALL


async def test_what_is_on_offer_here_needs_no_proof(scene: Scene, root: Root) -> None:
    write_files(Path(root.path, "v7"), {"a.bin": b"a", "b.bin": b"b" * (256 * KIB + 1), "c": b""})
    await scene.catalog.add(publish(root, "v7", version=7, critical=("a.bin",)))
    [own] = scene.catalog.holdings()
    scene.counts = CopyCounts(1, 1, 1)
    assert await scene.units() == ALL
    scene.counts = CopyCounts(2, 2, 2)
    assert await scene.units() == ALL | {"critical": 1, "normal": 1}, "one unit has no bytes"
    assert await scene.units(a=own) == ALL
    mark_changed(scene.catalog, own.digest)
    assert await scene.units(a=own) == ALL | {"critical": 1, "normal": 1}


async def test_a_version_whose_manifest_nobody_has_is_looked_at_again(scene: Scene) -> None:
    scene.versions.clear()
    assert await scene.units(a=VERSION) == ALL
    scene.versions[VERSION.digest] = VERSION
    assert (await scene.units(a=VERSION))["critical"] == 2


async def test_rivals_are_all_watched(scene: Scene) -> None:
    rival = saved(1, version=100)
    scene.versions[rival.digest] = rival
    found = await scene.units(a=VERSION, b=rival)
    assert found == {"critical": 2, "normal": 3, "deferred": 0}


async def test_what_peers_have_in_parts_counts_up_to_a_bound(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.daemon.measure.under_replicated.PARTS_COUNTED_MAX", 1)
    first = replace(holding(VERSION), blocks=BlockSet([(0, 5)]))
    second = replace(holding(VERSION), blocks=BlockSet([(5, 11)]))
    assert await scene.units(a=VERSION, b=first, c=second) == ALL | {"normal": 1}

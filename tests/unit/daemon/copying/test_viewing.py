"""What a node knows of the fleet, out of what peers say and what stands here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.config import Config
from ckptd.config.copy_values import CopiesSection
from ckptd.copies.fleet import BaseVersion, FleetView, Room
from ckptd.daemon.copying.layouts import ClassLayout, NamedContent, VersionLayouts, named
from ckptd.daemon.copying.viewing import Proofs, Viewing
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.serve.advertising import Advertising
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version
from ckptd.model.words import Criticality, OnConflict, PeerState
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from tests.support.stores import publish, write_files

A, B, C, OWN = (NodeId(name) for name in ("a", "b", "c", "own"))
NAME = CheckpointName("llama")
ROOM = Room(10**9)
CRITICAL, NORMAL, DEFERRED = Criticality
LAYOUT = ClassLayout(
    {CRITICAL: BlockSet([(0, 1)]), NORMAL: BlockSet([(1, 3)])}, {CRITICAL: 10, NORMAL: 20}
)
SECTION = CopiesSection(
    names=("llama*",), root="copies", quota_bytes=10**9, zones={"rack-1": ("a",)}
)


def holding(
    version: int = 1, *runs: tuple[int, int], content: int = 0, name: str = NAME
) -> Holding:
    digest = Digest(f"{version * 1000 + content:064x}")
    blocks = BlockSet(runs) if runs else BlockSet.full(3)
    return Holding(CheckpointName(name), Version(version), digest, 30, 3, blocks)


class Fleet:
    """What peers say, and one node that looks at it."""

    def __init__(self, catalog: Catalog) -> None:
        self.said: dict[NodeId, Holdings] = {}
        self.quarantined: set[NodeId] = set()
        self.proven: set[NodeId] = set()
        self.unknown: set[NodeId] = set()
        self.layouts: dict[NamedContent, ClassLayout] = {}
        self.is_settled = True
        self.now = 0
        self.catalog = catalog
        self.on_conflict = OnConflict.WAIT
        self.wanted: list[NamedContent] = []
        self.default_layout: ClassLayout | None = LAYOUT
        scheduler = SimpleNamespace(said=self._trusted)
        peering = SimpleNamespace(said=lambda: dict(self.said), peers=self._peers)
        self._scheduler = scheduler
        recovering = SimpleNamespace(
            scheduler=scheduler, peering=peering, runtime=SimpleNamespace(now=lambda: 0)
        )
        recovery = SimpleNamespace(on_conflict=self.on_conflict)
        self.config = SimpleNamespace(
            copies=SECTION, node=SimpleNamespace(id=OWN, zone="rack-9"), recovery=recovery
        )
        self.advertising = Advertising(OWN, Epoch(1), catalog)
        self.viewing = Viewing(
            cast("Config", self.config),
            catalog,
            cast("Recovering", recovering),
            cast("VersionLayouts", SimpleNamespace(get=self._layout, want=self._want)),
            cast("Proofs", SimpleNamespace(is_proven=self._is_proven)),
            self.advertising,
            None,
        )

    def hear(
        self, node: NodeId, *held: Holding, keeps: tuple[str, ...] = (), is_full: bool = False
    ) -> None:
        """Have a node say something else from now on."""
        revision = self.said[node].revision + 1 if node in self.said else 1
        self.said[node] = Holdings(node, Epoch(1), revision, held, keeps=keeps, is_full=is_full)

    def look(self) -> FleetView:
        self._scheduler.is_settled = self.is_settled
        return self.viewing.look(ROOM, now=self.now)

    def claims(self, version: int = 1) -> dict[NodeId, tuple[Criticality | None, bool, int]]:
        """Who has what of a version, whether that is proven, and how many bytes."""
        (found,) = [each for each in self.look().versions if each.version == version]
        return {each.node: (each.least, each.is_proven, each.held_bytes) for each in found.claims}

    def _trusted(self, now: int) -> list[tuple[NodeId, tuple[Holding, ...]]]:
        del now
        return [
            (node, said.holdings)
            for node, said in self.said.items()
            if node not in self.quarantined
        ]

    def _peers(self) -> list[object]:
        live = [SimpleNamespace(state=PeerState.LIVE) for _ in self.said]
        return [
            *live,
            *(SimpleNamespace(state=PeerState.UNREACHABLE, node=node) for node in self.unknown),
        ]

    def _is_proven(self, node: NodeId, digest: Digest, now: int) -> bool:
        del digest, now
        return node in self.proven

    def _layout(self, content: NamedContent) -> ClassLayout | None:
        return self.layouts.get(content, self.default_layout)

    def _want(self, wanted: object) -> None:
        self.wanted = list(cast("list[NamedContent]", wanted))


@pytest.fixture
async def fleet(database: Database, tmp_path: Path) -> AsyncIterator[Fleet]:
    roots = []
    for name in ("main", "copies"):
        (tmp_path / name).mkdir()
        roots.append(Root.open(name, str(tmp_path / name)))
    catalog = Catalog(database, Roots(roots, for_copies="copies"))
    await catalog.load()
    yield Fleet(catalog)
    for root in roots:
        root.close()


async def stand_here(fleet: Fleet, root_name: str, *, is_published: bool = False) -> Holding:
    """Let a version stand here, below a root."""
    root = fleet.viewing._catalog._roots[root_name]
    relative = "llama/7"
    write_files(Path(root.path, relative), {"w": b"x" * 100})
    hashed = publish(root, relative, checkpoint=NAME, version=7, critical=("w",))
    held = await fleet.catalog.add(hashed, is_published=is_published)
    return held.holding


async def test_what_is_claimed_counts_as_the_classes_that_are_whole(fleet: Fleet) -> None:
    fleet.hear(A, holding())
    fleet.hear(B, holding(1, (0, 1)))
    fleet.hear(C, holding(1, (1, 3)))
    fleet.proven = {A, C}
    assert fleet.claims() == {
        A: (DEFERRED, True, 30),
        B: (CRITICAL, False, 10),
        C: (None, True, 20),
    }


async def test_what_a_version_is_a_delta_on_is_seen(fleet: Fleet) -> None:
    base, delta = holding(1), holding(2)
    fleet.hear(A, base, delta)
    on = BaseVersion(Version(1), base.digest)
    fleet.layouts = {named(delta): replace(LAYOUT, base=on)}
    assert {each.version: each.base for each in fleet.look().versions} == {1: None, 2: on}


async def test_only_listed_names_are_seen_and_of_them_who_keeps_copies(fleet: Fleet) -> None:
    fleet.hear(A, holding(), holding(2, name="other"), keeps=("*",))
    fleet.hear(B, keeps=("llama?", "evals*"))
    fleet.hear(C, holding(3, name="llama2"), is_full=True, keeps=("llama*",))
    view = fleet.look()
    assert {each.checkpoint for each in view.versions} == {"llama", "llama2"}
    assert view.members == {"llama": (A, C, OWN), "llama2": (A, B, C, OWN)}
    assert [node for node, each in view.nodes.items() if each.is_full] == [C]


async def test_zones_come_from_the_configuration_of_this_node(fleet: Fleet) -> None:
    fleet.hear(A)
    fleet.hear(B)
    nodes = fleet.look().nodes
    assert {node: each.zone for node, each in nodes.items()} == {
        A: ("rack-1",),
        B: (),
        OWN: ("rack-9",),
    }


async def test_a_lost_holder_is_known_with_what_it_had_and_what_was_proven(fleet: Fleet) -> None:
    fleet.hear(A, holding())
    fleet.hear(B, holding())
    fleet.proven = {A}
    fleet.look()
    del fleet.said[A]
    fleet.proven, fleet.now = set(), 5
    assert fleet.claims()[A] == (DEFERRED, True, 30)
    node = fleet.look().nodes[A]
    assert (node.is_live, node.lost_since_ns) == (False, 5)


async def test_what_a_node_in_quarantine_claims_is_no_copy(fleet: Fleet) -> None:
    fleet.hear(A, holding())
    fleet.hear(B, holding())
    fleet.quarantined = {A}
    assert set(fleet.claims()) == {B}
    assert fleet.look().nodes[A].is_blamed


async def test_what_stands_here_is_proven_and_a_copy_or_not(fleet: Fleet) -> None:
    facts = await stand_here(fleet, "copies")
    fleet.default_layout = ClassLayout({CRITICAL: BlockSet.full(1)}, {CRITICAL: 100})
    assert fleet.claims(7) == {OWN: (DEFERRED, True, 100)}
    (copy,) = fleet.look().own_copies
    assert (copy.digest, copy.size_bytes, copy.is_copy) == (facts.digest, 100, True)
    await stand_here(fleet, "main")
    (copy,) = fleet.look().own_copies
    assert not copy.is_copy, "the job has it as well"


async def test_what_is_fetched_here_is_only_bytes_until_it_is_placed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.hear(A, holding())
    coming = Holdings(OWN, Epoch(1), 2, (holding(),))
    monkeypatch.setattr(fleet.advertising, "_holdings", coming)
    assert fleet.claims()[OWN] == (None, True, 30)


async def test_a_version_without_a_layout_is_not_there_and_its_layout_is_wanted(
    fleet: Fleet,
) -> None:
    fleet.hear(A, holding())
    fleet.default_layout = None
    assert fleet.look().versions == ()
    assert fleet.wanted == [named(holding())]


async def test_who_says_a_digest_is_of_another_name_takes_nothing_from_the_others(
    fleet: Fleet,
) -> None:
    true = holding()
    lie = Holding(CheckpointName("llama/x"), Version(9), true.digest, 30, 3, BlockSet.full(3))
    fleet.hear(A, lie)
    fleet.hear(B, true)
    fleet.layouts, fleet.default_layout = {named(true): LAYOUT}, None
    assert fleet.claims() == {B: (DEFERRED, False, 30)}


async def test_of_rivals_the_one_that_is_meant_is_seen_or_none(fleet: Fleet) -> None:
    one, other = holding(), holding(content=1)
    fleet.hear(A, one)
    fleet.hear(B, other)
    fleet.hear(C, other)
    fleet.proven = {A, B, C}
    assert fleet.look().versions == ()
    assert fleet.viewing.conflicts == {(NAME, 1)}
    fleet.config.recovery.on_conflict = OnConflict.MOST_HOLDERS
    assert [each.digest for each in fleet.look().versions] == [other.digest]
    assert fleet.viewing.conflicts == frozenset()
    fleet.proven = {A}
    assert [each.digest for each in fleet.look().versions] == [one.digest]


async def test_everybody_was_asked_once_heard_or_after_the_time_of_grace(fleet: Fleet) -> None:
    fleet.hear(A)
    fleet.is_settled = False
    assert not fleet.look().all_asked
    fleet.is_settled = True
    assert fleet.look().all_asked
    fleet.unknown = {B}
    assert not fleet.look().all_asked
    fleet.unknown = {A}  # what it has was heard, so nothing looks missing that is there
    del fleet.said[A]
    assert fleet.look().all_asked
    fleet.unknown = {A, B}
    assert not fleet.look().all_asked
    fleet.now = 600 * SECOND
    assert fleet.look().all_asked

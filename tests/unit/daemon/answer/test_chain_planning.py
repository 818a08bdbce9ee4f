from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.chains.chain_links import MADE_OF, ChainLink, annotations_of
from ckptd.chains.ways import Way
from ckptd.daemon.answer import chain_planning
from ckptd.daemon.answer.chain_planning import ChainPlan, ChainPlans
from ckptd.errors import Conflict, Missing, UsageError
from ckptd.limits import GIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version

NAME = CheckpointName("policy")
COPY = CheckpointName("policy.full")
FULL_BYTES = 4 * GIB


def digest_of(name: str, version: int, variant: int = 0) -> Digest:
    return Digest(f"{len(name):02x}{version:04x}{variant:02x}".ljust(64, "0"))


@dataclass
class World:
    """What this node and its peers have, and what manifests say."""

    here: list[Holding] = field(default_factory=list)
    there: list[Holding] = field(default_factory=list)
    annotations: dict[Digest, dict[str, str]] = field(default_factory=dict)
    is_settled: bool = True
    settled: int = 0

    def add(
        self,
        version: int,
        base: int | None = None,
        *,
        where: str = "here",
        variant: int = 0,
        names_base: bool = True,
    ) -> Digest:
        """Add a full version, or a delta on another one."""
        digest = digest_of(NAME, version, variant)
        said: dict[str, str] = {}
        if base is not None:
            named = digest_of(NAME, base) if names_base else None
            said = annotations_of(ChainLink(Version(base), named, "xor"))
        self._put(NAME, version, digest, said, where, FULL_BYTES if base is None else 40 * MIB)
        return digest

    def add_copy(self, version: int, *, where: str, variant: int = 0) -> Digest:
        """Add a copy that was made of a delta version."""
        digest = digest_of(COPY, version, variant)
        said: dict[str, str] = {MADE_OF: digest_of(NAME, version)}
        self._put(COPY, version, digest, said, where, FULL_BYTES)
        return digest

    def _put(
        self,
        name: CheckpointName,
        version: int,
        digest: Digest,
        said: dict[str, str],
        where: str,
        size_bytes: int,
    ) -> None:
        holding = Holding(name, Version(version), digest, size_bytes, 1, BlockSet(((0, 1),)))
        getattr(self, where).append(holding)
        self.annotations[digest] = said

    # What the plans ask of a catalog, a scheduler and those who get manifests.

    async def see_family(self, checkpoint: CheckpointName) -> None:
        assert checkpoint == NAME

    def versions(self) -> list[Any]:
        place = SimpleNamespace(is_whole=True, is_withdrawn=False)
        return [SimpleNamespace(holding=each, places=[place]) for each in self.here]

    def said(self, *, now: int) -> list[tuple[NodeId, Sequence[Holding]]]:
        return [(NodeId("b"), self.there)]

    def holders(self, digest: Digest, *, now: int) -> Iterable[object]:
        return ()

    def learned_rates(self, *, now: int) -> dict[object, object]:
        return {}

    async def find(
        self, expected: tuple[CheckpointName, Version, Digest], holders: object
    ) -> tuple[Any, str]:
        digest = expected[2]
        if digest not in self.annotations:
            return None, "no holder answers"
        return SimpleNamespace(manifest=SimpleNamespace(annotations=self.annotations[digest])), ""

    async def wait_until(self, holds: object) -> None:
        self.is_settled, self.settled = True, self.settled + 1

    async def plan(self, version: int, prefix: str = "") -> ChainPlan:
        """Plan the way to a version."""
        runtime = SimpleNamespace(now=lambda: 0, wait_until=self.wait_until)
        recovering = SimpleNamespace(scheduler=self, runtime=runtime, manifests=None)
        storage = SimpleNamespace(catalog=self)
        plans = ChainPlans(cast("Any", storage), cast("Any", recovering))
        plans._found = cast("Any", self)
        return await plans.plan(NAME, Version(version), prefix)


async def test_what_stands_here_is_applied_and_nothing_is_fetched() -> None:
    world = World()
    world.add(40)
    for version in range(41, 45):
        world.add(version, version - 1)
    plan = await world.plan(44)
    (way,) = plan.ways
    assert [each.version for each in way.contents] == [40, 41, 42, 43, 44]
    assert way.missing == ()
    assert way.planned.start.way is Way.CHAIN
    assert plan.wanted.digest == digest_of(NAME, 44)


async def test_of_what_is_at_peers_each_part_is_fetched_that_is_not_here() -> None:
    world = World()
    world.add(40, where="there")
    world.add(41, 40)
    world.add(42, 41, where="there")
    (way,) = (await world.plan(42)).ways
    assert [each.version for each in way.missing] == [40, 42]
    assert way.planned.start.way is Way.FULL
    assert not way.is_fetched_as_it_is


async def test_a_copy_of_a_peer_is_a_way_and_one_that_is_here_a_start() -> None:
    world = World()
    world.add(40)
    for version in range(41, 45):
        world.add(version, version - 1)
    theirs, ours = world.add_copy(44, where="there"), world.add_copy(43, where="here")
    ways = (await world.plan(44)).ways
    assert {way.start.digest: [each.version for each in way.deltas] for way in ways} == {
        digest_of(NAME, 40): [41, 42, 43, 44],
        ours: [44],
        theirs: [],
    }
    assert [way.is_fetched_as_it_is for way in ways if way.start.digest == theirs] == [True]
    assert ways[0].planned.predicted_s == min(way.planned.predicted_s for way in ways)


async def test_copies_that_contradict_each_other_or_are_of_something_else_are_no_start() -> None:
    world = World()
    world.add(40)
    world.add(41, 40)
    world.add_copy(41, where="there")
    world.add_copy(41, where="there", variant=1)
    assert len((await world.plan(41)).ways) == 1
    other = World()
    other.add(40)
    other.add(41, 40)
    other.annotations[other.add_copy(41, where="there")] = {MADE_OF: "ff" * 32}
    assert len((await other.plan(41)).ways) == 1


async def test_a_copy_is_enough_where_the_base_is_nowhere() -> None:
    world = World()
    world.add(41, 40)
    world.add_copy(41, where="there")
    (way,) = (await world.plan(41)).ways
    assert way.is_fetched_as_it_is


async def test_peers_are_waited_for_only_where_something_is_missing() -> None:
    world = World(is_settled=False)
    world.add(40)
    world.add(41, 40)
    await world.plan(41)
    assert world.settled == 0
    world.add(42, 41, where="there")
    await world.plan(42)
    assert world.settled == 1


async def test_what_nobody_has_is_named() -> None:
    world = World(is_settled=False)
    with pytest.raises(Missing, match="policy@41: neither this node nor a peer"):
        await world.plan(41)
    assert world.settled == 1
    world.add(41, 40)
    with pytest.raises(Missing, match="stands on policy@40, which neither this node nor a peer"):
        await world.plan(41)
    del world.annotations[digest_of(NAME, 41)]
    with pytest.raises(Missing, match="nobody delivers the manifest of policy@41"):
        await world.plan(41)


async def test_manifests_that_do_not_come_are_waited_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chain_planning, "_LOOK_S", 0.01)
    world = World()
    world.add(41, 40)
    monkeypatch.setattr(world, "find", lambda *_: asyncio.Event().wait())
    with pytest.raises(Missing, match="manifests did not come within"):
        await world.plan(41)


async def test_several_contents_are_not_guessed_between() -> None:
    world = World()
    first = world.add(41, 40, names_base=False)
    second = world.add(41, 40, variant=1)
    with pytest.raises(Conflict, match="has several contents"):
        await world.plan(41)
    world.add(40, where="there")
    world.add(40, where="there", variant=1)
    assert (await world.plan(41, second)).wanted.digest == second  # it names its base
    with pytest.raises(Missing, match="of policy@40, on which it stands, there are several"):
        await world.plan(41, first)


async def test_a_full_version_has_nothing_to_apply() -> None:
    world = World()
    world.add(40)
    with pytest.raises(UsageError, match="is a full version"):
        await world.plan(40)

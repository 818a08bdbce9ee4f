"""Looks at this node for somebody who waits: recoveries, the catalog, what peers hold.

What it sees goes into :mod:`ckptd.daemon.answer.reaching`, which decides what that means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final, NamedTuple

from ckptd.control.messages.waiting import WaitRequest
from ckptd.daemon.answer.job_shards import JobShards, named_shards
from ckptd.daemon.answer.proven_versions import ProvenVersions
from ckptd.daemon.answer.reaching import (
    EndSeen,
    NewestSeen,
    PlaceSeen,
    RecoverySeen,
    Sight,
    VersionSeen,
    look_at,
)
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError, UsageError
from ckptd.model.goals import GoalUnits, parse_goal
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Version,
    parse_checkpoint_name,
    parse_version,
)
from ckptd.model.shards import (
    Shard,
    WantedShards,
    is_shard_of,
    parse_shards,
    shard_name,
    split_shard,
)
from ckptd.model.words import GoalKind
from ckptd.store.published.places import HeldVersion, Place

_AT_ONCE_MAX: Final = 10_000
"""So many units are looked at on the event loop: some milliseconds' work."""


class _Known(NamedTuple):
    """What is remembered of a recovery that was seen under way."""

    shards: str
    is_repair: bool


class Awaited:
    """What somebody waits for, and what is to be seen of it.

    Args:
        request: What is waited for.
        storage: What stands here.
        recovering: All recoveries.
        proven: Says which version of a job is the newest.

    Raises:
        UsageError: There is no such thing.
    """

    def __init__(
        self,
        request: WaitRequest,
        storage: Storage,
        recovering: Recovering,
        proven: ProvenVersions,
    ) -> None:
        self.name = parse_checkpoint_name(request.checkpoint)
        self.goal = parse_goal(request.goal)
        self._asked = None if request.version is None else parse_version(request.version)
        if self._asked is not None and self.goal.kind is GoalKind.NEWEST:
            problem = "is asked for together with a version"
            raise UsageError(f"goal {self.goal}", problem, "Leave one of them out.")
        self._typed = named_shards(request.shards)
        self._catalog = storage.catalog
        self._roots = storage.roots
        self._recovering = recovering
        self._proven = proven
        self._shards = JobShards(storage.catalog, recovering)
        ended = {each.recovery for each in recovering.book.ended()}
        self._ended_before = ended - {request.recovery}
        self._known: dict[str, _Known] = {}
        self._newest_seen: NewestSeen | None = None
        if self.goal.kind is GoalKind.NEWEST:
            self._newest_seen = NewestSeen(None, is_settled=False)
        self._units: dict[Digest, GoalUnits] = {}
        self._looked: dict[int, tuple[Place, PlaceSeen]] = {}
        self._counted_at: tuple[int, Version] | None = None
        self._counts: list[int] = []

    async def see_newest(self) -> None:
        """Look which version is the newest that can be had, if that is waited for."""
        if self.goal.kind is not GoalKind.NEWEST:
            return
        scheduler, catalog = self._recovering.scheduler, self._catalog
        is_settled = scheduler.is_settled  # of what is looked at now, not of who comes later
        wanted = self._wanted_shards()
        if wanted is not None or self._is_job_of_peers():
            found = await self._proven.choose(self.name, None, wanted or WantedShards())
            seen = NewestSeen(found.version, found.why, is_settled=is_settled)
        else:
            own = self._recovering.own.holdings(self.name)
            choice = scheduler.explain_choice(self.name, None, catalog.newest_ever(self.name), own)
            version = None if choice.chosen is None else choice.chosen[0]
            seen = NewestSeen(version, choice.why, is_settled=is_settled)
        self._newest_seen = seen

    async def look(self) -> tuple[Sight, VersionSeen]:
        """Return what is to be seen now."""
        recoveries = tuple(self._under_way())
        sight = Sight(
            self.name, self.goal, self._asked, self._newest_seen, recoveries, self._ended()
        )
        if sight.is_open:
            standing, withdrawn = self._standing()
            sight = sight.with_standing(standing, withdrawn)
        version = sight.version()
        if version is None:
            return sight, VersionSeen()
        places = [place async for place in self._places(version)]
        phases = next(
            (self._units[held].phases for held in self._digests(version) if held in self._units),
            None,
        )
        return sight, VersionSeen(tuple(places), phases)

    def _is_job_of_peers(self) -> bool:
        names = self._recovering.peering.names()
        return self.name not in names and any(is_shard_of(each, self.name) for each in names)

    def _under_way(self) -> Iterable[RecoverySeen]:
        """Yield the recoveries that may bring it, newest first."""
        now = self._recovering.runtime.now()
        for opened in reversed(list(self._recovering.book)):
            snapshot = self._recovering.scheduler.recovery(opened.id, now=now)
            if snapshot is None or not self._is_for(opened):
                continue
            version = opened.record.version if snapshot.version is None else snapshot.version
            if self._asked is not None and version not in {None, self._asked}:
                continue
            is_repair = opened.record.is_repair
            self._known[opened.id] = _Known(opened.record.shards, is_repair)
            space = opened.space or (opened.described.space if opened.described else None)
            yield RecoverySeen(
                opened.id,
                version,
                snapshot.stage,
                snapshot.is_paused,
                is_repair,
                None if space is None else space.manifest.phases,
            )

    def _is_for(self, opened: OpenRecovery) -> bool:
        name = opened.record.checkpoint
        if opened.root.name == self._roots.for_copies:
            return False  # it brings a copy for others
        return name == self.name or (bool(opened.record.shards) and is_shard_of(self.name, name))

    def _ended(self) -> EndSeen | None:
        """Return the last recovery that ended meanwhile and could have brought it."""
        for ended in self._recovering.book.ended():
            known = self._known.get(ended.recovery)
            is_named = ended.checkpoint == self.name or is_shard_of(self.name, ended.checkpoint)
            is_of_it = known is not None or self._asked in {None, ended.version}
            is_repair = known is not None and known.is_repair and self._asked is None
            if ended.recovery in self._ended_before or not (is_named and is_of_it) or is_repair:
                continue
            if self._roots.is_for_copies(ended.target):
                continue
            follower = ended.followed_by
            return EndSeen(ended.recovery, ended.version, ended.result, ended.message, follower)
        return None

    def _standing(self) -> tuple[frozenset[Version], frozenset[Version]]:
        """Return which versions stand here, and which of them only where they are withdrawn."""
        is_job = self._wanted_shards() is not None
        offered: set[Version] = set()
        withdrawn: set[Version] = set()
        for held in self._catalog.versions():
            name = held.holding.checkpoint
            if held.is_copy:
                continue  # it is for others, and goes when it is too much
            if name == self.name or (is_job and is_shard_of(name, self.name)):
                is_withdrawn = all(place.is_withdrawn for place in held.places)
                (withdrawn if is_withdrawn else offered).add(held.holding.version)
        return frozenset(offered), frozenset(withdrawn)

    def _wanted_shards(self) -> WantedShards | None:
        """Return which shards of a job are waited for; ``None``: it is no job."""
        if self._typed is not None:
            return self._typed
        asked = next((each.shards for each in reversed(self._known.values()) if each.shards), "")
        if split_shard(self.name) is not None:
            return None
        return parse_shards(asked) if asked else self._shards.mine(self.name)

    def _digests(self, version: Version) -> list[Digest]:
        return [held.holding.digest for held in self._catalog.find(self.name, version)]

    async def _places(self, version: Version) -> AsyncIterator[PlaceSeen]:
        """Yield where a version stands; of a job all its shards together, for each layout."""
        wanted = self._wanted_shards()
        if wanted is None:
            for held, place in self._standing_as(self.name, version):
                yield await self._look_at(held, place)
            return
        for count in self._layouts(version) if wanted.count is None else (wanted.count,):
            numbers = range(count) if wanted.numbers is None else sorted(wanted.numbers)
            shards = [Shard(number, count) for number in numbers if number < count]
            if len(shards) == len(numbers):
                yield await self._together(shards, version)

    def _layouts(self, version: Version) -> list[int]:
        """Return of how many shards there may be what stands here, at least in part."""
        now = self._catalog.change_count, version
        if self._counted_at != now:
            splits = (
                split_shard(held.holding.checkpoint)
                for held in self._catalog.versions()
                if held.holding.version == version and not held.is_copy
            )
            here = {split[1] for split in splits if split is not None and split[0] == self.name}
            known = here | self._catalog.known_shards(self.name).keys()
            self._counted_at, self._counts = now, sorted({shard.count for shard in known})
        return self._counts

    async def _together(self, shards: list[Shard], version: Version) -> PlaceSeen:
        """Return how shards of a job stand here, by the first that does not as it should."""
        directories: dict[str, None] = {}
        for shard in shards:
            seen = [
                await self._look_at(held, place)
                for held, place in self._standing_as(shard_name(self.name, shard), version)
            ]
            right = next((place for place in seen if not place.obstacle), None)
            if right is not None:
                directories[right.directory] = None
                continue
            doubt = next((place for place in seen if not place.is_lacking), None)
            if doubt is not None:
                return PlaceSeen(doubt.directory, "", f"of shard {shard}, {doubt.obstacle}")
            how = "not all here" if seen else "not here"
            return PlaceSeen("", "", f"of which shard {shard} is {how}", is_lacking=True)
        return PlaceSeen(next(iter(directories)) if len(directories) == 1 else "")

    def _standing_as(
        self, name: CheckpointName, version: Version
    ) -> list[tuple[HeldVersion, Place]]:
        """Return where a version stands for who reads it: a copy does not."""
        return [
            (held, place)
            for held in self._catalog.find(name, version)
            for place in held.places
            if not place.is_copy
        ]

    async def _look_at(self, held: HeldVersion, place: Place) -> PlaceSeen:
        looked = self._looked.get(place.number)
        if looked is not None and looked[0] is place:
            return looked[1]
        digest = held.holding.digest
        units = None if self.goal.is_whole or place.is_unseen else await self._goal_units(digest)
        directory = self._roots.absolute(place.root, place.directory)
        if len(place.unusable) > _AT_ONCE_MAX:
            seen = await asyncio.to_thread(look_at, place, directory, digest, units)
        else:
            seen = look_at(place, directory, digest, units)
        self._looked[place.number] = place, seen
        return seen

    async def _goal_units(self, digest: Digest) -> GoalUnits | None:
        """Return the units that are waited for; ``None``: its manifest cannot be read: all are."""
        if digest not in self._units:
            try:
                manifest = await self._catalog.manifest(digest)
            except CkptdError:
                return None
            self._units[digest] = await asyncio.to_thread(GoalUnits, self.goal, manifest)
        return self._units[digest]

"""What stands on this node as retention sees it: what it takes, and what is in the way."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ckptd.chains.chain import Series, deltas_text
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.leases import Leases
from ckptd.daemon.retain.named_places import NamedPlace, NamedPlaces
from ckptd.limits import HOLDINGS_MAX
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.retention import StandingVersion
from ckptd.model.shards import job_of
from ckptd.model.words import KeptBecause, PlaceState, RemovableKind
from ckptd.store.files.roots import Root
from ckptd.store.published.held_chains import series_by_name
from ckptd.store.published.places import HeldVersion, Place
from ckptd.store.records.retention_records import ReadDirectory

_STILL_S: Final = 24 * 3600.0
"""What a peer has in part, and for so long no more of, is what it chose: nobody recovers it."""
_COPY_STILL_S: Final = 60.0
"""The same of a copy: it goes only if enough others have all of it, so nobody depends on it, and
who is to have the critical units alone has a part for good."""
_BATCH: Final = 32
"""So many versions are looked at, and compared with what peers say, before others have a turn."""
AS_WANTED: Final = frozenset({PlaceState.HERE, PlaceState.CHOSEN})
"""How a place stands that counts as one of the newest."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A version that stands here, all contents and, of a job, all shards of it.

    Attributes:
        standing: What is decided on.
        held: Its contents.
    """

    standing: StandingVersion
    held: tuple[HeldVersion, ...]

    @property
    def places(self) -> list[NamedPlace]:
        """All places of it."""
        return [NamedPlace(each, place) for each in self.held for place in each.places]

    @property
    def text(self) -> str:
        """The version as a person writes it."""
        return f"{self.standing.name}@{self.standing.version}"

    @property
    def is_copy(self) -> bool:
        """It is about copies of it, and not about what a job has."""
        return all(each.is_copy for each in self.held)

    @property
    def digests(self) -> list[Digest]:
        """The identities of its contents."""
        return [each.holding.digest for each in self.held]


class Survey:
    """Looks at what stands here. Belongs to the event loop, and reads nothing from the disk.

    Args:
        storage: What stands where.
        recovering: Recoveries, and what peers say.
        standings: Says which places recoveries write to.
        leases: Knows who reads what.
        clock: The moment in seconds, by a clock that never jumps.
    """

    def __init__(
        self,
        storage: Storage,
        recovering: Recovering,
        standings: NamedPlaces,
        leases: Leases,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = storage.catalog
        self._roots = storage.roots
        self._recovering = recovering
        self._scheduler = recovering.scheduler
        self._standings = standings
        self._leases = leases
        self._clock = clock
        self._parts: dict[tuple[NodeId, Digest], tuple[int, float]] = {}
        self._known_chains: tuple[int, Mapping[CheckpointName, Series]] | None = None

    def disk_of(self, root: Root) -> str:
        """Return the name of the disk on which a root is: that of the first root there."""
        return next(each.name for each in self._roots if each.device == root.device)

    async def look(self, *, of_copies: bool = False) -> list[Surveyed]:
        """Return everything that stands here but copies. Others have turns meanwhile.

        Args:
            of_copies: Copies, and nothing else.
        """
        groups: dict[tuple[CheckpointName, Version], list[HeldVersion]] = {}
        for standing in self._catalog.versions():
            held = with_some_places(standing, are_copies=of_copies)
            if held is not None:
                holding = held.holding
                groups.setdefault((job_of(holding.checkpoint), holding.version), []).append(held)
        disks = {root.name: self.disk_of(root) for root in self._roots}
        used = self._used_here()
        found: list[Surveyed] = []
        for number, ((name, version), together) in enumerate(groups.items()):
            if number % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
            found.append(self._surveyed(name, version, tuple(together), disks, used))
        here = {held.holding.digest for held in self._catalog.versions()}
        self._parts = {key: seen for key, seen in self._parts.items() if key[1] in here}
        unseen = self._latest_unseen(disks)
        return [_with_unseen_behind(each, unseen) for each in found]

    def what_came_between(self, surveyed: Surveyed) -> KeptBecause | None:
        """Return what is in the way of removing a version by now that may pass; the rest stays."""
        found = self._in_use(surveyed.held, self._used_here())
        if not surveyed.is_copy and self.deltas_on(surveyed):
            found |= {KeptBecause.BASE}
        return min(found, default=None)

    def deltas_on(self, surveyed: Surveyed) -> tuple[Version, ...]:
        """Return the later versions that stand here and need a version, by deltas on deltas too.

        Those of which there are only copies count for copies alone.
        """
        digests = frozenset(surveyed.digests)
        chains = self._chains()
        found = {
            each.version
            for name in {each.holding.checkpoint for each in surveyed.held}
            if name in chains
            for each in chains[name].standing_on(digests)
            if surveyed.is_copy or not self._is_copied(each.digest)
        }
        return tuple(sorted(found))

    def _chains(self) -> Mapping[CheckpointName, Series]:
        """Return the chains of everything that stands here, once for each change of the catalog."""
        count = self._catalog.change_count
        if self._known_chains is None or self._known_chains[0] != count:
            chains = series_by_name(self._catalog, self._catalog.versions())
            self._known_chains = (count, chains)
        return self._known_chains[1]

    def _is_copied(self, digest: Digest) -> bool:
        held = self._catalog.held(digest)
        return held is not None and held.is_copy

    def more_about(self, kept: KeptBecause, surveyed: Surveyed) -> str:
        """Say more about why a version stays, a sentence for people; often empty."""
        return deltas_text(self.deltas_on(surveyed)) if kept is KeptBecause.BASE else ""

    def copy_of(self, digest: Digest) -> Surveyed | None:
        """Return a version as it stands here as a copy; ``None``: it does not."""
        standing = self._catalog.held(digest)
        held = None if standing is None else with_some_places(standing, are_copies=True)
        if held is None:
            return None
        disks = {root.name: self.disk_of(root) for root in self._roots}
        name = job_of(held.holding.checkpoint)
        return self._surveyed(name, held.holding.version, (held,), disks, self._used_here())

    def copies(self, held: HeldVersion) -> int:
        """Return how many other nodes have a version, as far as this node knows."""
        now = self._recovering.runtime.now()
        return len(self._scheduler.copies(held.holding, now=now))

    def _surveyed(
        self,
        name: CheckpointName,
        version: Version,
        together: tuple[HeldVersion, ...],
        disks: dict[str, str],
        used: set[Digest],
    ) -> Surveyed:
        """Look at one version.

        Args:
            name: The checkpoint, or the job.
            version: Which version.
            together: What is here of it.
            disks: On which disk each root is.
            used: What recoveries on this node write or read.
        """
        places = [place for held in together for place in held.places]
        bytes_on: Counter[str] = Counter()
        for held in together:
            for place in held.places:
                if place.root in disks:
                    bytes_on[disks[place.root]] += _bytes_at(held.holding, place)
        kinds = {
            RemovableKind.OWN if each.is_published else RemovableKind.RECOVERED for each in places
        }
        placed_s = [each.added_at_s for each in places if each.added_at_s]
        standing = StandingVersion(
            name,
            version,
            min(placed_s) if len(placed_s) == len(places) else 0.0,
            bytes_on,
            is_as_wanted=all(
                any(place.state in AS_WANTED for place in held.places) for held in together
            ),
            kinds=frozenset(kinds),
            copies_elsewhere=min(map(self.copies, together)),
            in_the_way=frozenset(self._states(places, disks)) | self._in_use(together, used),
            bases=self._bases(together),
        )
        return Surveyed(standing, together)

    def _latest_unseen(self, disks: Container[str]) -> dict[CheckpointName, Version]:
        """Return the latest version of each name or job of which nobody knows what it stands on."""
        found: dict[CheckpointName, Version] = {}
        for held in self._catalog.versions():
            if any(place.is_unseen and place.root in disks for place in held.places):
                name, version = job_of(held.holding.checkpoint), held.holding.version
                found[name] = max(version, found.get(name, version))
        return found

    def _bases(self, together: tuple[HeldVersion, ...]) -> frozenset[Version]:
        """Return the versions that stand here and that some contents are deltas on.

        Of what stands here only as a copy retention decides nothing, so what that stands on counts.
        """
        found: set[Version] = set()
        waiting = list(together)
        while waiting:
            holding = waiting.pop().holding
            link = self._catalog.link(holding.digest)
            if link is None:
                continue
            for base in self._catalog.find(holding.checkpoint, link.base):
                if link.base_digest in {None, base.holding.digest}:
                    found.add(link.base)
                    waiting += [base] if base.is_copy else []
        return frozenset(found)

    @staticmethod
    def _states(places: list[Place], disks: dict[str, str]) -> Iterator[KeptBecause]:
        """Yield what the states of some places say against removing them."""
        for place in places:
            if place.is_unseen or place.root not in disks:
                yield KeptBecause.UNSEEN
            if place.is_withdrawn:
                yield KeptBecause.WITHDRAWN
            elif place.state is PlaceState.STALE:
                yield KeptBecause.CHANGED

    def _in_use(
        self, together: tuple[HeldVersion, ...], used: set[Digest]
    ) -> frozenset[KeptBecause]:
        """Return who uses a version now that stands in the way of removing it."""
        found: set[KeptBecause] = set()
        for held in together:
            digest, holding = held.holding.digest, held.holding
            for place in held.places:
                if self._catalog.active.is_active(place.root, place.directory):
                    found.add(KeptBecause.ACTIVE)
                if self._leases.is_read(ReadDirectory(place.root, place.directory)):
                    found.add(KeptBecause.READ)
                if self._standings.is_target(place):
                    found.add(KeptBecause.RECOVERED_HERE)
            if digest in used:
                found.add(KeptBecause.RECOVERED_HERE)
            # Audits ask for copies all the time; who recovers one says so in his holdings as well.
            is_copy = held.is_copy
            if (
                (self._leases.is_asked_for(digest) and not is_copy)
                or self._scheduler.is_recovered_elsewhere(
                    job_of(holding.checkpoint), holding.version
                )
                or self._grows_elsewhere(holding, _COPY_STILL_S if is_copy else _STILL_S)
            ):
                found.add(KeptBecause.RECOVERED_ELSEWHERE)
        return frozenset(found)

    def _used_here(self) -> set[Digest]:
        """Return what recoveries on this node are for."""
        used = {each.digest for each in self._recovering.snapshots() if each.digest is not None}
        for recovery in self._recovering.book:
            used.update(recovery.joined_members, recovery.members)
        return used

    def _grows_elsewhere(self, holding: Holding, still_s: float) -> bool:
        """Return whether a peer has a part of a version that grew a short while ago.

        Args:
            holding: The version.
            still_s: How long that is.
        """
        now_s, is_growing = self._clock(), False
        for node, count in self._scheduler.parts(holding).items():
            key = (node, holding.digest)
            seen = self._parts.get(key)
            if seen is None or seen[0] != count:
                if seen is None and len(self._parts) >= HOLDINGS_MAX:
                    return True  # more than is remembered
                seen = self._parts[key] = (count, now_s)
            is_growing |= now_s - seen[1] < still_s
        return is_growing


def _with_unseen_behind(surveyed: Surveyed, unseen: Mapping[CheckpointName, Version]) -> Surveyed:
    """Return a version as it was seen; one that is earlier than an unseen one may be its base."""
    standing = surveyed.standing
    if unseen.get(standing.name, standing.version) <= standing.version:
        return surveyed
    in_the_way = standing.in_the_way | {KeptBecause.UNSEEN}
    return replace(surveyed, standing=replace(standing, in_the_way=in_the_way))


def with_some_places(held: HeldVersion, *, are_copies: bool) -> HeldVersion | None:
    """Return a version where it stands as a copy, or where it does not: each goes by its own rules.

    What it has is still what this node has of it altogether.

    Args:
        held: The version.
        are_copies: Which places.

    Returns:
        ``None`` if it has no such place.
    """
    places = tuple(place for place in held.places if place.is_copy is are_copies)
    if len(places) == len(held.places):
        return held
    return replace(held, places=places) if places else None


def _bytes_at(holding: Holding, place: Place) -> int:
    """Return about how many bytes of a version stand at a place."""
    if not holding.block_count or not place.absent:
        return holding.size_bytes
    return holding.size_bytes * len(place.blocks) // holding.block_count

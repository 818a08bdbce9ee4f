"""The catalog: which versions this node holds, at which places, in the database and in memory.

All methods belong to the event loop; disk and database work is done in threads. A version gets
into the catalog only when every byte of it was hashed where it lies. What is found to be different
since is known by unit: a unit that is *suspect* or *changed* at one place is not served from there,
and everything else stays on offer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from ckptd.chains.chain_links import ChainLink
from ckptd.errors import ContentChanged, DamagedState, NotFound, Withdrawn
from ckptd.limits import HOLDINGS_MAX, MIB
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.manifest import Manifest
from ckptd.model.minimal_set import MinimalSet
from ckptd.model.shards import Shard, job_of, split_shard
from ckptd.store.files.fingerprints import UnitFile
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.adding import Packed, conflict, displaced, full
from ckptd.store.published.held_versions import HeldVersions
from ckptd.store.published.inspection import (
    facts_of,
    inspect,
    is_removed,
    no_starts,
    place_of,
    unseen,
    was_on_its_disk,
)
from ckptd.store.published.open_versions import OpenVersions
from ckptd.store.published.places import HeldVersion, Place, first_reason
from ckptd.store.published.serving import ServedVersion
from ckptd.store.records.active_records import ActiveRecords
from ckptd.store.records.database import Database
from ckptd.store.records.newest import NewestVersions
from ckptd.store.records.placed_jobs import PlacedJobs
from ckptd.store.records.schema import Connection
from ckptd.store.records.version_records import VersionRecords, unknown
from ckptd.store.records.version_rows import StoredPlace

SEEN_AT_ONCE_BYTES: Final = 4 * MIB
"""So much of what is recorded of versions, compressed, is looked at before the daemon is ready, the
latest first: about 40,000 files, half a second's work."""

_LOOKS_MAX: Final = 8
"""A place that seems to be gone is looked at again when something was added meanwhile."""


class Catalog:
    """What this node holds.

    Attributes:
        active: Which versions are active.
        placed_jobs: What recoveries placed last of jobs.
        on_change: Called whenever :meth:`holdings` would answer differently.
        on_place: Called with a place that was recorded, or that has more units to hash again.
        on_forgotten: Called with a version as it was, its place that the catalog forgot by
            itself, and why.
        on_seen: Called with a place that was looked at first.
        on_stale: Called with a version with which something may be wrong, when it was looked at
            first after :meth:`load`.

    Args:
        database: Where it is kept.
        roots: Where versions stand.
        wall_clock: Unix time; without one no moment is known.
    """

    def __init__(
        self, database: Database, roots: Roots, wall_clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.on_place: Callable[[int], None] = lambda number: None
        self.on_forgotten: Callable[[HeldVersion, Place, str], None] = lambda held, place, why: None
        self.on_seen: Callable[[int], None] = lambda number: None
        self.on_stale: Callable[[HeldVersion], None] = lambda held: None
        self.active = ActiveRecords(database)
        self._records = VersionRecords(database, self._note_damage)
        self._roots = roots
        self._wall_clock = wall_clock
        self._held = HeldVersions()
        self._seen: set[int] = set()  # places that stood at the start, on the disk of their root
        self._added: set[int] = set()  # in this life of the daemon
        self._in_place: set[str] = set()  # roots in which something stood that was there before
        self._additions = 0
        self._newest = NewestVersions(database)
        self._open = OpenVersions(
            self._records,
            roots,
            lambda number, unit, reason: self.mark_suspect(number, (unit,), reason),
        )
        # Serialises what reads the catalog, waits for a thread, and then writes it.
        self._lock = asyncio.Lock()
        self.placed_jobs = PlacedJobs(
            database, wall_clock, lambda checkpoint, version: bool(self.find(checkpoint, version))
        )
        self._seeing = asyncio.Lock()  # one after another: each can have half a million files

    async def load(self) -> tuple[HeldVersion, ...]:
        """Read the catalog, and look at the files of what takes little time. Once, and first.

        The others are :attr:`Place.is_unseen`; whoever has them looked at calls :meth:`see`.

        Returns:
            The versions with which something may be wrong.

        Raises:
            DamagedState: The database cannot be read.
        """
        await self._newest.load()
        await self.active.load()
        await self.placed_jobs.load()
        left_bytes, soon = SEEN_AT_ONCE_BYTES, []
        for listed in await self._records.listed():
            stored = listed.stored
            places = tuple(unseen(row, self._roots.for_copies) for row in stored.places)
            self._held.put(facts_of(stored.row), places, no_starts())
            if listed.record_bytes <= left_bytes:
                left_bytes -= listed.record_bytes
                soon.append(stored.row.digest)
        for digest in soon:
            await self.see(digest)
        return tuple(held for held in self.versions() if held.reason)

    async def see(self, digest: Digest) -> None:
        """Look at every file of a version, unless that was done since the start.

        Whoever needs it goes before those that nobody asked for, behind the one that is looked at
        now.

        Raises:
            StorageError: The database cannot be read.
        """
        if not self._is_unseen(digest):
            return  # and waits for no other version that is looked at now
        async with self._seeing:
            if not self._is_unseen(digest):
                return
            try:
                stored = await self._records.read(digest)
            except NotFound:
                return  # it was forgotten meanwhile
            look = partial(inspect, stored, self._roots, self._records.path)
            found = await asyncio.to_thread(look)
            places = [merged for each in found.places if (merged := self._as_seen(each))]
            held = self._held.get(digest)
            if held is None:
                return
            numbers = {place.number for place in places}
            places += [place for place in held.places if place.number not in numbers]
            places.sort(key=lambda place: place.number)
            is_seen = self._held.put(found.facts, places, found.starts)
            self._seen |= found.seen & numbers
            self._in_place |= found.roots
            if is_seen:
                self.on_change()
            held = self._held.get(digest)
            if held is not None and held.reason:
                self.on_stale(held)
            for number in sorted(numbers):
                self.on_seen(number)

    def _is_unseen(self, digest: Digest) -> bool:
        held = self._held.get(digest)
        return held is not None and held.is_unseen

    def _as_seen(self, found: Place) -> Place | None:
        """Return a place as it was found, with what somebody decided meanwhile.

        Returns:
            ``None`` if it was forgotten, or recorded again, since it was read.
        """
        known = self._held.place(found.number)
        if known is None or not known[1].is_unseen:
            return None
        before = known[1]
        return replace(
            found, is_withdrawn=before.is_withdrawn, reason=before.reason or found.reason
        )

    async def see_family(self, checkpoint: CheckpointName | None = None) -> None:
        """Look at what was not looked at since the start and somebody waits for.

        Args:
            checkpoint: Of it, and of the other shards of its job; ``None``: at all.

        Raises:
            StorageError: The database cannot be read.
        """
        for digest in self.unseen(checkpoint):
            await self.see(digest)

    def unseen(self, checkpoint: CheckpointName | None = None) -> tuple[Digest, ...]:
        """Return the versions that were not looked at since the start, the latest first.

        Args:
            checkpoint: Of it, and of the other shards of its job; ``None``: of all.
        """
        waiting = [
            held
            for held in self.versions()
            if held.is_unseen
            and (checkpoint is None or job_of(held.holding.checkpoint) == job_of(checkpoint))
        ]
        waiting.sort(key=lambda held: held.places[-1].number, reverse=True)
        return tuple(held.holding.digest for held in waiting)

    def holdings(self) -> tuple[Holding, ...]:
        """Return what can be served, ordered by checkpoint and version."""
        return tuple(held.holding for held in self.versions() if held.is_offered)

    def versions(self) -> tuple[HeldVersion, ...]:
        """Return everything, also what cannot be served, ordered by checkpoint and version."""
        return self._held.all()

    @property
    def change_count(self) -> int:
        """How often anything changed: while it stays the same, everything looks as it did."""
        return self._held.change_count

    def held(self, digest: Digest) -> HeldVersion | None:
        """Return a version, whatever its state."""
        return self._held.get(digest)

    def minimal_set(self, digest: Digest) -> MinimalSet | None:
        """Return what has to be there first of a version; ``None``: it is not here, or unseen."""
        return None if self.held(digest) is None else self._held.starts(digest).minimal_set

    def link(self, digest: Digest) -> ChainLink | None:
        """Return what a version is a delta on; ``None``: on nothing, or it is unseen."""
        return None if self.held(digest) is None else self._held.starts(digest).link

    def find(self, checkpoint: CheckpointName, version: Version) -> tuple[HeldVersion, ...]:
        """Return what is held under a name and version: one, or rivals, the latest first."""
        return self._held.named(checkpoint, version)

    def standing(self, checkpoint: CheckpointName) -> tuple[Holding, ...]:
        """Return what stands here of a checkpoint as far as is known, on offer or not.

        What is suspect counts: it is hashed again before it is used.
        """
        return self._held.standing(checkpoint)

    def at(self, root: str, directory: str) -> tuple[HeldVersion, Place] | None:
        """Return what is recorded as standing in a directory: the latest, if there are several."""
        return next(reversed(self._held.at(root, directory)), None)

    def places_of(self, root: str) -> list[tuple[HeldVersion, Place]]:
        """Return all that is recorded as standing below a root."""
        return self._held.places_of(root)

    def place(self, number: int) -> tuple[HeldVersion, Place] | None:
        """Return a place and its version; ``None`` if it was forgotten."""
        return self._held.place(number)

    def is_active(self, digest: Digest) -> bool:
        """Return whether a version is active at any of its places, or is about to be."""
        held = self._held.get(digest)
        return held is not None and any(
            self.active.is_active(place.root, place.directory) for place in held.places
        )

    def newest_ever(self, checkpoint: CheckpointName) -> Version | None:
        """Return the highest version that was ever added, even if it was removed since."""
        return self._newest.of(checkpoint)

    def known_shards(self, job: CheckpointName) -> dict[Shard, Version]:
        """Return which shards of a job this node has or had, and the newest version of each."""
        found: dict[Shard, Version] = {}
        for name, version in self._newest.all():
            split = split_shard(name)
            if split is not None and split[0] == job:
                found[split[1]] = version
        return found

    def had(self, checkpoint: CheckpointName) -> frozenset[Digest]:
        """Return what is here of a checkpoint and not withdrawn, and the newest that ever was.

        Copies are none of it: who has one for others did not choose among several contents.
        """
        newest = self._newest.digest_of(checkpoint)
        known = self._held.digests_of(checkpoint) - self.copied(checkpoint)
        return (known | ({newest} if newest else set())) - self._held.withdrawn_of(checkpoint)

    def copied(self, checkpoint: CheckpointName) -> frozenset[Digest]:
        """Return the versions of a checkpoint that stand here only as copies."""
        return frozenset(
            held.holding.digest
            for held in map(self._held.get, self._held.digests_of(checkpoint))
            if held is not None and held.is_copy
        )

    def withdrawn(self, checkpoint: CheckpointName) -> frozenset[Digest]:
        """Return what stands here of a checkpoint and is off offer at every place."""
        return self._held.withdrawn_of(checkpoint)

    def check_room(
        self,
        checkpoint: CheckpointName,
        version: Version,
        digest: Digest | None = None,
        *,
        promised: int = 0,
    ) -> None:
        """Check that a version can be added.

        Args:
            checkpoint: What it is of.
            version: Which version.
            digest: Its identity; ``None``: not known yet.
            promised: So many others will be added, too.

        Raises:
            StorageError: There are as many as there may be, and it is none of them.
        """
        is_here = self.find(checkpoint, version) if digest is None else self.held(digest)
        if not is_here and len(self._held) + promised >= HOLDINGS_MAX:
            raise full(HOLDINGS_MAX)

    async def add(
        self,
        hashed: HashedDirectory,
        *,
        replace: bool = False,
        is_published: bool = True,
        is_newest_counted: bool = True,
        is_by_choice: bool = False,
    ) -> HeldVersion:
        """Record a version at a place, durably. Other places of the same content stay.

        The same place is renewed, but what has units left out does not displace what is fuller.
        Other content recorded in that directory, and not there any more, is forgotten.

        Args:
            hashed: The version and the files it consists of.
            replace: Other content of the same checkpoint and version that was published here
                is forgotten.
            is_published: Published here, and not recovered.
            is_newest_counted: It counts for :meth:`newest_ever`, if all required units are here and
                it is no copy.
            is_by_choice: Nobody asked for the units that are left out.

        Returns:
            What is held now.

        Raises:
            Conflict: It is published, and other content is held under that name and version.
            OutOfSpace: No room in the state directory; nothing was changed.
            StorageError: The disk refused; nothing was changed.
        """
        packed = await asyncio.to_thread(Packed.of, hashed)
        row = packed.row
        async with self._lock:
            rivals = [
                held
                for held in self.find(row.checkpoint, row.version)
                if held.holding.digest != row.digest
            ]
            had = [held for held in rivals if not held.is_copy]
            if had and is_published and not replace:
                raise conflict(had[0])
            present = self._held.get(row.digest)
            if present and self._is_fuller_at(packed, hashed):
                return present
            there = self._held.at(hashed.root, hashed.directory)
            superseded = await displaced(self._roots[hashed.root], row.digest, there, self.hashed)
            if replace:
                superseded |= {
                    place.number for held in rivals for place in held.places if place.is_published
                }
            if present is None and self._held.count_without(superseded) >= HOLDINGS_MAX:
                raise full(HOLDINGS_MAX)
            newest = []
            is_copy = hashed.root == self._roots.for_copies and not is_published
            if is_newest_counted and hashed.is_whole and not is_copy:
                newest.append((row.checkpoint, row.version, row.digest))
            (number,) = await self._record(
                [(packed, hashed)],
                superseded,
                newest,
                is_published=is_published,
                is_by_choice=is_by_choice,
            )
            return self._held.known(number)[0]

    async def add_shards(
        self,
        shards: Sequence[HashedDirectory],
        newest: tuple[CheckpointName, Version, Digest] | None,
    ) -> None:
        """Record shards that a recovery of a job placed in one directory, all of them or none.

        Args:
            shards: One or more, all at one place.
            newest: The job's version, which counts for :meth:`newest_ever`: all its shards were to
                be had. By its joined manifest. ``None``: nothing counts yet, more is to come.

        Raises:
            OutOfSpace: No room in the state directory; nothing was changed.
            StorageError: The disk refused; nothing was changed.
        """
        packed = await asyncio.to_thread(lambda: list(map(Packed.of, shards)))
        root, directory = shards[0].root, shards[0].directory
        own = {each.digest for each in shards}
        async with self._lock:
            there = [
                each for each in self._held.at(root, directory) if each[0].holding.digest not in own
            ]
            digest = shards[0].digest if newest is None else newest[2]
            superseded = await displaced(self._roots[root], digest, there, self.hashed)
            pairs = zip(packed, shards, strict=True)
            added = [pair for pair in pairs if not self._is_fuller_at(*pair)]
            if self._held.count_without(superseded) + len(added) > HOLDINGS_MAX:
                raise full(HOLDINGS_MAX)
            whole = [each.row for each, hashed in added if hashed.is_whole]
            counted = [(row.checkpoint, row.version, row.digest) for row in whole]
            counted = [] if newest is None else [newest, *counted]
            await self._record(added, superseded, counted, is_published=False)

    async def note_placed(
        self, job: CheckpointName, version: Version, shard: CheckpointName
    ) -> None:
        """Take note of which version of a job a recovery placed that somebody waited for.

        Args:
            job: Of which job.
            version: Which version.
            shard: One of its shards that came with it.

        Raises:
            OutOfSpace: No room in the state directory; nothing was changed.
            StorageError: The disk refused; nothing was changed.
        """
        await self.placed_jobs.note(job, version, shard)
        self.on_change()

    async def _record(
        self,
        added: Sequence[tuple[Packed, HashedDirectory]],
        superseded: Iterable[int],
        newest: Iterable[tuple[CheckpointName, Version, Digest]],
        *,
        is_published: bool,
        is_by_choice: bool = False,
    ) -> list[int]:
        """Record versions, each at a place, all of them or none; return the numbers of the places.

        Args:
            added: The versions.
            superseded: Places that go with that.
            newest: What counts for :meth:`newest_ever`.
            is_published: As for :meth:`add`.
            is_by_choice: As for :meth:`add`.
        """
        rows = []
        for packed, hashed in added:
            place_row = packed.place_row(
                hashed,
                self._place_at(hashed),
                is_published=is_published,
                is_by_choice=is_by_choice,
                now_s=self._wall_clock(),
            )
            rows.append((packed.row, place_row))

        def note(connection: Connection) -> None:
            for each in newest:
                self._newest.note(connection, *each)
            for packed, _ in added if is_published else ():
                self.placed_jobs.forget(connection, job_of(packed.row.checkpoint))

        numbers = await self._records.add(rows, superseded, note)
        is_seen = self._drop(superseded)
        for (packed, hashed), (_, place_row), number in zip(added, rows, numbers, strict=True):
            row = place_row._replace(place=number)
            place = place_of(row, packed.space, hashed.files, self._roots.for_copies)
            is_seen |= self._note_added(packed, place)
        if is_seen:
            self.on_change()
        for number in numbers:
            self.on_place(number)
        return numbers

    def _place_at(self, hashed: HashedDirectory) -> Place | None:
        """Return what is recorded of the same version in the same directory."""
        present = self._held.get(hashed.digest)
        return None if present is None else present.at(hashed.root, hashed.directory)

    def _is_fuller_at(self, packed: Packed, hashed: HashedDirectory) -> bool:
        """Return whether what is recorded at a place is more than what is to be recorded."""
        before = self._place_at(hashed)
        return before is not None and packed.is_less_than(before, hashed)

    async def forget(self, number: int) -> HeldVersion:
        """Forget a place, durably; its files stay. Return its version as it was.

        Raises:
            NotFound: There is no such place.
            StorageError: The disk refused; nothing was changed.
        """
        async with self._lock:
            held, _ = self._held.known(number)
            await self._delete([number])
        return held

    async def forget_all(self, numbers: Sequence[int]) -> None:
        """Forget places together; those that are not known any more are passed over."""
        async with self._lock:
            await self._delete(numbers)

    async def forget_if_gone(self, number: int) -> bool:
        """Forget a place whose directory was removed.

        That must not be because its file system is not mounted: that of the root, or one below.
        So the place stood at the start on the disk of its root; or it was hashed on that disk, in
        this life of the daemon or when something stood at the start that had been there before.

        Returns:
            Whether it was forgotten. If not, and nothing is there, all of it is changed.

        Raises:
            StorageError: The disk refused; nothing was changed.
        """
        known = self._held.place(number)
        if known is None or known[1].root not in self._roots:
            return False
        held, place = known
        root = self._roots[place.root]
        for _ in range(_LOOKS_MAX):
            additions = self._additions
            if not await asyncio.to_thread(is_removed, root, place):
                return False
            if number not in self._seen and not await self._was_in_place(number, root):
                reason = f"directory {root.absolute(place.directory)}: was removed"
                self.mark_changed(number, range(place.unit_count), reason)
                return False
            async with self._lock:
                if self._held.place(number) is None:
                    return False  # somebody else did
                if self._additions == additions:  # else something may stand there again
                    await self._delete([number])
                    self.on_forgotten(held, place, "its directory was removed")
                    return True
        return False

    async def _was_in_place(self, number: int, root: Root) -> bool:
        if number not in self._added and root.name not in self._in_place:
            return False
        try:
            return was_on_its_disk(root, await self.hashed(number))
        except (NotFound, DamagedState):
            return False

    async def withdraw(self, digest: Digest, number: int | None = None) -> HeldVersion:
        """Take a version off offer, at one place or at all; durable. Files stay as they are.

        Raises:
            NotFound: There is no such version, or place of it.
            StorageError: The disk refused; nothing was changed.
        """
        return await self._set_withdrawn(digest, number, is_withdrawn=True)

    async def withdraw_all(self, numbers: Sequence[int]) -> None:
        """Withdraw places together; those that are not known any more are passed over."""
        async with self._lock:
            await self._withdraw(numbers, is_withdrawn=True)

    def withhold(self, number: int, reason: str) -> None:
        """Take a place off offer in this life of the daemon; publishing it puts it back.

        Args:
            number: Which place; one that was forgotten is left alone.
            reason: Why, a sentence for people.
        """
        self._change(number, lambda place: replace(place, is_withdrawn=True, reason=reason))

    def hold_back(self, number: int) -> None:
        """Take a place off offer until :meth:`release`, or the next start; not durable."""
        self._change(number, lambda place: replace(place, is_held_back=True))

    def release(self, number: int) -> None:
        """Undo :meth:`hold_back`; what somebody withdrew meanwhile stays so."""
        self._change(number, lambda place: replace(place, is_held_back=False))

    async def offer(self, digest: Digest, number: int | None = None) -> HeldVersion:
        """Undo :meth:`withdraw`; raises the same."""
        return await self._set_withdrawn(digest, number, is_withdrawn=False)

    def mark_suspect(
        self, number: int, units: Iterable[int], reason: str, *, is_again: bool = False
    ) -> None:
        """Serve units of a place no more until they were hashed again.

        Not durable: :meth:`load` finds out again.

        Args:
            number: Which place; one that was forgotten is left alone.
            units: Which units; those that are known to have changed stay so.
            reason: What is different, a sentence for people.
            is_again: Units that were found changed are to be hashed again, too.
        """
        if self._change(number, lambda place: place.with_suspect(units, reason, is_again=is_again)):
            self.on_place(number)

    def mark_changed(self, number: int, units: Iterable[int], reason: str) -> None:
        """Serve units of a place no more: they are known to have changed. Not durable either."""
        self._change(number, lambda place: place.with_changed(units, reason))

    def mark_names(self, number: int, names: Mapping[str, str]) -> None:
        """Take note of what is wrong with the links and empty directories of a place by now.

        Their units are served all the same. Not durable either.
        """
        self._change(number, lambda place: place.with_wrong_names(names))

    async def settle(
        self, number: int, files: Mapping[int, UnitFile], changed: Mapping[int, str]
    ) -> None:
        """Take in what hashing units of a place again has found; durable.

        Args:
            number: Which place; one that was forgotten is left alone.
            files: Units that are right, with their fingerprints by now.
            changed: Units that are not, each with a sentence for people.

        Raises:
            StorageError: The disk refused.
        """
        self.mark_changed(number, changed, first_reason(changed))  # even if the disk refuses
        known = self._held.place(number)
        if known is None or not (files or changed):
            return
        held, place = known
        is_all = len(files) + len(place.absent) == place.unit_count
        checked_at_s = self._wall_clock() if is_all else None
        recorded = await self._records.renew_files(number, files, changed.keys(), checked_at_s)
        if recorded is not None and files:
            saved_bytes = recorded.saved_bytes
            starts = self._held.starts(held.holding.digest)
            self._open.drop(held.holding.digest)  # it has the old fingerprints
            self._change(
                number,
                lambda place: replace(
                    place.with_right(files, starts, checked_at_s), saved_bytes=saved_bytes
                ),
            )

    async def note_choice(self, number: int, *, is_by_choice: bool) -> None:
        """Take note of whether what a place lacks was asked for; durable.

        What lacks nothing any more counts for :meth:`newest_ever`, as if it had come at once; a
        copy does not.

        Args:
            number: Which place; one that was forgotten is left alone.
            is_by_choice: Nobody asked for it.

        Raises:
            StorageError: The disk refused.
        """
        known = self._held.place(number)
        if known is None:
            return
        holding, is_counted = known[0].holding, not (known[1].lacking or known[1].is_copy)

        def note(connection: Connection) -> None:
            if is_counted:
                self._newest.note(connection, holding.checkpoint, holding.version, holding.digest)

        await self._records.set_choice(number, note, is_by_choice=is_by_choice)
        self._change(number, lambda place: replace(place, is_by_choice=is_by_choice))

    async def note_scrubbed(self, number: int, done: int, right_at_s: float | None = None) -> None:
        """Take note of how many units of a round are scrubbed, and when all were right; durable."""
        await self._records.note_scrubbed(number, done, right_at_s)
        self._change(number, lambda place: place.with_scrubbed(done, right_at_s))

    async def hashed(self, number: int) -> HashedDirectory:
        """Return what was hashed at a place.

        Raises:
            NotFound: There is no such place.
            DamagedState: What the database has is not that version.
        """
        found = await self._records.hashed(self._held.known(number)[0].holding.digest, [number])
        if number not in found:
            raise NotFound(f"place {number}", "is not in this node's catalog")
        return found[number]

    async def manifest(self, digest: Digest) -> Manifest:
        """Return a manifest, also of a version that cannot be served.

        Raises:
            NotFound: There is no such version.
            DamagedState: What the database has is not that manifest.
        """
        return await self._records.manifest(digest)

    async def manifest_bytes(self, digest: Digest) -> bytes | memoryview:
        """Return an encoded manifest, also of a version that cannot be served.

        Raises:
            NotFound: There is no such version.
            DamagedState: What the database has is not that manifest.
        """
        return await self._records.manifest_bytes(digest)

    async def open_version(self, digest: Digest) -> ServedVersion:
        """Return a version to send bytes from: each unit from the first place that has it.

        Raises:
            NotFound: There is no such version, or it is withdrawn.
            ContentChanged: Nothing of it is what was hashed any more.
            DamagedState: What the database has is not that manifest.
        """
        await self.see(digest)
        self._servable(digest)
        return await self._open.get(digest, lambda: self._servable(digest))

    def _servable(self, digest: Digest) -> HeldVersion:
        held = self._held.get(digest)
        if held is None:
            raise unknown(digest)
        if not held.is_offered:
            name = f"{held.holding.checkpoint}@{held.holding.version}"
            if held.is_stale:
                raise ContentChanged(name, f"is stale: {held.reason}")
            why = f": {held.reason}" if held.reason else ""
            raise Withdrawn(name, f"is withdrawn{why}")
        return held

    def _note_added(self, packed: Packed, added: Place) -> bool:
        """Know a place from now on; return whether what can be served changed."""
        self._additions += 1
        self._added.add(added.number)
        self._open.drop(packed.row.digest)
        return self._held.add(facts_of(packed.row, packed.space), added, packed.starts)

    async def _set_withdrawn(
        self, digest: Digest, number: int | None, *, is_withdrawn: bool
    ) -> HeldVersion:
        async with self._lock:
            held = self._held.get(digest)
            if held is None:
                raise unknown(digest)
            numbers = [each.number for each in held.places if number in {None, each.number}]
            if not numbers:
                raise NotFound(f"place {number}", "is no place of that version")
            await self._withdraw(numbers, is_withdrawn=is_withdrawn)
            return self._held.get(digest) or held

    async def _withdraw(self, numbers: Sequence[int], *, is_withdrawn: bool) -> None:
        await self._records.set_withdrawn(numbers, is_withdrawn=is_withdrawn)
        self._change_all(numbers, lambda place: replace(place, is_withdrawn=is_withdrawn))

    def _change(self, number: int, change: Callable[[Place], Place]) -> bool:
        return self._change_all([number], change)

    def _change_all(self, numbers: Iterable[int], change: Callable[[Place], Place]) -> bool:
        """Change what is known of some places; return whether that was another thing."""
        changes = {number: self._held.change(number, change) for number in numbers}
        for number, changed in changes.items():
            if changed.is_served_otherwise:
                self._open.drop(self._held.known(number)[0].holding.digest)
        if any(changed.is_seen for changed in changes.values()):
            self.on_change()
        return any(changed.is_any for changed in changes.values())

    async def _delete(self, numbers: Sequence[int]) -> None:
        await self._records.delete(numbers)
        if self._drop(numbers):
            self.on_change()

    def _drop(self, numbers: Iterable[int]) -> bool:
        """Forget places in memory; return whether what can be served changed."""
        is_seen = False
        for number in numbers:
            if (found := self._held.place(number)) is not None:
                self._open.drop(found[0].holding.digest)
                self._seen.discard(number)
                self._added.discard(number)
                is_seen |= self._held.drop(number)
        return is_seen

    def _note_damage(self, places: Iterable[StoredPlace], error: DamagedState) -> None:
        for row in places:
            if (found := self._held.place(row.place)) is not None:
                self.mark_changed(row.place, range(found[1].unit_count), str(error))

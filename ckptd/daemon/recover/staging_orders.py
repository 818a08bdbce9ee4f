"""Carries out orders on this node's own disks: prepare, commit, place, discard.

Each returns the one event that ends it; what the disk refuses is in that event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias, TypeVar, assert_never

from ckptd.core.effects import (
    CommitBlocks,
    DiscardStaging,
    PlacePhase,
    PlaceVersion,
    PrepareStaging,
    WidenStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    BlocksDurable,
    CommitFailed,
    Event,
    PhaseHeld,
    PlacementFailed,
    Refusal,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    StagingWidened,
    VersionPlaced,
    WideningRefused,
)
from ckptd.daemon.host.disk_calls import DiskCalls
from ckptd.daemon.host.shortages import in_threads, outlast, ready_threads
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.attribute_search import AttributeSearch, Wanted
from ckptd.daemon.recover.keeping_warm import KeepingWarm
from ckptd.daemon.recover.own_versions import OwnVersions
from ckptd.daemon.recover.phase_orders import PhaseOrders
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook, is_taken
from ckptd.daemon.recover.terms import Terms
from ckptd.daemon.serve.advertising import Advertising, Incoming
from ckptd.errors import CkptdError, Conflict, OutOfSpace, Shortage
from ckptd.model.attributes import Attributes
from ckptd.model.encoded.decoding import encoding_of
from ckptd.model.ids import CheckpointName, Digest, PathId, Version
from ckptd.model.manifest import Manifest
from ckptd.model.words import PlaceMode
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.layout import staging_of, usual_target
from ckptd.store.files.roots import Root
from ckptd.store.files.version_state import read_state
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.records.journal import JournaledRecovery
from ckptd.store.staging.area import Staging
from ckptd.store.staging.block_files import Writing
from ckptd.store.staging.kept import drop_kept, swap_staging
from ckptd.store.staging.staged_version import StagedVersion
from ckptd.store.staging.warmth import Warmth
from ckptd.store.trees.directories import is_free
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.partial_marker import describe_partial
from ckptd.store.trees.state_file import describe_state, note_ended

_DISK_THREADS: Final = 4
"""Preparing, committing and placing of this many recoveries at once."""

_PHASE_THREADS: Final = 2
"""Phases of this many recoveries are placed at once; commits of the rest do not wait for them."""

_log = get_logger()
_T = TypeVar("_T")

StagingOrder: TypeAlias = (
    PrepareStaging | WidenStaging | CommitBlocks | PlacePhase | PlaceVersion | DiscardStaging
)
"""Orders that this node's disks carry out."""


class StagingOrders:
    """Works on staging, in threads.

    Args:
        storage: Where the journal and the catalog are.
        book: All recoveries.
        own: Knows what is here already.
        advertising: Hears of what peers may have.
        writing: Which way blocks take to the disk.
        search: Finds modes and times.
        terms: How long versions may be, and what their files get last.
        wall_clock: Gives Unix time.

    Attributes:
        report: Hears of what happens on the way to the end of an order; set before the first one.
        could_free: Says what retention would free for whoever finds no room; empty: nothing is
            to be said.
        factors: Says how many times as fast as they were seen last sources will be.
        disk_calls: How long threads have been in the disk.
        warm: Knows what stays in the page cache.
        repaired_units: How many files were put right where their version stood.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (the parts it is made of, each named)
        self,
        storage: Storage,
        book: RecoveryBook,
        own: OwnVersions,
        advertising: Advertising,
        writing: Writing,
        search: AttributeSearch,
        terms: Terms,
        wall_clock: Callable[[], float],
    ) -> None:
        self._catalog = storage.catalog
        self._journal = storage.journal
        self._roots = storage.roots
        self._shelf = storage.shelf
        self._book = book
        self._own = own
        self._advertising = advertising
        self._writing = writing
        self._writing_copies = replace(writing, warmth=Warmth(bound_bytes=0))
        self.warm = KeepingWarm(storage, writing.warmth)
        self._search = search
        self._terms = terms
        self._wall_clock = wall_clock
        self.report: Callable[[Event], None] = lambda _: None
        self.could_free: Callable[[Root], str] = lambda _: ""
        self.factors: Callable[[OpenRecovery], Mapping[PathId, float]] = lambda _: {}
        self.disk_calls = DiskCalls()
        self.repaired_units = 0
        self._disk = ready_threads(_DISK_THREADS, "disk")
        self._phase_disk = ready_threads(_PHASE_THREADS, "phases")
        self._placed_units = storage.placed_units
        self._phases = PhaseOrders(storage, lambda work: in_threads(self._phase_disk, work))

    async def close(self) -> None:
        """End the threads, and close every staging."""
        for recovery in self._book:
            if recovery.staging is not None:
                recovery.staging.interrupt()  # hashing terabytes would take minutes
        # Off the loop, which reports meanwhile to the service manager. Its threads use what is
        # closed below.
        await asyncio.to_thread(self._disk.shutdown)
        await asyncio.to_thread(self._phase_disk.shutdown)
        for recovery in self._book:
            if recovery.staging is not None:
                recovery.staging.close()

    async def carry_out(self, effect: StagingOrder) -> Event:
        """Do what an order asks for; return the event that ends it."""
        match effect:
            case PrepareStaging():
                return await self._prepare(effect)
            case WidenStaging():
                return await self._widen(effect)
            case CommitBlocks():
                return await self._commit(effect)
            case PlacePhase():
                return await self._place_phase(effect)
            case PlaceVersion():
                return await self._place(effect)
            case DiscardStaging():
                return await self._discard(effect)
            case unreachable:
                assert_never(unreachable)

    async def _prepare(self, effect: PrepareStaging) -> Event:
        """Reserve room, and hash again what an earlier run left."""
        recovery = self._book.under_way(effect.recovery)
        try:
            await self._settle_target(recovery, effect)
            await self._refuse_rivals(recovery, effect)
            self._check_room(recovery, effect)
            if recovery.staging is not None:  # what was in it is lost
                self._advertising.end(recovery.id)
                await self._in_thread(recovery.staging.close)
            await self._swap_content(recovery, effect)
            await self._record_choice(recovery, effect)
            journaled = await self._journal.blocks(recovery.id)
            here = recovery.here = await self._own.on_disk(
                effect.digest, recovery.root, recovery.target, recovery.record, recovery.joined
            )
            manifest, name = effect.space.manifest, recovery.record.checkpoint
            similar = await self._own.similar(
                effect.digest, name, manifest.version, recovery.root, recovery.joined
            )
            recovery.bases = await self._own.bases(
                effect.digest, name, manifest.version, recovery.joined
            )
            recovery.space = effect.space
            recovery.note_growth()  # its units are known
            staging = Staging(
                recovery.root,
                recovery.id,
                recovery.target,
                effect.space,
                self._writing_of(recovery),
                self._terms.by_root[recovery.root.name].owner,
            )
            recovery.staging = staging
            prepare = partial(
                staging.prepare,
                journaled,
                here,
                similar=similar,
                unchosen=effect.unchosen,
                reserved_elsewhere_bytes=self._promised_bytes(recovery),
                is_begun=await self._placed_units.is_target_made(recovery.id),
            )
            verified = await self._in_thread(partial(_making_room, recovery, prepare))
            await self.warm.let_go()
            is_there = staging.is_placed or staging.target.is_untouched
            recovery.was_here = is_there and staging.local == verified
            if not staging.is_placed or staging.target.is_begun:
                self._seek_attributes(recovery, effect, staging)
            is_progressive = recovery.record.place is PlaceMode.PROGRESSIVE
            # What stands at the target is served from there, unless it appears phase by phase.
            if not staging.target.stands or is_progressive:
                self._advertise(recovery, effect, staging)
        except CkptdError as error:
            return StagingRefused(
                effect.recovery, Refusal.of(with_room(error, self.could_free, recovery.root))
            )
        nearby = staging.nearby.blocks
        found = (verified, staging.local, staging.zeros, nearby)
        return StagingPrepared(effect.recovery, *found, factors=self.factors(recovery))

    def _writing_of(self, recovery: OpenRecovery) -> Writing:
        """Return how a recovery writes; a copy for others takes no memory from what a job loads."""
        is_copy = recovery.root.name == self._roots.for_copies
        return self._writing_copies if is_copy else self._writing

    def _promised_bytes(self, recovery: OpenRecovery) -> int:
        """Return what other recoveries on the same file system still write."""
        return sum(
            other.staging.promised_bytes
            for other in self._book
            if other.staging is not None
            and other.id != recovery.id
            and other.root.device == recovery.root.device
        )

    async def _widen(self, effect: WidenStaging) -> Event:
        """Make room for more units."""
        recovery = self._book.under_way(effect.recovery)
        widen = partial(
            recovery.known_staging().widen,
            effect.blocks,
            reserved_elsewhere_bytes=self._promised_bytes(recovery),
        )
        try:
            zeros = await self._in_thread(partial(_making_room, recovery, widen))
        except CkptdError as error:
            return WideningRefused(
                effect.recovery, Refusal.of(with_room(error, self.could_free, recovery.root))
            )
        recovery.was_here = False
        return StagingWidened(effect.recovery, effect.blocks, zeros)

    def _advertise(self, recovery: OpenRecovery, effect: PrepareStaging, staging: Staging) -> None:
        """Advertise what is staged, as peers know it."""
        served: Mapping[Digest, StagedVersion] = {effect.digest: staging.served}
        if recovery.joined is not None:
            served = staging.served.split(recovery.joined.joint, recovery.joined.spaces)
        self._advertising.begin(
            *(Incoming(recovery.id, digest, staged) for digest, staged in served.items())
        )

    def _seek_attributes(
        self, recovery: OpenRecovery, effect: PrepareStaging, staging: Staging
    ) -> None:
        """Look for modes and times; what comes from now on gets them as soon as they are known."""
        wanted = _wanted(recovery, effect.digest, effect.space.manifest)

        def note(found: Attributes | None) -> None:
            staging.finishing = self._finishing(recovery, wanted, found)

        self._search.begin(recovery.id, wanted, note)

    def _finishing(
        self, recovery: OpenRecovery, wanted: Wanted, attributes: Attributes | None
    ) -> Finishing:
        return Finishing(wanted.manifest, attributes, *self._terms.by_root[recovery.root.name])

    async def _settle_finishing(self, recovery: OpenRecovery, wanted: Wanted) -> None:
        """Settle what files and directories get last, before they are placed."""
        staging = recovery.known_staging()
        if staging.is_placed and not staging.target.is_begun:
            return
        attributes = await self._search.result(recovery.id, wanted)
        staging.finishing = self._finishing(recovery, wanted, attributes)
        if attributes is None:
            _log.warning("attributes.missing", recovery=recovery.id, digest=wanted.digest)

    async def _settle_target(self, recovery: OpenRecovery, effect: PrepareStaging) -> None:
        """Take the usual place after all if nothing stands any more where the version was."""
        root, version = self._roots.default(), Version(effect.space.manifest.version)
        usual = usual_target(recovery.record.checkpoint, version)
        is_usual = recovery.root is root and recovery.target == usual
        if recovery.record.target or recovery.space is not None or is_usual:
            return
        if await self._in_thread(partial(is_free, recovery.root, recovery.target)):
            recovery.settle_target(root, usual)

    async def _swap_content(self, recovery: OpenRecovery, effect: PrepareStaging) -> None:
        """Put aside what is staged of another content that was chosen before.

        Raises:
            StorageError: The system refused.
        """
        before = await self._journal.digest(recovery.id)
        if before is not None and before != effect.digest:
            swap = partial(swap_staging, recovery.root, recovery.id, before, effect.digest)
            await self._in_thread(swap)

    async def _record_choice(self, recovery: OpenRecovery, effect: PrepareStaging) -> None:
        """Write down what the manifest that just arrived says: going on needs no peer then."""
        arrived, recovery.arrived = recovery.arrived.get(effect.digest), {}
        if arrived is not None:
            version = Version(effect.space.manifest.version)
            members = recovery.joined_members
            for digest, manifest in {effect.digest: arrived, **members}.items():
                await self._shelf.add(digest, manifest.signatures)
            encoded = {digest: manifest.encoded for digest, manifest in members.items()}
            await self._journal.choose(
                recovery.id, version, effect.digest, arrived.encoded, encoded
            )

    def _check_room(self, recovery: OpenRecovery, effect: PrepareStaging) -> None:
        """Check that the version may be so long, and finds room in the catalog.

        Nothing of it travelled yet, and nothing is made for it. What stands at its target is put
        right whatever its length.

        Raises:
            StorageError: It may not, or will not.
        """
        held = self._catalog.held(effect.digest)
        if held is None or held.at(recovery.root.name, recovery.target) is None:
            manifest = effect.space.manifest
            subject = f"{manifest.checkpoint}@{manifest.version}"
            self._terms.check_size(subject, effect.space.size_bytes)
        promised = {
            other.target_path
            for other in self._book
            if other.id != recovery.id and other.staging is not None
        }
        version = Version(effect.space.manifest.version)
        self._catalog.check_room(
            recovery.record.checkpoint,
            version,
            effect.digest,
            promised=len(promised) + len(recovery.joined_members),
        )

    async def _refuse_rivals(self, recovery: OpenRecovery, effect: PrepareStaging) -> None:
        """Refuse a target that belongs to somebody else on this node.

        A version in the catalog of which nothing is left on the disk is in nobody's way.

        Raises:
            Conflict: Another recovery, or a held version, stands there, above or below.
            StorageError: The system refused.
        """
        root, mine = recovery.root, f"{recovery.target}/"
        subject = f"target {recovery.target_path}"
        other = self._book.overlapping(root, recovery.target, besides=recovery.id)
        if other is not None:
            raise is_taken(recovery.target_path, other)
        own = {effect.digest, *recovery.joined_members}
        for held, place in self._catalog.places_of(root.name):
            theirs = f"{place.directory}/"
            if held.holding.digest in own and theirs == mine:
                continue
            overlaps = mine.startswith(theirs) or theirs.startswith(mine)
            if overlaps and not await self._in_thread(partial(is_free, root, place.directory)):
                raise Conflict(
                    subject,
                    f"overlaps {held.holding.checkpoint}@{held.holding.version}",
                    "Choose another with --to.",
                )

    async def _commit(self, effect: CommitBlocks) -> Event:
        """Make blocks durable, and write them into the journal."""
        recovery = self._book.under_way(effect.recovery)
        staging = recovery.known_staging()
        is_durable = False
        loop = asyncio.get_running_loop()

        def commit() -> None:
            nonlocal is_durable
            # In one thread from end to end: lanes wait for this, and each way over the loop
            # costs milliseconds when the cores are busy.
            with self.disk_calls.call():
                staging.commit(effect.blocks)
            is_durable = True
            loop.call_soon_threadsafe(self.report, BlocksDurable(effect.recovery))
            self._journal.append(recovery.id, effect.blocks)
            staging.release(effect.blocks)

        try:
            await self._in_thread(commit)
        except CkptdError as error:
            may_repeat = is_durable or isinstance(error, Shortage)
            return CommitFailed(effect.recovery, Refusal.of(error), may_repeat=may_repeat)
        self._advertising.note_growth()
        recovery.note_growth()
        return BlocksCommitted(effect.recovery)

    async def _place_phase(self, effect: PlacePhase) -> Event:
        """Let the units of a phase appear."""
        recovery = self._book.under_way(effect.recovery)
        assert recovery.described is not None, f"{recovery.id} has no manifest yet"
        digest, manifest = recovery.described.digest, recovery.known_space().manifest
        try:
            await self._settle_finishing(recovery, _wanted(recovery, digest, manifest))
        except CkptdError as error:
            return PhaseHeld(effect.recovery, Refusal.of(error))
        return await self._phases.place(recovery, effect, digest)

    async def _place(self, effect: PlaceVersion) -> Event:
        """Move the version to its final name, and into the catalog."""
        recovery = self._book.under_way(effect.recovery)
        staging = recovery.known_staging()
        try:
            space = recovery.known_space()
            manifest = space.manifest
            encoded = encoding_of(manifest)
            digest = await asyncio.to_thread(hexdigest_of, encoded)
            left_out = space.units_of(effect.missing)
            wanted = _wanted(recovery, digest, manifest)
            await self._settle_finishing(recovery, wanted)
            needed = effect.missing - effect.unchosen - space.optional_blocks()
            is_by_choice = bool(effect.unchosen) and not needed
            marker = describe_partial(
                manifest, digest, left_out, at_s=self._wall_clock(), is_by_choice=is_by_choice
            )
            say = partial(_final_state, recovery, digest, left_out)
            files = await self._in_thread(lambda: staging.place(effect.missing, marker, say()))
            placed = HashedDirectory(
                recovery.root.name, recovery.target, manifest, encoded, digest, files
            )
            await self._record(recovery, placed, is_by_choice=is_by_choice)
            await self._note_job(recovery)
            recovery.kept_warm_bytes = await self.warm.note_placed(
                digest, recovery.root.name, recovery.target, staging
            )
            self._advertising.end(recovery.id)
            await self._in_thread(staging.close)
            await self._in_thread(partial(drop_kept, recovery.root, recovery.id))
            self._search.end(recovery.id)
        except CkptdError as error:
            refusal = Refusal.of(error)
            is_progressive = recovery.record.place is PlaceMode.PROGRESSIVE
            if is_in_the_way := isinstance(error, Conflict) and is_progressive:
                refusal = replace(refusal, is_retryable=True)  # when it is out of the way
            return PlacementFailed(effect.recovery, refusal, is_in_the_way)
        return VersionPlaced(effect.recovery)

    async def _record(
        self, recovery: OpenRecovery, placed: HashedDirectory, *, is_by_choice: bool
    ) -> None:
        """Write into the catalog what stands at the target now, and why no more does."""
        known, staging = recovery.here.at_target, recovery.known_staging()
        if staging.target.is_untouched and not staging.target.is_begun:
            return
        if staging.target.replaced:
            self.repaired_units += staging.target.replaced
            _log.warning(
                "version.repaired",
                recovery=recovery.id,
                digest=placed.digest,
                directory=recovery.target_path,
                files=staging.target.replaced,
            )
        if recovery.joined is not None:
            shards = list(recovery.joined.placed(placed))
            job, version = recovery.record.checkpoint, Version(placed.manifest.version)
            await self._catalog.add_shards(shards, (job, version, placed.digest))
            return
        if known is None or self._catalog.place(known.number) is None:
            await self._catalog.add(placed, is_published=False, is_by_choice=is_by_choice)
            return
        self._catalog.mark_names(known.number, {})
        renewed = {
            unit: file
            for unit, file in enumerate(placed.files)
            if file is not None and file != known.files[unit]
        }
        await self._catalog.settle(known.number, renewed, {})
        await self._catalog.note_choice(known.number, is_by_choice=is_by_choice)

    async def _note_job(self, recovery: OpenRecovery) -> None:
        """Take note of the version of a job that somebody waited for, and that is placed now."""
        if recovery.joined is None or recovery.record.is_background:
            return
        member = next(iter(recovery.joined.members.values())).space.manifest
        await self._catalog.note_placed(
            recovery.record.checkpoint, Version(member.version), CheckpointName(member.checkpoint)
        )

    async def _discard(self, effect: DiscardStaging) -> Event:
        """Remove what a recovery left."""
        recovery = self._book.under_way(effect.recovery)
        self._advertising.end(recovery.id)
        self._search.end(recovery.id)

        if effect.withdraws_placed:
            try:
                await self._phases.withdraw(recovery)
            except CkptdError as error:
                _log.error("recovery.not_withdrawn", recovery=effect.recovery, why=str(error))

        def discard() -> None:
            drop_kept(recovery.root, recovery.id)
            if recovery.record.place is PlaceMode.PROGRESSIVE and recovery.target:
                with suppress(CkptdError):  # it was asked for, and says less than it could
                    note_ended(recovery.root, staging_of(recovery.id), recovery.target)
            if recovery.staging is not None:
                recovery.staging.discard()
            else:
                # A restart interrupted it, and this life did not come to open what it left.
                recovery.root.remove_tree(staging_of(recovery.id))

        try:
            await outlast(partial(self._in_thread, discard), f"staging of {recovery.id}")
        except CkptdError as error:
            _log.error("staging.not_discarded", recovery=effect.recovery, why=str(error))
        return StagingDiscarded(effect.recovery)

    async def note_end(
        self, ended: EndedRecovery, follower: JournaledRecovery | None = None
    ) -> None:
        """Write into the journal how a recovery ended, and which other one begins with that."""
        await outlast(partial(self._journal.end, ended, follower), f"end of {ended.recovery}")

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await in_threads(self._disk, work)


def _final_state(recovery: OpenRecovery, digest: Digest, left_out: Collection[int]) -> bytes:
    """Return what the state file says in the end; empty if there is to be none."""
    if recovery.record.place is not PlaceMode.PROGRESSIVE:
        with suppress(CkptdError):
            if read_state(recovery.root, recovery.target) is None:
                return b""
    manifest, missing = recovery.known_space().manifest, frozenset(left_out)
    return describe_state(
        manifest,
        digest,
        lambda unit: unit not in missing,
        len(manifest.phases),
        is_under_way=False,
    )


def with_room(error: CkptdError, could_free: Callable[[Root], str], root: Root) -> CkptdError:
    """Return an error; one about room says what retention would free.

    Args:
        error: What happened.
        could_free: Says that.
        root: Where there is no room.
    """
    more = could_free(root) if isinstance(error, OutOfSpace) else ""
    return OutOfSpace(error.subject, error.problem, error.hint + more) if more else error


def _making_room(recovery: OpenRecovery, stage: Callable[[], _T]) -> _T:
    """Stage something; what is going to be placed goes before what may be."""
    try:
        return stage()
    except OutOfSpace:
        drop_kept(recovery.root, recovery.id)
        return stage()


def _wanted(recovery: OpenRecovery, digest: Digest, manifest: Manifest) -> Wanted:
    """Return whose attributes are looked for."""
    joined, parts = recovery.joined, []
    if joined is not None:
        for member, space in joined.spaces.items():
            found = Wanted(CheckpointName(space.manifest.checkpoint), member, space.manifest)
            parts.append((found, joined.joint.units_of(member)))
    return Wanted(recovery.record.checkpoint, digest, manifest, tuple(parts))

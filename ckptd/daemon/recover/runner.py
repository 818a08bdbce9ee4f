"""Carries out the scheduler's orders; each that starts something ends with one event.

This is the edge at which failures become facts: whatever goes wrong while an order is carried
out is reported, never raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias, TypeVar, assert_never

from ckptd.core.effects import (
    ChooseVersion,
    CloseLane,
    CommitBlocks,
    ConfirmHolding,
    DiscardStaging,
    Effect,
    EndRecovery,
    FetchManifest,
    FetchRange,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    Event,
    HoldingConfirmed,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    PlacementFailed,
    RangeEnded,
    Refusal,
    Reporting,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    VersionPlaced,
)
from ckptd.daemon.host.disk_calls import DiskCalls
from ckptd.daemon.recover.manifests import Manifests
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.daemon.serve.advertising import Advertising, Incoming
from ckptd.errors import (
    CkptdError,
    Conflict,
    InvalidManifest,
    NotSigned,
    VerificationFailed,
)
from ckptd.model.ids import LaneId, Version
from ckptd.model.words import Confirmation, RangeOutcome, Urgency
from ckptd.net.connection.identity import Identity
from ckptd.net.inquiry import Inquirer
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.lane import Lane, RangeOrder
from ckptd.net.throttle import Throttles
from ckptd.observe.logs import get_logger
from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.layout import staging_of
from ckptd.store.published.catalog import Catalog, HeldVersion
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.records.journal import Journal
from ckptd.store.records.signature_records import SignatureShelf
from ckptd.store.staging.area import Staging
from ckptd.store.staging.block_files import Writing

_DISK_THREADS: Final = 4
"""Preparing, committing and placing of this many recoveries at once."""

_log = get_logger()
_T = TypeVar("_T")


class Runner:
    """Does what the scheduler says.

    Args:
        report: Takes the events of orders.
        identity: Who this node is to sources; ``None``: peers talk in plaintext.
        writing: Which way blocks take to the disk.
        on_ended: Called with how a recovery ended, after the books are closed.
    """

    def __init__(  # noqa: PLR0913 (the parts it works with, each named)
        self,
        *,
        book: RecoveryBook,
        catalog: Catalog,
        journal: Journal,
        shelf: SignatureShelf,
        manifests: Manifests,
        advertising: Advertising,
        peering: Peering,
        inquirer: Inquirer,
        pool: BufferPool,
        throttles: Throttles,
        identity: Identity | None,
        writing: Writing,
        report: Reporting,
        on_ended: Callable[[EndRecovery, EndedRecovery], None],
    ) -> None:
        self._book = book
        self._catalog = catalog
        self._journal = journal
        self._shelf = shelf
        self._manifests = manifests
        self._advertising = advertising
        self._peering = peering
        self._inquirer = inquirer
        self._pool = pool
        self._throttles = throttles
        self._identity = identity
        self._writing = writing
        self._report = report
        self._on_ended = on_ended
        self.disk_calls = DiskCalls()
        self._lanes: dict[LaneId, Lane] = {}
        self._disk = ThreadPoolExecutor(_DISK_THREADS, thread_name_prefix="disk")
        self._orders: asyncio.TaskGroup | None = None

    @property
    def lane_count(self) -> int:
        """How many lanes are open."""
        return len(self._lanes)

    def cut(self, address: tuple[str, int]) -> None:
        """End every lane to a source that is not to be used any more."""
        for lane in self._lanes.values():
            if lane.address == address:
                lane.cut()

    async def run(self) -> None:
        """Be ready for orders until cancelled; then close every lane."""
        try:
            async with asyncio.TaskGroup() as self._orders:
                await asyncio.get_running_loop().create_future()
        finally:
            for lane in self._lanes.values():
                lane.close()
            for recovery in self._book:
                if recovery.staging is not None:
                    recovery.staging.interrupt()  # hashing terabytes would take minutes
            # Off the loop, which tells the service manager that a disk is slow. Its threads use
            # what is closed then.
            await asyncio.to_thread(self._disk.shutdown)
            for recovery in self._book:
                if recovery.staging is not None:
                    recovery.staging.close()

    def carry_out(self, effect: Effect) -> None:
        """Start what an order asks for."""
        match effect:
            case FetchRange():
                self._fetch_range(effect)
            case CloseLane():
                lane = self._lanes.pop(effect.lane, None)
                if lane is not None:
                    lane.close()
            case ChooseVersion():
                recovery = self._book.get(effect.recovery)
                assert recovery is not None
                recovery.settle_target(effect.version)
                _log.info(
                    "recovery.version_chosen",
                    recovery=effect.recovery,
                    version=effect.version,
                    digest=effect.digest,
                )
            case FetchManifest():
                self._start(self._fetch_manifest(effect))
            case ConfirmHolding():
                self._start(self._confirm(effect))
            case PrepareStaging():
                self._start(self._prepare(effect))
            case CommitBlocks():
                self._start(self._commit(effect))
            case PlaceVersion():
                self._start(self._place(effect))
            case DiscardStaging():
                self._start(self._discard(effect))
            case EndRecovery():
                self._end(effect)
            case unreachable:
                assert_never(unreachable)

    def _start(self, order: Awaitable[Event]) -> None:
        async def carry_out_and_report() -> None:
            self._report(await order)

        assert self._orders is not None, "orders are taken only while the runner runs"
        self._orders.create_task(carry_out_and_report())

    def _recovery(self, effect: _RecoveryEffect) -> OpenRecovery:
        recovery = self._book.get(effect.recovery)
        assert recovery is not None, f"{effect.recovery} is not under way"
        return recovery

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    def _fetch_range(self, effect: FetchRange) -> None:
        recovery = self._recovery(effect)
        staging = recovery.known_staging()
        lane = self._lanes.get(effect.lane)
        if lane is None:
            address = self._peering.address_of(effect.source)
            if address is None:
                self._report(RangeEnded(effect.transfer, RangeOutcome.UNREACHABLE))
                return
            lane = self._lanes[effect.lane] = Lane(
                address,
                pool=self._pool,
                report=self._report,
                peer=None if self._identity is None else (self._identity, effect.source),
                throttles=self._throttles,
                name=effect.source,
            )
            assert self._orders is not None
            self._orders.create_task(lane.run())
        lane.request(
            RangeOrder(
                transfer=effect.transfer,
                digest=effect.digest,
                blocks=effect.blocks,
                space=recovery.known_space(),
                urgency=Urgency.of(effect.criticality, is_background=recovery.record.is_background),
                sink=self.disk_calls.watched(staging),
            )
        )

    async def _fetch_manifest(self, effect: FetchManifest) -> Event:
        recovery, source = self._recovery(effect), effect.source
        checkpoint, digest = recovery.record.checkpoint, effect.digest
        try:
            if source is None:
                found = await self._manifests.from_journal(recovery.id, checkpoint, digest)
            else:
                found = await self._manifests.from_peer(source, checkpoint, digest)
        except InvalidManifest as error:
            return ManifestRefused(effect.recovery, source, Refusal.of(error))
        except VerificationFailed as error:
            _log.warning(
                "manifest.refused", recovery=effect.recovery, source=source, why=str(error)
            )
            is_lie = not isinstance(error, NotSigned) or error.is_lie
            refusal = str(error) if isinstance(error, NotSigned) else ""
            return ManifestMissed(effect.recovery, source, is_lie=is_lie, refusal=refusal)
        except (CkptdError, OSError) as error:
            _log.info("manifest.missed", recovery=effect.recovery, source=source, why=str(error))
            return ManifestMissed(effect.recovery, source, is_lie=False)
        if source is not None and recovery.space is None:
            recovery.arrived[digest] = found
        return ManifestArrived(effect.recovery, source, found.space)

    async def _confirm(self, effect: ConfirmHolding) -> Event:
        address = self._peering.address_of(effect.source)
        confirmation = Confirmation.NO_ANSWER
        if address is not None:
            confirmation = await self._inquirer.confirm(address, effect.digest)
        _log.warning(
            "source.bad_block",
            source=effect.source,
            digest=effect.digest,
            confirmation=confirmation.value,
        )
        return HoldingConfirmed(effect.source, effect.digest, confirmation)

    async def _prepare(self, effect: PrepareStaging) -> Event:
        recovery = self._recovery(effect)
        try:
            self._refuse_rivals(recovery, effect)
            if recovery.staging is not None:  # what was in it is lost
                self._advertising.end(recovery.id)
                await self._in_thread(recovery.staging.close)
            await self._record_choice(recovery, effect)
            journaled = await self._journal.blocks(recovery.id)
            partial = self._partial_at_target(recovery, effect)
            if partial is not None:
                journaled |= partial.holding.blocks
            recovery.space = effect.space
            staging = Staging(
                recovery.root, recovery.id, recovery.target, effect.space, self._writing
            )
            recovery.staging = staging
            promised = sum(
                other.staging.promised_bytes
                for other in self._book
                if other.staging is not None
                and other.id != recovery.id
                and other.root.device == recovery.root.device
            )
            verified = await self._in_thread(
                lambda: staging.prepare(journaled, reserved_elsewhere_bytes=promised)
            )
            if not staging.is_placed:
                self._advertising.begin(Incoming(recovery.id, effect.digest, staging.served))
                if partial is not None:
                    self._catalog.mark_stale(effect.digest, "it is being completed")
        except CkptdError as error:
            return StagingRefused(effect.recovery, Refusal.of(error))
        return StagingPrepared(effect.recovery, verified)

    async def _record_choice(self, recovery: OpenRecovery, effect: PrepareStaging) -> None:
        """Write down what the manifest that just arrived says: going on needs no peer then."""
        arrived, recovery.arrived = recovery.arrived.get(effect.digest), {}
        if arrived is not None:
            version = Version(effect.space.manifest.version)
            await self._shelf.add(effect.digest, arrived.signatures)
            await self._journal.choose(recovery.id, version, effect.digest, arrived.encoded)

    def _partial_at_target(
        self, recovery: OpenRecovery, effect: PrepareStaging
    ) -> HeldVersion | None:
        """Return the same version if it stands at the target with units left out."""
        held = self._catalog.find(
            recovery.record.checkpoint, Version(effect.space.manifest.version)
        )
        if (
            held is None
            or held.holding.digest != effect.digest
            or held.holding.is_complete
            or (held.root, held.directory) != (recovery.root.name, recovery.target)
        ):
            return None
        return held

    def _refuse_rivals(self, recovery: OpenRecovery, effect: PrepareStaging) -> None:
        """Refuse a target that belongs to somebody else on this node.

        Raises:
            Conflict: Another recovery, or a held version, stands there, above or below.
        """
        mine = f"{recovery.target}/"
        subject = f"target {recovery.target_path}"
        for other in self._book:
            theirs = f"{other.target}/"
            is_rival = other.id != recovery.id and other.root is recovery.root and other.target
            if is_rival and (mine.startswith(theirs) or theirs.startswith(mine)):
                raise Conflict(
                    subject,
                    f"is where {other.id} recovers to",
                    f"Watch it with: ckptctl watch {other.id}",
                )
        for held in self._catalog.versions():
            theirs = f"{held.directory}/"
            if held.root != recovery.root.name:
                continue
            is_same = held.holding.digest == effect.digest and theirs == mine
            if not is_same and (mine.startswith(theirs) or theirs.startswith(mine)):
                raise Conflict(
                    subject,
                    f"overlaps {held.holding.checkpoint}@{held.holding.version}",
                    "Choose another with --to.",
                )

    async def _commit(self, effect: CommitBlocks) -> Event:
        recovery = self._recovery(effect)
        staging = recovery.known_staging()

        def commit() -> None:
            # In one thread from end to end: lanes wait for this, and each way over the loop
            # costs milliseconds when the cores are busy.
            with self.disk_calls.call():
                staging.commit(effect.blocks)
            self._journal.append(recovery.id, effect.blocks)
            staging.release(effect.blocks)

        try:
            await self._in_thread(commit)
        except CkptdError as error:
            return CommitFailed(effect.recovery, Refusal.of(error))
        self._advertising.note_growth()
        recovery.note_growth()
        return BlocksCommitted(effect.recovery)

    async def _place(self, effect: PlaceVersion) -> Event:
        recovery = self._recovery(effect)
        staging = recovery.known_staging()
        try:
            files = await self._in_thread(lambda: staging.place(effect.missing))
            encoded = await self._journal.manifest(recovery.id)
            assert encoded is not None, f"{recovery.id} has no manifest in the journal"
            manifest = recovery.known_space().manifest
            digest = hexdigest_of(encoded)
            placed = HashedDirectory(
                recovery.root.name, recovery.target, manifest, encoded, digest, files
            )
            await self._catalog.add(placed, replace=True, is_published=False)
            self._advertising.end(recovery.id)
            await self._in_thread(staging.close)
        except CkptdError as error:
            return PlacementFailed(effect.recovery, Refusal.of(error))
        return VersionPlaced(effect.recovery)

    async def _discard(self, effect: DiscardStaging) -> Event:
        recovery = self._recovery(effect)
        self._advertising.end(recovery.id)
        try:
            if recovery.staging is not None:
                await self._in_thread(recovery.staging.discard)
            else:
                # A restart interrupted it, and this life did not come to open what it left.
                await self._in_thread(lambda: recovery.root.remove_tree(staging_of(recovery.id)))
        except CkptdError as error:
            _log.error("staging.not_discarded", recovery=effect.recovery, why=str(error))
        return StagingDiscarded(effect.recovery)

    def _end(self, effect: EndRecovery) -> None:
        recovery = self._recovery(effect)
        ended = self._book.close(effect)
        self._on_ended(effect, ended)

        async def note() -> None:
            # Whoever learned that it ended must not see it go on after a restart.
            await self._journal.end(ended)
            recovery.announce_end()

        assert self._orders is not None
        self._orders.create_task(note())


_RecoveryEffect: TypeAlias = (
    FetchManifest
    | FetchRange
    | PrepareStaging
    | CommitBlocks
    | PlaceVersion
    | DiscardStaging
    | EndRecovery
)

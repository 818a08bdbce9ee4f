"""Carries out the scheduler's orders; each that starts something ends with one event.

This is the edge at which failures become facts: whatever goes wrong while an order is carried
out is reported, never raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, assert_never

from ckptd.core.effects import (
    AnnounceMilestone,
    ChooseVersion,
    CloseLane,
    ConfirmHolding,
    DropManifest,
    Effect,
    EndRecovery,
    ExamineRival,
    FetchManifest,
    FetchRange,
    JoinManifests,
    PrepareStaging,
    WakeReader,
)
from ckptd.core.events import (
    Event,
    JoinRefused,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    ManifestsJoined,
    Refusal,
    Reporting,
    SourceTroubled,
)
from ckptd.daemon.recover.activating import Activating
from ckptd.daemon.recover.examining import Examining
from ckptd.daemon.recover.fetching import ClaimOf, Fetching
from ckptd.daemon.recover.following_up import FollowingUp
from ckptd.daemon.recover.joined import join
from ckptd.daemon.recover.manifests import Manifests
from ckptd.daemon.recover.milestones import Milestones
from ckptd.daemon.recover.own_versions import OwnVersions
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.recoveries import DescribedVersion, OpenRecovery, RecoveryBook
from ckptd.daemon.recover.staging_orders import StagingOrder, StagingOrders
from ckptd.errors import (
    CkptdError,
    InvalidManifest,
    NotFound,
    NotSigned,
    Shortage,
    VerificationFailed,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, PathId, RecoveryId
from ckptd.model.space import AddressSpace
from ckptd.model.unit_choice import Choice
from ckptd.model.words import Criticality, Urgency
from ckptd.net.connection.handshakes import trouble_of
from ckptd.observe.logs import get_logger
from ckptd.store.records.ended import EndedRecovery
from ckptd.wire.block_lists import format_blocks

_NOT_RUNNING: Final = "orders are taken only while the runner runs"

_log = get_logger()


class Runner:
    """Does what the scheduler says.

    Args:
        book: All recoveries.
        manifests: Gets manifests.
        examining: Looks whether peers have what they claim.
        peering: Asks peers whether they still hold what they said.
        fetching: Fetches ranges.
        own: Knows what is here already.
        staging: Works on the disks.
        following_up: Begins with what is left for later.
        activating: Lets links lead to what was placed.
        report: Takes the events of orders.
        claim: Returns what a source says that it has of a version.
        milestones: Notes what recoveries reach.

    Attributes:
        on_ended: Called when a recovery ended, after the books are closed.
    """

    def __init__(  # noqa: PLR0913 (the parts it is made of, each named)
        self,
        *,
        book: RecoveryBook,
        manifests: Manifests,
        examining: Examining,
        peering: Peering,
        fetching: Fetching,
        own: OwnVersions,
        staging: StagingOrders,
        following_up: FollowingUp,
        activating: Activating,
        report: Reporting,
        claim: ClaimOf,
        milestones: Milestones,
    ) -> None:
        self._milestones = milestones
        self._book = book
        self._manifests = manifests
        self._examining = examining
        self._peering = peering
        self._fetching = fetching
        self._own = own
        self._staging = staging
        self._following_up = following_up
        self._activating = activating
        self._report = report
        self._claim = claim
        self.on_ended: Callable[[EndRecovery, EndedRecovery], None] = lambda _effect, _ended: None
        self._orders: asyncio.TaskGroup | None = None
        self._questions: dict[tuple[RecoveryId, PathId | None], asyncio.Task[Event]] = {}

    async def run(self) -> None:
        """Be ready for orders until cancelled; then close every lane and every staging."""
        try:
            async with asyncio.TaskGroup() as self._orders:
                await asyncio.get_running_loop().create_future()
        finally:
            self._fetching.close()
            await self._staging.close()

    def carry_out(self, effect: Effect) -> None:  # noqa: PLR0912 (one for each order)
        """Start what an order asks for."""
        if isinstance(effect, StagingOrder):
            self._note_described(effect)
            self._start(self._staging.carry_out(effect))
            return
        match effect:
            case FetchRange():
                assert self._orders is not None, _NOT_RUNNING
                self._fetching.fetch(effect, self._orders)
            case CloseLane():
                self._fetching.close_lane(effect)
            case ChooseVersion():
                self._choose(effect)
            case FetchManifest():
                self._ask_for_manifest(effect)
            case DropManifest():
                question = self._questions.get((effect.recovery, effect.source))
                if question is not None:
                    question.cancel()
            case JoinManifests():
                self._start(self._join(effect))
            case ExamineRival():
                record = self._book.under_way(effect.recovery).record
                urgency = Urgency.of(Criticality.CRITICAL, is_background=record.is_background)
                self._start(self._examining.examine(effect, record.checkpoint, urgency))
            case ConfirmHolding():
                self._start(self._confirm(effect))
            case WakeReader():
                recovery = self._book.get(effect.recovery)
                if recovery is not None:
                    recovery.wake_reader(effect.need)
            case AnnounceMilestone():
                assert self._orders is not None, _NOT_RUNNING
                self._orders.create_task(self._milestones.note(effect))
            case EndRecovery():
                self._end(effect)
            case unreachable:
                assert_never(unreachable)

    def _choose(self, effect: ChooseVersion) -> None:
        """Take the version that was chosen."""
        recovery = self._book.under_way(effect.recovery)
        recovery.choose(*self._own.target_of(effect.checkpoint, effect.version, effect.digest))
        _log.info(
            "recovery.version_chosen",
            recovery=effect.recovery,
            version=effect.version,
            digest=effect.digest,
            why=effect.why,
        )

    def _note_described(self, effect: StagingOrder) -> None:
        """Note which version the scheduler goes by, in the moment in which it does."""
        if isinstance(effect, PrepareStaging):
            described = DescribedVersion(effect.digest, effect.space)
            self._book.under_way(effect.recovery).described = described

    def _start(self, order: Awaitable[Event]) -> None:
        async def carry_out_and_report() -> None:
            self._report(await order)

        assert self._orders is not None, _NOT_RUNNING
        self._orders.create_task(carry_out_and_report())

    def _ask_for_manifest(self, effect: FetchManifest) -> None:
        """Ask for a manifest until it is here or nobody waits for it any more."""
        assert self._orders is not None, _NOT_RUNNING
        name = (effect.recovery, effect.source)
        question = self._orders.create_task(self._fetch_manifest(effect))
        self._questions[name] = question

        async def answer() -> Event:
            try:
                await asyncio.wait((question,))
            finally:
                del self._questions[name]
            if question.cancelled():
                return ManifestMissed(effect.recovery, effect.source, is_lie=False)
            return question.result()

        self._start(answer())

    async def _fetch_manifest(self, effect: FetchManifest) -> Event:
        recovery, source = self._book.under_way(effect.recovery), effect.source
        checkpoint, digest = recovery.record.checkpoint, effect.digest
        try:
            if source is None and recovery.record.shards:
                found = await self._manifests.of_member(recovery.id, digest)
            elif source is None:
                found = await self._manifests.from_here(recovery.id, checkpoint, digest)
            else:
                claimed = self._claim(source, digest)
                if recovery.record.shards and claimed is not None:
                    checkpoint = claimed.checkpoint  # that of a shard
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
        except Shortage as error:
            return ManifestMissed(effect.recovery, source, is_lie=False, shortage=Refusal.of(error))
        except (CkptdError, OSError) as error:
            _log.info("manifest.missed", recovery=effect.recovery, source=source, why=str(error))
            if source is not None:
                self._report(SourceTroubled(source, trouble_of(error)))
            is_denied = isinstance(error, NotFound)
            return ManifestMissed(effect.recovery, source, is_lie=False, is_denied=is_denied)
        if recovery.is_to_keep(found):
            recovery.arrived[digest] = found
        if recovery.record.shards:  # of what they are together
            return ManifestArrived(effect.recovery, source, found.space)
        chosen, misfit = await self._choose_units(recovery, found.space, digest)
        return ManifestArrived(effect.recovery, source, found.space, chosen, misfit)

    async def _choose_units(
        self, recovery: OpenRecovery, space: AddressSpace, digest: Digest
    ) -> tuple[BlockSet | None, str]:
        """Return the blocks of the units that are wanted by now, and why that cannot be."""
        chosen: BlockSet | None = None
        choice: Choice | None = None
        while (wanted := recovery.choice) != choice:  # it may be widened meanwhile
            choice, chosen = wanted, None
            if choice is not None:
                standing = self._own.standing_at(digest, recovery.root, recovery.target)
                match = partial(choice.blocks_in, space, standing=standing)
                try:
                    chosen = await asyncio.to_thread(match)
                except NotFound as error:
                    return BlockSet(), str(error)
        return chosen, ""

    async def _join(self, effect: JoinManifests) -> Event:
        """Join manifests that are here: they came, or a restart interrupted what joined them."""
        recovery = self._book.under_way(effect.recovery)
        try:
            members = {
                digest: recovery.arrived.get(digest)
                or await self._manifests.of_member(recovery.id, digest)
                for digest in effect.members
            }
            joined = await join(effect.job, effect.version, members)
            recovery.join(joined)
        except CkptdError as error:
            if effect.members == recovery.members:  # of an earlier life; they are fetched again
                _log.warning("recovery.members_lost", recovery=recovery.id, why=str(error))
            return JoinRefused(effect.recovery, Refusal.of(error))
        joint = joined.joint
        chosen, misfit = await self._choose_units(recovery, joint.space, joined.digest)
        return ManifestsJoined(effect.recovery, joined.digest, joint, chosen, misfit)

    async def _confirm(self, effect: ConfirmHolding) -> Event:
        joined = self._book.joined(effect.digest)
        if joined is None:
            confirmed = await self._peering.confirm(effect)
        else:
            questions = joined.questions(
                effect, lambda digest: self._claim(effect.source, digest) is not None
            )
            answers = [await self._peering.confirm(each) for each in questions]
            confirmed = joined.answer(effect.source, answers)
        _log.warning(
            "source.bad_block",
            source=effect.source,
            digest=effect.digest,
            blocks=format_blocks(effect.blocks),
            confirmation=confirmed.confirmation.value,
        )
        return confirmed

    def _end(self, effect: EndRecovery) -> None:
        recovery = self._book.under_way(effect.recovery)
        follower = self._following_up.follower_of(recovery, effect)
        ended = self._book.close(effect, follower)
        self.on_ended(effect, ended)

        async def note() -> None:
            # Whoever learned that it ended must not see it go on after a restart.
            outcome = ended
            if follower is None:
                outcome = await self._activating.after(recovery, ended)
                self._book.remember(outcome)
            await self._staging.note_end(outcome, follower)
            if follower is not None:
                await self._following_up.begin(recovery, follower)
            self._book.announce(recovery)

        assert self._orders is not None, _NOT_RUNNING
        self._orders.create_task(note())

"""Milestones of recoveries: logged, and kept for the next life of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from ckptd.core.effects import AnnounceMilestone
from ckptd.daemon.recover.recoveries import RecoveryBook
from ckptd.errors import CkptdError
from ckptd.limits import SECOND
from ckptd.model.ids import Digest, RecoveryId
from ckptd.model.milestones import Milestone
from ckptd.model.words import MilestoneKind
from ckptd.observe.logs import get_logger
from ckptd.store.records.milestone_records import MilestoneRecords

_log = get_logger()


class Milestones:
    """Notes what recoveries reach.

    Args:
        records: Where that is kept.
        book: All recoveries.
        now: The moment in nanoseconds, on the monotonic clock.
    """

    def __init__(
        self, records: MilestoneRecords, book: RecoveryBook, now: Callable[[], int]
    ) -> None:
        self._records = records
        self._book = book
        self._now = now

    async def of(
        self, recovery: RecoveryId, digest: Digest | None, since_ns: int
    ) -> tuple[tuple[Milestone, int], ...]:
        """Return what an earlier life reached for a recovery, on this life's clock.

        Args:
            recovery: Which recovery.
            digest: Of which version; ``None``: none was chosen.
            since_ns: When it was asked for.

        Raises:
            CkptdError: The database refuses.
        """
        if digest is None:
            return ()
        reached = await self._records.of(recovery, digest)
        return tuple((each, since_ns + elapsed_ns) for each, elapsed_ns in reached.items())

    def note(self, effect: AnnounceMilestone) -> Coroutine[None, None, None]:
        """Log a milestone; return what keeps it. If the disk refuses, that is logged."""
        recovery = self._book.under_way(effect.recovery)
        assert recovery.described is not None, f"{recovery.id} reached something of nothing"
        digest, space = recovery.described
        elapsed_ns = self._now() - recovery.since_ns
        said = {
            "recovery": recovery.id,
            "checkpoint": recovery.record.checkpoint,
            "version": space.manifest.version,
            "after_s": round(elapsed_ns / SECOND, 3),
        }
        has_several = len(space.phases) > 1  # the only one is not worth a line
        match effect.milestone.kind:
            case MilestoneKind.PHASE if has_several:
                _log.info("phase.complete", **said, phase=effect.name)
            case MilestoneKind.PLACED if has_several:
                _log.info("phase.placed", **said, phase=effect.name)
            case MilestoneKind.CRITICAL:
                _log.info("critical.complete", **said)
            case _:
                pass
        return self._keep(recovery.id, digest, effect.milestone, elapsed_ns)

    async def _keep(
        self, recovery: RecoveryId, digest: Digest, milestone: Milestone, elapsed_ns: int
    ) -> None:
        try:
            await self._records.write(recovery, digest, milestone, elapsed_ns)
        except CkptdError as error:
            _log.warning("durations.not_kept", why=str(error))

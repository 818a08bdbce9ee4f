"""Brings the copies that were decided on, a few at a time, as recoveries in the background.

Which are under way is read from the book of recoveries each time: so a restart in the middle loses
nothing. Names take turns, and what failed is tried again with longer and longer pauses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ckptd.copies.decided import Pull
from ckptd.copies.fleet import FleetVersion, FleetView
from ckptd.core.events import RecoveryCancelled
from ckptd.core.report.views import RecoverySnapshot
from ckptd.daemon.copying.pauses import Pauses
from ckptd.daemon.copying.room import copy_bytes, with_less
from ckptd.daemon.copying.seen import CopyingSeen
from ckptd.daemon.copying.wanted import BeginCopy, CopyWanted
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError, NotFound
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, RecoveryId
from ckptd.model.unit_choice import Choice
from ckptd.model.words import Criticality, PlaceState, Stage
from ckptd.observe.logs import get_logger
from ckptd.store.files.layout import usual_target
from ckptd.store.published.catalog import Catalog

AT_ONCE_MAX: Final = 2
_PATIENCE_S: Final = 600.0
"""So long one waits for blocks that nobody has; then it may be another node's."""
_UNWANTED_NS: Final = 15 * SECOND
"""So long a copy that is under way is decided on no more until it is ended: after a start it takes
a moment until what it is of is known again."""
_NAMES_MAX: Final = 4096
"""Of so many names it is known when one of them had its turn."""
_DIGEST_DIGITS: Final = 64
_IN_DOUBT: Final = frozenset({PlaceState.UNSEEN, PlaceState.SUSPECT, PlaceState.WITHDRAWN})
"""What stands here so is looked at first, or somebody does not want it to be had."""

_log = get_logger()


class Pulling:
    """Begins and ends recoveries of copies. Belongs to the event loop.

    Args:
        for_copies: Name of the root for copies.
        catalog: What stands here.
        recovering: All recoveries.
        begin: Begins them.
        seen: Takes what came of it.
    """

    def __init__(
        self,
        for_copies: str,
        catalog: Catalog,
        recovering: Recovering,
        begin: BeginCopy,
        seen: CopyingSeen,
    ) -> None:
        self._for_copies = for_copies
        self._catalog = catalog
        self._recovering = recovering
        self._begin_copy = begin
        self._seen = seen
        self._pauses: Pauses[Digest] = Pauses()
        self._awaited: dict[RecoveryId, Pull] = {}
        self._begun_ns: dict[CheckpointName, int] = {}
        self._unwanted_ns: dict[RecoveryId, int] = {}

    def under_way(self) -> list[OpenRecovery]:
        """Return the recoveries that bring copies."""
        return [each for each in self._recovering.book if each.root.name == self._for_copies]

    def came_bytes(self) -> int:
        """Return how many bytes came of copies that are being made, beyond what stands here."""
        return sum(
            max(snapshot.verified_bytes - self._bytes_there(recovery), 0)
            for recovery, snapshot in self._staged()
        )

    def coming_bytes(self) -> int:
        """Return for how many bytes of copies there is staging, that did not come yet."""
        return sum(snapshot.total_bytes - snapshot.verified_bytes for _, snapshot in self._staged())

    def _staged(self) -> Iterator[tuple[OpenRecovery, RecoverySnapshot]]:
        snapshots = {each.recovery: each for each in self._recovering.snapshots()}
        for each in self.under_way():
            if each.staging is not None and each.id in snapshots:
                yield each, snapshots[each.id]

    def _bytes_there(self, recovery: OpenRecovery) -> int:
        found = self._catalog.at(recovery.root.name, recovery.target)
        return 0 if found is None else copy_bytes(*found)

    async def follow(self, pulls: Sequence[Pull], view: FleetView, *, now: int) -> None:
        """Begin what was decided on, as far as there is place; end what is decided on no more.

        Args:
            pulls: All that were decided on, the most urgent first.
            view: What was known then.
            now: The moment, in nanoseconds.
        """
        self._take_in_ends(now)
        wanted = {each.digest: each for each in pulls}
        self._pauses.keep(wanted)
        under_way = self.under_way()
        known = {each.id for each in under_way}
        self._unwanted_ns = {key: since for key, since in self._unwanted_ns.items() if key in known}
        for recovery in under_way:
            if not _is_made_by_policy(recovery):
                continue
            pull = wanted.get(Digest(recovery.record.digest_prefix))
            if pull is not None:  # also what an earlier life of the daemon began
                self._awaited.setdefault(recovery.id, pull)
                self._unwanted_ns.pop(recovery.id, None)
            elif view.all_asked and self._is_to_end(recovery, now):
                self._end(recovery)
        busy = {recovery.record.checkpoint for recovery in self._recovering.book}
        places = AT_ONCE_MAX - len(under_way)
        room = with_less(view.room, self.coming_bytes())
        versions = {each.digest: each for each in view.versions}
        for pull in self._in_turn(pulls):
            if places <= 0:
                break
            if pull.checkpoint in busy or not self._may_begin(pull, now):
                continue
            more_bytes = self._more_bytes(pull, versions)
            if more_bytes is None or more_bytes > room.left_bytes:
                continue  # asked again before each: several that were decided on share the room
            if await self._begin(pull, now):
                busy.add(pull.checkpoint)
                places -= 1
                room = with_less(room, more_bytes)
        self._seen.under_way = len(self.under_way())

    def _more_bytes(self, pull: Pull, versions: Mapping[Digest, FleetVersion]) -> int | None:
        """Return how many bytes a copy has beyond what stands of it; ``None``: it is not known."""
        version = versions.get(pull.digest)
        if version is None:
            return None
        there = self._catalog.at(self._for_copies, usual_target(pull.checkpoint, pull.version))
        size_bytes = version.size_down_to(pull.least)
        return max(size_bytes - (0 if there is None else copy_bytes(*there)), 0)

    def _in_turn(self, pulls: Iterable[Pull]) -> list[Pull]:
        """Order pulls so that names take turns; of one name the most urgent goes first."""
        return sorted(pulls, key=lambda each: self._begun_ns.get(each.checkpoint, -1))

    def _may_begin(self, pull: Pull, now: int) -> bool:
        if self._pauses.is_paused(pull.digest, now=now):
            return False
        held = self._catalog.held(pull.digest)
        return held is None or not any(place.state in _IN_DOUBT for place in held.places)

    async def _begin(self, pull: Pull, now: int) -> bool:
        self._begun_ns.pop(pull.checkpoint, None)
        self._begun_ns[pull.checkpoint] = now
        if len(self._begun_ns) > _NAMES_MAX:
            del self._begun_ns[next(iter(self._begun_ns))]
        try:
            recovery = await self._begin_copy(
                CopyWanted(
                    pull.checkpoint,
                    pull.version,
                    pull.digest,
                    _choice_of(pull.least),
                    _PATIENCE_S,
                )
            )
        except CkptdError as error:
            self._note_failure(pull, str(error), now)
            return False
        self._awaited[recovery] = pull
        self._seen.begun[pull.why.value] += 1
        _log.info(
            "copies.begun",
            recovery=recovery,
            checkpoint=pull.checkpoint,
            version=pull.version,
            least=pull.least.label,
            why=pull.why.value,
        )
        return True

    def _is_to_end(self, recovery: OpenRecovery, now: int) -> bool:
        """Return whether a copy is wanted no more, and that is no moment of knowing little."""
        since_ns = self._unwanted_ns.setdefault(recovery.id, now)
        is_being_placed = self._recovering.scheduler.stages().get(recovery.id) is Stage.PLACING
        return now - since_ns >= _UNWANTED_NS and not is_being_placed

    def _end(self, recovery: OpenRecovery) -> None:
        """Give a copy up that is wanted no more, and what it has staged."""
        self._awaited.pop(recovery.id, None)
        self._unwanted_ns.pop(recovery.id, None)
        self._recovering.runtime.report(RecoveryCancelled(recovery.id))
        _log.info(
            "copies.given_up",
            recovery=recovery.id,
            checkpoint=recovery.record.checkpoint,
            version=recovery.record.version,
        )

    def _take_in_ends(self, now: int) -> None:
        """Take in how those ended that were begun."""
        for recovery, pull in list(self._awaited.items()):
            if self._recovering.book.get(recovery) is not None:
                continue
            del self._awaited[recovery]
            try:
                ended = self._recovering.book.result(recovery)
            except NotFound:  # so long ago that nobody remembers
                continue
            if ended.result.is_success:
                self._note_made(pull, ended.received_bytes)
            else:  # also what a person cancelled
                why = ended.message or f"recovery {recovery} ended as {ended.result.value}"
                self._note_failure(pull, why, now)

    def _note_made(self, pull: Pull, received_bytes: int) -> None:
        self._pauses.forget(pull.digest)
        self._seen.problems.pop((pull.checkpoint, pull.version), None)
        self._seen.made += 1
        _log.info(
            "copies.made",
            checkpoint=pull.checkpoint,
            version=pull.version,
            least=pull.least.label,
            bytes=received_bytes,
        )

    def _note_failure(self, pull: Pull, why: str, now: int) -> None:
        pause_ns = self._pauses.note_failure(pull.digest, now=now)
        self._seen.problems[pull.checkpoint, pull.version] = why
        self._seen.failed += 1
        _log.warning(
            "copies.failed",
            checkpoint=pull.checkpoint,
            version=pull.version,
            why=why,
            again_after_s=pause_ns // SECOND,
        )


def _is_made_by_policy(recovery: OpenRecovery) -> bool:
    """Return whether a recovery into the root for copies was begun here, and not by a person."""
    record = recovery.record
    is_exact = len(record.digest_prefix) == _DIGEST_DIGITS
    return is_exact and record.is_background and not record.is_repair


def _choice_of(least: Criticality) -> Choice | None:
    """Return the units of a copy; the last class stands for all, also those that are optional."""
    return None if least is max(Criticality) else Choice(min_criticality=least)

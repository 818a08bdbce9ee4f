"""Which claims of peers are proven: by a block that was drawn from each within the last day.

An audit belongs to who answered it: to a node id that a certificate proves, else to the configured
entry; never to an id that is merely stated. A claim that is not made any more proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from ckptd.daemon.audit.timetable import PROVEN_NS, Audited, ClaimKey
from ckptd.errors import CkptdError
from ckptd.limits import SECOND
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId, Origin
from ckptd.observe.logs import get_logger
from ckptd.store.records.audit_records import AUDITS_MAX, AuditRecord, AuditRecords
from ckptd.store.records.boot_moments import BootMoment

_KEPT_S: Final = 2 * PROVEN_NS / SECOND
"""Older audits prove nothing; so long it is known that a claim was false."""

ClaimsOfNode: TypeAlias = Callable[[NodeId, Digest], Iterable[tuple[Origin, Holding]]]
"""Returns what a node says that it has of a version at present, by who says so."""

_log = get_logger()


class FalseClaim(NamedTuple):
    """A claim whose last audit failed.

    Attributes:
        origin: Whose.
        digest: Of which version.
        age_s: How long ago it was audited.
    """

    origin: Origin
    digest: Digest
    age_s: float


class Proofs:
    """What came of the last audit of each claim. Belongs to the event loop.

    Args:
        records: Where that is kept over restarts.
        claims: Returns what a node claims.
        now: The moment in nanoseconds, on the monotonic clock.
        boot: Names this boot of the machine.
        wall_clock: Unix time, for what was audited in another boot.
    """

    def __init__(
        self,
        records: AuditRecords,
        claims: ClaimsOfNode,
        *,
        now: Callable[[], int],
        boot: str,
        wall_clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._claims = claims
        self._now = now
        self._boot = boot
        self._wall_clock = wall_clock
        self._last: dict[ClaimKey, Audited] = {}
        self._unwritten: set[ClaimKey] = set()

    async def load(self) -> None:
        """Know what came of the audits of an earlier life of the daemon.

        Raises:
            CkptdError: The database refuses.
        """
        now, now_s = self._now(), self._wall_clock()
        here = BootMoment(self._boot, now)
        for record in await self._records.load():
            age_ns = here.since_ns(record.moment)
            if age_ns is None:
                age_ns = int((now_s - record.at_s) * SECOND)
            if age_ns >= 0:  # else a clock was wrong: nobody knows how old it is
                audited = Audited(now - age_ns, record.is_right, record.block_count)
                self._last[record.origin, record.digest] = audited

    def last(self, key: ClaimKey) -> Audited | None:
        """Return what came of the last audit of a claim; ``None``: it was never audited."""
        return self._last.get(key)

    def note(self, key: ClaimKey, audited: Audited) -> None:
        """Know what came of an audit. The oldest make room."""
        self._last.pop(key, None)
        self._last[key] = audited
        self._unwritten.add(key)
        if len(self._last) > AUDITS_MAX:
            oldest = next(iter(self._last))
            del self._last[oldest]
            self._unwritten.discard(oldest)

    def proven_at_ns(self, node: NodeId, digest: Digest, *, now: int) -> int | None:
        """Return when it was last shown that a node has what it claims of a version now.

        Args:
            node: Which node.
            digest: Which version.
            now: The moment, in nanoseconds.

        Returns:
            The moment in nanoseconds; ``None``: it is not proven.
        """
        moments = [
            audited.at_ns
            for origin, holding in self._claims(node, digest)
            if (audited := self._last.get((origin, digest))) is not None
            and audited.proves(len(holding.blocks), now=now)
        ]
        return max(moments, default=None)

    def proven_at_s(self, node: NodeId, digest: Digest) -> float | None:
        """Return when it was last shown that a node has a version, in Unix time; for people."""
        now = self._now()
        at_ns = self.proven_at_ns(node, digest, now=now)
        return None if at_ns is None else round(self._wall_clock() - (now - at_ns) / SECOND, 3)

    def is_proven(self, node: NodeId, digest: Digest, now: int) -> bool:
        """Return whether a node claims a version now, and showed within a day that it has it."""
        for origin, holding in self._claims(node, digest):
            audited = self._last.get((origin, digest))
            if audited is not None and audited.proves(len(holding.blocks), now=now):
                return True
        return False

    def false_claims(self) -> list[FalseClaim]:
        """Return the claims whose last audit failed, within a day, the last one first."""
        now = self._now()
        failed = [
            FalseClaim(*key, (now - audited.at_ns) / SECOND)
            for key, audited in self._last.items()
            if not audited.is_right and now - audited.at_ns < PROVEN_NS
        ]
        return sorted(failed, key=lambda each: each.age_s)

    async def write(self) -> None:
        """Write down what is new. If the disk refuses, that is logged: it is audited again then."""
        if not self._unwritten:
            return
        now, now_s = self._now(), self._wall_clock()
        news, self._unwritten = self._unwritten, set()
        records = [
            AuditRecord(
                *key,
                audited.block_count,
                audited.is_right,
                now_s - (now - audited.at_ns) / SECOND,
                BootMoment(self._boot, audited.at_ns),
            )
            for key in sorted(news)
            if (audited := self._last.get(key)) is not None
        ]
        try:
            await self._records.write(records, not_before_s=now_s - _KEPT_S)
        except CkptdError as error:
            self._unwritten |= news
            _log.warning("audit.not_kept", why=str(error))

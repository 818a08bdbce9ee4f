"""How many copies there are of versions, on all nodes that answer, and whether they are proven."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ckptd.daemon.audit.auditing import Auditing
from ckptd.daemon.audit.audits_seen import AUDIT_METRICS
from ckptd.daemon.doctor.copies import ScarceVersion
from ckptd.daemon.measure.redundancy import REDUNDANCY_METRICS, Redundancy
from ckptd.daemon.measure.under_replicated import (
    UNDER_REPLICATED_METRICS,
    ShortOfCopies,
    UnderReplicated,
)
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.peering import Peering
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId
from ckptd.observe.metrics import MetricGroup


class CopiesWatch:
    """Counts them: of what this node holds, and of what it lists in ``[copies]``.

    Args:
        parts: What the daemon is made of.
        peering: Knows what peers say that they hold.
        auditing: Knows what of that is proven.
        now: The moment in nanoseconds, on the monotonic clock.
    """

    def __init__(
        self, parts: Parts, peering: Peering, auditing: Auditing, now: Callable[[], int]
    ) -> None:
        self._copies = parts.config.copies
        self._peering = peering
        self._auditing = auditing
        self._now = now
        catalog = parts.storage.catalog
        self._redundancy = Redundancy(catalog, self._of_peers, self._counts, self._copies.lists)
        self._under_replicated = UnderReplicated(
            catalog, self._of_peers, self._counts, self._copies.counts_of, auditing.space_of, now
        )

    async def refresh(self) -> None:
        """Look at new versions."""
        await self._redundancy.refresh()
        await self._under_replicated.refresh()

    def note_let_go(self, digest: Digest) -> None:
        """Take in that somebody wants a version to go from here, which then is not missed."""
        self._redundancy.let_go(digest)
        self._under_replicated.let_go(digest)

    def scarce(self) -> Sequence[ScarceVersion]:
        """Return the versions of which there are too few copies, as far as was looked."""
        return self._redundancy.scarce()

    def short(self) -> Sequence[ShortOfCopies]:
        """Return of what there are fewer copies than ``[copies]`` asks for."""
        return self._under_replicated.short()

    def metrics(self) -> tuple[MetricGroup[Any], ...]:
        """Return the rows of the page."""
        return (
            MetricGroup(self._redundancy.copies, REDUNDANCY_METRICS),
            MetricGroup(
                lambda: self._under_replicated.units(is_on=self._copies.is_on),
                UNDER_REPLICATED_METRICS,
            ),
            MetricGroup(self._auditing.seen, AUDIT_METRICS),
        )

    def _of_peers(self) -> Iterable[tuple[NodeId, tuple[Holding, ...]]]:
        return [(node, said.holdings) for node, said in self._peering.said().items()]

    def _counts(self, node: NodeId, holding: Holding) -> bool:
        """Tell whether what a peer says counts as a copy: of what is listed what it has shown."""
        if not self._copies.lists(holding.checkpoint):
            return True
        return self._auditing.proofs.is_proven(node, holding.digest, self._now())

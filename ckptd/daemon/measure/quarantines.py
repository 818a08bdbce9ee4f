"""How peers stand with this node, counted over all their lives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ckptd.core.report.views import SourceSnapshot
from ckptd.model.ids import Epoch, PathId
from ckptd.observe.metrics import MetricRow, counter


class Quarantines:
    """Adds up how often peers were put into quarantine.

    A peer that restarts begins at none, so what was counted of its earlier life is kept here. It
    knows as many peers as the scheduler does.

    Attributes:
        total: How often any peer was, since this daemon started.
    """

    def __init__(self) -> None:
        self.total = 0
        self._counted: dict[PathId, tuple[Epoch, int]] = {}

    def look(self, sources: Iterable[SourceSnapshot]) -> int:
        """Take in the peers as they are now; return the total."""
        counted = {}
        for source in sources:
            epoch, before = self._counted.get(source.path, (source.epoch, 0))
            self.total += source.quarantines - (before if epoch == source.epoch else 0)
            counted[source.path] = (source.epoch, source.quarantines)
        self._counted = counted
        return self.total


QUARANTINE_METRICS: Final[Sequence[MetricRow[int]]] = (
    counter(
        "quarantines",
        "How often a peer was put into quarantine for wrong blocks or manifests.",
        lambda total: total,
    ),
)

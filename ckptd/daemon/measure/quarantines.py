"""How often peers were put into quarantine, counted over all their lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckptd.observe.metrics import MetricRow, counter

QUARANTINE_METRICS: Final[Sequence[MetricRow[int]]] = (
    counter(
        "quarantines",
        "How often a peer was put into quarantine for wrong blocks or manifests.",
        lambda total: total,
    ),
)

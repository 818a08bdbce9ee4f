"""How full the catalog is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckptd.limits import HOLDINGS_MAX
from ckptd.observe.metrics import MetricRow, gauge

CAPACITY_METRICS: Final[Sequence[MetricRow[int]]] = (
    gauge(
        "catalog_versions", "Versions in the catalog, on offer or not.", lambda versions: versions
    ),
    gauge(
        "catalog_full_ratio",
        "The same as a share of the most it takes; at 1 nothing is published or recovered.",
        lambda versions: versions / HOLDINGS_MAX,
    ),
)

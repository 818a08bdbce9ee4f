"""How full the catalog is, and how what is in it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ckptd.limits import HOLDINGS_MAX
from ckptd.model.words import PlaceState
from ckptd.observe.metrics import MetricRow, gauge, gauges

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
PLACE_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    gauges(
        "places",
        "Directories of this node in which a version stands.",
        ("state",),
        lambda counts: counts,
        (state.value for state in PlaceState),
    ),
)

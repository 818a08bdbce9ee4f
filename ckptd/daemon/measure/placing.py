"""Whether nodes that answer placed different versions of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ckptd.model.ids import CheckpointName, NodeId, Version
from ckptd.observe.metrics import MetricRow, gauge

PLACING_METRICS: Final[Sequence[MetricRow[Mapping[CheckpointName, Mapping[NodeId, Version]]]]] = (
    gauge(
        "jobs_placed_apart",
        "Jobs of which nodes that answer placed different versions last.",
        lambda placed: sum(len(set(by_node.values())) > 1 for by_node in placed.values()),
    ),
)

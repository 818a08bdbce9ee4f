"""How many jobs nodes went different ways with."""

from __future__ import annotations

from ckptd.daemon.measure.placing import PLACING_METRICS
from ckptd.model.ids import CheckpointName, NodeId, Version

A, B, C = map(NodeId, "abc")


def test_jobs_of_which_nodes_placed_different_versions_are_counted() -> None:
    (row,) = PLACING_METRICS
    placed = {
        CheckpointName("llama"): {A: Version(1), B: Version(1), C: Version(2)},
        CheckpointName("gpt"): {A: Version(1), B: Version(1)},
        CheckpointName("eval"): {A: Version(1)},
    }
    assert [sample.value for sample in row.family(placed).samples] == [1]
    assert [sample.value for sample in row.family({}).samples] == [0]

"""What is to become active, what became of it, and how often: values of :class:`Activating`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptd.model.ids import CheckpointName, Version
from ckptd.observe.metrics import MetricRow, counter, gauge
from ckptd.store.records.active_records import ActiveVersion


class Activation(NamedTuple):
    """What is to become active.

    Attributes:
        checkpoint: Whose link is to lead there: a checkpoint, or a job.
        version: Which version.
        root: Name of the root it stands in …
        directory: … and its directory there. Of a job the shards that stand in it.
    """

    checkpoint: CheckpointName
    version: Version
    root: str
    directory: str


class Swapped(NamedTuple):
    """A link that leads where it was to lead.

    Attributes:
        row: Where that is.
        before: Where it led before; ``None``: there was none.
        is_new: It led elsewhere, or nowhere.
        swap_ns: How long it took from the first change of the link until that was durable.
    """

    row: ActiveVersion
    before: ActiveVersion | None
    is_new: bool
    swap_ns: int


class Deactivated(NamedTuple):
    """A link that ckptd keeps no more.

    Attributes:
        row: Where it led.
        left: Why what stands at its name was left there; empty if nothing stands there.
    """

    row: ActiveVersion
    left: str


@dataclass(slots=True)
class Activations:
    """How often links were swapped, and how many there are.

    Attributes:
        done: How often one was.
        failed: How often one was to be and was not.
        active: How many links lead to a version.
    """

    done: int = 0
    failed: int = 0
    active: int = 0


ACTIVE_METRICS: Final[Sequence[MetricRow[Activations]]] = (
    gauge(
        "active_versions",
        "Links that lead to the active version of a checkpoint.",
        lambda counts: counts.active,
    ),
    counter("activations", "How often such a link was swapped.", lambda counts: counts.done),
    counter(
        "failed_activations",
        "How often a version was to become active and did not.",
        lambda counts: counts.failed,
    ),
)

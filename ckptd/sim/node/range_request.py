"""A request for a range, on its way from the order to the last byte of its answer."""

from __future__ import annotations

from ckptd.core.effects import FetchRange
from ckptd.model.words import Urgency
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.world.mishaps import Mishap


class RangeRequest:
    """A range that was asked for.

    Attributes:
        order: The order.
        staging: Where its blocks go.
        size_bytes: Its length.
        urgency: Its class.
        next_block: The first block that has not arrived.
        reported_bytes: What was reported to the scheduler last.
        ready_ns: When its first byte can be here; ``None`` until it is at the source.
        load_bytes: What the source said it had to send when it answered.
        is_admitted: The source has taken it on.
        mishap: What goes wrong with the answer …
        sent_bytes: … once so many bytes of it have come.
    """

    __slots__ = (
        "is_admitted",
        "load_bytes",
        "mishap",
        "next_block",
        "order",
        "ready_ns",
        "reported_bytes",
        "sent_bytes",
        "size_bytes",
        "staging",
        "urgency",
    )

    def __init__(self, order: FetchRange, staging: SimulatedStaging) -> None:
        self.order = order
        self.staging = staging
        self.size_bytes = staging.known_version().run_bytes(*order.blocks)
        self.urgency = Urgency.of(order.criticality, is_background=staging.request.is_background)
        self.next_block = order.blocks.start
        self.reported_bytes = 0
        self.ready_ns: int | None = None
        self.load_bytes = 0
        self.is_admitted = False
        self.mishap: Mishap | None = None
        self.sent_bytes = self.size_bytes

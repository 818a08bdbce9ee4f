"""A range that a simulated lane was asked for, and what became of it so far."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.core.effects import FetchRange
from ckptd.model.ids import Digest
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.world.mishaps import Mishap
from ckptd.sim.world.processors import Body


@dataclass(slots=True, eq=False)
class RangeRequest:
    """A range that was asked for.

    Attributes:
        order: The order.
        staging: Where its blocks go.
        size_bytes: Its length.
        urgency: Its class.
        next_block: The first block that has not arrived.
        sent_bytes: What the source sends of it: all, unless something goes wrong.
        reported_bytes: What was reported to the scheduler last.
        ready_ns: When its first byte can be here; ``None`` until it is at the source.
        load_bytes: What the source said it had to send when it answered.
        is_admitted: The source has taken it on.
        mishap: What goes wrong with the answer once ``sent_bytes`` of it have come.
        bases: Versions that its blocks may be differences from; ``None``: it is asked for as it is.
        body: What it is on its way.
        asked_ns: When it was asked for.
        given_up_as: How it ends, as nothing more of it is taken: a block of it was wrong, or one
            of a base is not what it was; ``None``: what comes is taken.
    """

    order: FetchRange
    staging: SimulatedStaging
    size_bytes: int
    urgency: Urgency
    next_block: int
    sent_bytes: int
    reported_bytes: int = 0
    ready_ns: int | None = None
    load_bytes: int = 0
    is_admitted: bool = False
    mishap: Mishap | None = None
    bases: tuple[Digest, ...] | None = None
    body: Body | None = None
    asked_ns: int = 0
    given_up_as: RangeOutcome | None = None

"""Lanes, what is asked for on them, and the bundle of those that lead to one source."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ckptd.core.state.link import Link
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import LaneId, NeedId, Origin, PathId, RecoveryId, TransferId
from ckptd.model.words import CloseReason, Criticality


@dataclass(slots=True)
class Transfer:
    """One attempt to fetch one range from one source.

    Attributes:
        id: Its name.
        blocks: What was ordered.
        size_bytes: Length of that.
        next_block: Blocks below this one have been dealt with.
        received_bytes: Body bytes so far.
        credited_bytes: Those of them that are verified or were counted as wasted.
        criticality: How urgent it is.
        is_prompt: It was ordered on an idle lane, so that its first byte measures the latency.
        is_hedge: It duplicates a range that another source is late with.
        is_spoiled: A block of it was wrong.
        is_hedged: It was looked at as late once; there may be a hedge for it.
        ordered_ns: When it was ordered.
        is_proof: It is the one block by which a source shows that a unit is right again.
        need: Who waited for it when it was ordered, if anybody did.
    """

    id: TransferId
    blocks: BlockRun
    size_bytes: int
    next_block: int
    criticality: Criticality = Criticality.NORMAL
    received_bytes: int = 0
    credited_bytes: int = 0
    is_prompt: bool = True
    is_hedge: bool = False
    is_spoiled: bool = False
    is_hedged: bool = False
    ordered_ns: int = 0
    is_proof: bool = False
    need: NeedId | None = None

    @property
    def is_needed(self) -> bool:
        """Somebody waited for it when it was ordered."""
        return self.need is not None


@dataclass(slots=True)
class Lane:
    """One connection to a source, for one recovery.

    Attributes:
        id: Its name.
        source: Whom it leads to.
        recovery: What it works for.
        link: The path it is part of; an old epoch's lane keeps the old link.
        transfers: In the order in which the source answers them; the first is being answered.
        heard_ns: When it last delivered, or when its first transfer became the first.
        has_body: Bytes of the first transfer have come.
        has_delivered: A whole range came on it.
        is_on_trial: Whether it pays is not known yet.
        is_surplus: It gets no more work, and is closed when it has none.
        is_express: It is beside the others, for ranges that somebody waits for.
        is_closing: It was ordered to close; its transfers will end.
        closing: Why.
        origin: Whose blame it is what comes on it.
    """

    id: LaneId
    source: PathId
    recovery: RecoveryId
    link: Link
    heard_ns: int
    transfers: deque[Transfer] = field(default_factory=deque)
    has_body: bool = False
    has_delivered: bool = False
    is_on_trial: bool = False
    is_surplus: bool = False
    is_express: bool = False
    is_closing: bool = False
    closing: CloseReason | None = None
    origin: Origin = Origin("")  # noqa: RUF009 (a string)

    @property
    def owed_bytes(self) -> int:
        """What its transfers still owe."""
        return sum(known.size_bytes - known.received_bytes for known in self.transfers)


@dataclass(slots=True)
class Bundle:
    """The lanes of one recovery to one source; there just while there is one.

    Attributes:
        lanes: Oldest first, but for one that is express, which comes first.
        width: How many there are to be while there is work, not counting that one.
        busy_since_ns: Since when there was always work for one of them.
        received_bytes: Body bytes that came on them.
        tried_ns: When another number of them was tried last.
        is_fewer_next: Then one less is tried, not one more.
        coded_width: Up to how many were opened because blocks come coded.
    """

    lanes: list[Lane] = field(default_factory=list)
    width: int = 1
    busy_since_ns: int = 0
    received_bytes: int = 0
    tried_ns: int = -1
    is_fewer_next: bool = False
    coded_width: int = 1

    @property
    def usual_count(self) -> int:
        """How many of them are not express."""
        return sum(not lane.is_express for lane in self.lanes)

    @property
    def express(self) -> Lane | None:
        """The one that is express and may be given work."""
        first = self.lanes[0] if self.lanes else None
        return first if first is not None and first.is_express and not first.is_closing else None

    @property
    def active_count(self) -> int:
        """How many of them have work."""
        return sum(bool(lane.transfers) for lane in self.lanes)

    def least_loaded(self) -> Lane | None:
        """Return the lane with the fewest ranges of those that may be given more."""
        best: Lane | None = None
        for lane in self.lanes:
            if lane.is_closing or lane.is_surplus or lane.is_express:
                continue
            if best is None or len(lane.transfers) < len(best.transfers):
                best = lane
        return best


@dataclass(slots=True)
class Trial:
    """Finding out whether one lane more, or one less, changes what comes.

    Attributes:
        recovery: Whose lanes.
        source: Whom they lead to.
        bundle: These lanes.
        is_fewer: One less is tried.
        recoveries: How many recoveries there were when it began.
        is_head_start: A further lane is opened at once, and nothing is measured.
        is_changed: The number of lanes is the one that is tried.
        is_measuring: A measurement is under way, of what comes before the change or after it.
        look_at_ns: It is not looked at before this moment.
        since_ns: Since when; else since when the change is to have its effect.
        link_bytes: What the lanes had brought at that moment.
        total_bytes: What all lanes of this node had.
        owed_to_others: What the source said during it that it has to send to others, added up.
        owed_here: What it had to send to this node, added up as often.
        link_rate: What the lanes delivered before the change, in bytes a second.
        total_rate: What all lanes of this node did.
    """

    recovery: RecoveryId
    source: PathId
    bundle: Bundle
    is_fewer: bool
    recoveries: int
    is_head_start: bool = False
    is_changed: bool = False
    is_measuring: bool = False
    look_at_ns: int = 0
    since_ns: int = 0
    link_bytes: int = 0
    total_bytes: int = 0
    owed_to_others: int = 0
    owed_here: int = 0
    link_rate: float = 0.0
    total_rate: float = 0.0

"""What came out of a simulation, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.limits import SECOND
from ckptd.model.ids import NodeId, RecoveryId
from ckptd.model.words import Result
from ckptd.sim.check.accounts import Bytes


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """One recovery.

    Attributes:
        node: Where.
        recovery: Its name.
        result: How it ended; ``None``: it did not.
        critical_ns: From the wish until the last critical block was durable.
        complete_ns: From the wish until the end.
        needed_bytes: Length of the version; 0 while none was chosen.
        bytes: What became of all bytes.
        missing_blocks: What it says nobody has.
    """

    node: NodeId
    recovery: RecoveryId
    result: Result | None
    critical_ns: int | None
    complete_ns: int | None
    needed_bytes: int
    bytes: Bytes
    missing_blocks: int


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node.

    Attributes:
        node: Which.
        sent_bytes: Body bytes that left it and arrived.
        request_count: Ranges it asked for.
        lane_count: Lanes it opened.
        quarantined: Whom it put into quarantine in its present life.
    """

    node: NodeId
    sent_bytes: int
    request_count: int
    lane_count: int
    quarantined: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        scenario: Name of the scenario.
        seed: Its seed.
        now_ns: How long it took, in virtual time.
        event_count: Events that the schedulers handled.
        digest: Of the story.
        recoveries: In the order of the wishes.
        nodes: In the order of the scenario.
    """

    scenario: str
    seed: int
    now_ns: int
    event_count: int
    digest: str
    recoveries: tuple[RecoveryReport, ...]
    nodes: tuple[NodeReport, ...]

    @property
    def seconds(self) -> float:
        """How long it took, in virtual time."""
        return self.now_ns / SECOND

    @property
    def complete_seconds(self) -> list[float]:
        """Return how long each recovery took that became complete, sorted."""
        return sorted(
            known.complete_ns / SECOND
            for known in self.recoveries
            if known.complete_ns is not None and known.result is Result.COMPLETE
        )

"""Views of peers and recoveries for people, metrics and logs. Values; they never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptd.core.report.evidence import BadBlock
from ckptd.core.report.learned_rate import LearnedRate
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, PathId, RecoveryId, Version
from ckptd.model.words import SourceState, Stage, WasteReason


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """One peer.

    Attributes:
        node: Who.
        epoch: Which life of it.
        state: What it is doing.
        rate_bytes_per_s: How fast it delivers; 0 while that is not known.
        in_flight_bytes: Ordered from it and not received.
        trust: Score of its honesty and health.
        versions: How many versions it says it holds.
        path: On which path to it.
        quarantines: How often it was put into quarantine, over all its lives.
        trouble: Why nothing came when it was asked last; empty: something did.
    """

    node: NodeId
    epoch: Epoch
    state: SourceState
    rate_bytes_per_s: int
    in_flight_bytes: int
    trust: int
    versions: int
    path: PathId
    quarantines: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class PeerSnapshot:
    """One peer with everything that is known of it.

    Attributes:
        source: The view of it that is taken most often.
        latency_ns: Usual time to its first byte; ``None`` before the first.
        learned: How fast it was when that was seen last, in this life or before; ``None``: never.
        failures: Disappointments in a row.
        quarantines: How often it was put into quarantine, over all its lives.
        quarantined_until_ns: It is not trusted up to this moment; ``None`` if it is.
        holdings: What it says it holds.
        bad_block_count: How many blocks it sent wrongly, in all its lives.
        bad_blocks: The last of them, oldest first.
    """

    source: SourceSnapshot
    latency_ns: int | None
    learned: LearnedRate | None
    failures: int
    quarantines: int
    quarantined_until_ns: int | None
    holdings: tuple[Holding, ...]
    bad_block_count: int
    bad_blocks: tuple[BadBlock, ...]


@dataclass(frozen=True, slots=True)
class RecoverySourceSnapshot:
    """One source of one recovery.

    Attributes:
        source: Who, and doing what.
        verified_bytes: How many verified bytes it brought.
        tuning: What the scheduler works with for it.
    """

    source: SourceSnapshot
    verified_bytes: int
    tuning: SourceTuning


@dataclass(frozen=True, slots=True)
class SourceTuning:
    """The numbers that the scheduler has worked out for one source.

    Attributes:
        latency_ns: Usual time to a first byte; ``None``: not known yet.
        gap_ns: Usual time between two reports of progress.
        window_ns: It is given no more work than it does in this time …
        window_bytes: … which is so much.
        range_bytes: How much is asked for at once.
        silence_timeout_ns: A lane that delivers nothing for so long in a body is closed …
        first_byte_timeout_ns: … and one that does not begin one for so long.
        hedge_after_ns: After this silence a second source is asked for its critical range that is
            under way; ``None``: there is none, or it has been.
        back_off_ns: It is left alone for so long from now.
        load_bytes: What it says it has to send to others.
        lanes: Connections of this recovery to it.
        transfers: Ranges of this recovery in flight from it.
    """

    latency_ns: int | None
    gap_ns: int
    window_ns: int
    window_bytes: int
    range_bytes: int
    silence_timeout_ns: int
    first_byte_timeout_ns: int
    hedge_after_ns: int | None
    back_off_ns: int
    load_bytes: int
    lanes: int
    transfers: int


@dataclass(frozen=True, slots=True)
class PhaseSnapshot:
    """How far one phase of a recovery is; times are counted as those of the recovery.

    Attributes:
        phase: Which of the manifest's phases it is.
        name: Its name.
        units_total: Units of it that are wanted.
        total_bytes: Length of these.
        left_bytes: What of them is not verified.
        durable_ns: When the last of its blocks was durable; ``None``: not yet.
        placed_ns: When its units stood under their final names; ``None``: not yet.
    """

    phase: int
    name: str
    units_total: int
    total_bytes: int
    left_bytes: int
    durable_ns: int | None
    placed_ns: int | None


@dataclass(frozen=True, slots=True)
class RecoverySnapshot:
    """One recovery that has not ended.

    Attributes:
        recovery: Its name.
        checkpoint: What it recovers.
        version: Which version, once chosen.
        digest: The version's identity, once chosen.
        stage: How far it is.
        is_paused: An operator wants it to stand still.
        units_total: Units of the version that are wanted; 0 while the manifest is not here.
        units_done: Those of them whose blocks are all verified.
        total_bytes: Length of the units that are wanted.
        verified_bytes: What of them is in staging.
        placed_bytes: What of them comes under the final name with the units that are not left
            out; 0 before placing begins.
        is_committed: All of that is durable and journaled.
        resumed_bytes: What an earlier run left.
        local_bytes: What else was on this node's disks already, or is zeros.
        reused_bytes: Those of them that were copied to where they belong, from another place,
            another version or a file that is replaced.
        received_bytes: Body bytes that came from sources.
        wasted_bytes: Those of them that were of no use, by reason.
        bad_blocks: Blocks with a wrong digest.
        rate_bytes_per_s: How fast bytes come.
        eta_ns: When it will be complete at that rate, from now; ``None``: not known.
        elapsed_ns: Since it was asked for, or since the daemon went on with it.
        critical_ns: From then until the last critical block was durable; ``None``: not yet, or
            no unit is critical. Negative if that was in an earlier life of the daemon.
        predicted_ns: What was said of ``elapsed_ns`` at its end, when transferring began;
            ``None``: not there yet, or not enough was known.
        predicted_critical_ns: What was said of ``critical_ns`` then.
        waiting_for: Why it stands still; empty if it moves.
        is_short: It is held up for lack of descriptors, memory or threads on this node.
        is_in_the_way: A file of somebody's is in the way of its next phase; that says which.
        is_idle: That is because it is on demand, and nobody needs or reads more of it.
        first_unit_ns: As ``critical_ns``: until the first unit was durable.
        phases: Its phases of which something is wanted, in order.
        missing_blocks: How many blocks nobody has.
        missing_units: Paths of the first units they belong to.
        sources: Every peer that can serve it or has served it.
        lanes: Connections it has.
        transfers: Ranges it has in flight.
        hedges: How often a second source was asked for the same.
        hedged_bytes: Length of those ranges …
        hedge_budget_bytes: … and how long they may be together.
    """

    recovery: RecoveryId
    checkpoint: CheckpointName
    version: Version | None
    digest: Digest | None
    stage: Stage
    is_paused: bool
    units_total: int
    units_done: int
    total_bytes: int
    verified_bytes: int
    placed_bytes: int
    is_committed: bool
    resumed_bytes: int
    local_bytes: int
    reused_bytes: int
    received_bytes: int
    wasted_bytes: Mapping[WasteReason, int]
    bad_blocks: int
    rate_bytes_per_s: int
    eta_ns: int | None
    elapsed_ns: int
    critical_ns: int | None
    predicted_ns: int | None
    predicted_critical_ns: int | None
    waiting_for: str
    missing_blocks: int
    missing_units: tuple[str, ...]
    sources: tuple[RecoverySourceSnapshot, ...]
    lanes: int
    transfers: int
    hedges: int
    hedged_bytes: int
    hedge_budget_bytes: int
    is_short: bool = False
    is_idle: bool = False
    is_in_the_way: bool = False
    first_unit_ns: int | None = None
    phases: tuple[PhaseSnapshot, ...] = ()

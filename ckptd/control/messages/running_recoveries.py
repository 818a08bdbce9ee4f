"""Recoveries that are asked for, and as they are at one moment."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ckptd.control.messages.milestone_rows import PhaseRow
from ckptd.limits import PATIENCE_MAX_S
from ckptd.model.words import SourceState, Stage


class RecoverRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a version complete on this node, or some units of it.

    Attributes:
        checkpoint: What to recover.
        version: Which version; ``None`` for the newest that is available.
        to: Absolute path of the version's directory; ``None`` for the usual one.
        patience_s: How long to wait for blocks that no peer has; ``None``: for ever.
        is_background: Use a source only while no other recovery here could use it.
        digest: Of several contents of the version, the one whose digest begins so, with at least 8
            digits; empty: whichever there is.
        from_node: Of several contents of the version, the one that this node has; ``None``: any.
        overwrite: Where the version stands already, replace also files that somebody changed; they
            are kept below ``.ckptd/replaced`` of the root.
        allow_partial: Place what could be had when patience ends, also without required units, but
            never without critical ones.
        is_name_awaited: Wait for a name that nobody has, as long as ``patience_s`` says; else that
            ends the recovery once every peer was asked.
        shards: Which shards of a job: ``all``, ``mine`` (configured, or had), or numbers as
            in ``0-3,7``, with ``/8`` behind it of a layout of 8; empty: ``checkpoint`` is no job,
            or it is one and ``mine`` are meant.
        units: Only units are wanted whose paths match one of these patterns, at most 64; none: all.
            A pattern that matches no unit ends the recovery.
        min_criticality: The word for it: the recovery ends when the units are placed that are at
            least so urgent, and another one in the background brings the rest. Not with ``units``.
        is_on_demand: Fetch what somebody needs or reads (``need``, ``prioritize``) and no more. It
            stays in staging until all of it is here, or it is cancelled; asked for again without
            this the rest is fetched.
        place: How it becomes visible: ``atomic``, at once when all is here, or ``progressive``,
            phase by phase; empty: as the configuration says.
        activate: Let the link of the checkpoint lead to it when it is placed, and complete; of one
            that is for some ``units``, when those are.
    """

    checkpoint: str
    version: int | None = None
    to: str | None = None
    patience_s: Annotated[float, msgspec.Meta(ge=0, le=PATIENCE_MAX_S)] | None = None
    is_background: bool = False
    digest: str = ""
    from_node: str | None = None
    overwrite: bool = False
    allow_partial: bool = False
    is_name_awaited: bool = False
    shards: str = ""
    units: tuple[str, ...] = ()
    min_criticality: str | None = None
    is_on_demand: bool = False
    place: str = ""
    activate: bool = False


class TuningRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler has measured and derived for a source of a recovery; not configured.

    Attributes:
        latency_s: Usual time to a first byte; ``None``: not known yet.
        gap_s: Usual time between two reports of progress.
        window_s: It gets no more work than it can do in this time …
        window_bytes: … which is this many bytes.
        range_bytes: Length of a range that is requested from it.
        silence_timeout_s: A lane that delivers nothing for this long within a body is closed …
        first_byte_timeout_s: … and one whose body does not begin within this time.
        hedge_after_s: After this silence a second source is asked for its critical range in flight;
            ``None``: it has none, or it was done.
        back_off_s: Nothing is requested from it for this long from now.
        load_bytes: What it reports that it has to send to others.
        lanes: Connections of this recovery to it.
        transfers: Ranges of this recovery in flight from it.
    """

    latency_s: float | None
    gap_s: float
    window_s: float
    window_bytes: int
    range_bytes: int
    silence_timeout_s: float
    first_byte_timeout_s: float
    hedge_after_s: float | None
    back_off_s: float
    load_bytes: int
    lanes: int
    transfers: int


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a recovery: a node on one of the paths to it.

    Attributes:
        node: Its node id.
        path: The node id for the first path to it, ``NODE via ADDRESS`` for each further one.
        state: What it does for the recovery.
        bytes: Verified bytes that it delivered.
        rate_bytes_per_s: How fast it delivers at the moment.
        in_flight_bytes: Requested from it and not received yet.
        tuning: What the scheduler has measured and derived for it; ``None`` once the recovery has
            ended.
        coding: Whether blocks are asked for in fewer bytes, and why; empty if none were asked for,
            or it is not known any more, as after a restart.
    """

    node: str
    path: str
    state: SourceState
    bytes: int
    rate_bytes_per_s: float
    in_flight_bytes: int
    tuning: TuningRow | None = None
    coding: str = ""


class RecoveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery at one moment.

    Attributes:
        recovery: Its id.
        checkpoint: What it recovers.
        version: Which version; ``None`` until one is chosen.
        digest: Digest of its manifest.
        target: Directory that the version will have.
        stage: How far it is.
        is_paused: An operator paused it.
        units_total: Units of the version that are wanted; 0 until the manifest is here, as the
            other totals, and if it ended before that was kept.
        units_done: Units with every block verified.
        bytes_total: Bytes of what is wanted of the version.
        bytes_verified: Verified and written here, in this run or an earlier one.
        bytes_left: What is missing.
        rate_bytes_per_s: Verified bytes per second at the moment.
        eta_s: Seconds until it is complete; ``None`` if not known.
        waiting_for: Why it makes no progress, as a sentence without a full stop; empty if it does.
        missing_blocks: Missing blocks that no reachable source has.
        missing_units: Paths of units with such blocks, at most 20.
        sources: The peers that it takes blocks from.
        started_at_s: Unix time; 0 if it ended before that was kept.
        elapsed_s: Since then; until its end if it ended.
        is_background: It uses a source only while no other recovery here could use it.
        bottleneck: What limits its speed: ``network``, ``source``, ``disk``, ``state disk`` (that
            of the state directory), ``cpu``, ``shaper`` or ``no source``; ``None`` if nothing does.
        lanes: Connections to sources.
        transfers: Ranges in flight.
        hedges: How often a second source was asked for a range.
        hedged_bytes: Length of those ranges.
        hedge_budget_bytes: The most that they may have together.
        wasted: Bytes received but not used, by reason; the reasons are those of the metric.
        is_joined: It was under way when ``recover`` asked for it, and nothing new began. Only in
            the answer to that.
        is_promoted: It was in the background until then, and is not any more; likewise.
        patience_s: How long it waits for what nobody has; ``None``: for ever, or it has ended.
        allow_partial: It may be placed without required units then.
        message: Why it failed, as a sentence; empty if it did not.
        bytes_local: As in the result: what need not travel, so far.
        bytes_reused: Likewise.
        place: How it becomes visible: ``atomic`` or ``progressive``; empty: it has ended.
        is_by_choice: Not all units are wanted.
        units: The patterns of those that are; none: not by pattern, or it has ended.
        min_criticality: Units that are at least so urgent are wanted; ``None``: none for that, or
            it has ended.
        rest_follows: When those are placed, another recovery brings the others.
        is_widened: More is wanted of it since ``recover`` asked for it. Only in the answer to that.
        followed_by: The recovery that brings the rest; ``None``: none does, or it has not ended.
        is_on_demand: What nobody needs or reads is not fetched.
        rest_is_wanted: It was on demand, and this request wants all of it. Only in the answer to
            ``recover``.
        is_activating: The link of the checkpoint will lead to it when it is placed.
        first_unit_after_s: From the request until the first unit was durable; ``None``: none is, or
            none has bytes. The times are those of this recovery, over restarts.
        critical_after_s: Until all critical units were durable; ``None``: they are not, or there
            are none.
        usable_after_s: Until the first phase stood under its final names, which is how long a job
            that needs no more had to wait; ``None``: it does not.
        complete_after_s: Until the version was complete; ``None``: it is not.
        phases: Its phases of which something is wanted, in order.
        asked_by: ``configuration`` if a table ``[[recover]]`` asked for it, as far as that is kept;
            ``copies`` if it brings a copy for others; empty: somebody did.
    """

    recovery: str
    checkpoint: str
    version: int | None
    digest: str | None
    target: str
    stage: Stage
    is_paused: bool
    units_total: int
    units_done: int
    bytes_total: int
    bytes_verified: int
    bytes_left: int
    rate_bytes_per_s: float
    eta_s: float | None
    waiting_for: str
    missing_blocks: int
    missing_units: tuple[str, ...]
    sources: tuple[SourceRow, ...]
    started_at_s: float
    elapsed_s: float
    is_background: bool = False
    bottleneck: str | None = msgspec.field(default=None, name="limiter")
    lanes: int = 0
    transfers: int = 0
    hedges: int = 0
    hedged_bytes: int = 0
    hedge_budget_bytes: int = 0
    wasted: dict[str, int] = {}
    is_joined: bool = False
    is_promoted: bool = False
    patience_s: float | None = None
    allow_partial: bool = False
    message: str = ""
    bytes_local: int = 0
    bytes_reused: int = 0
    place: str = ""
    is_by_choice: bool = False
    units: tuple[str, ...] = ()
    min_criticality: str | None = None
    rest_follows: bool = False
    is_widened: bool = False
    followed_by: str | None = None
    is_on_demand: bool = False
    rest_is_wanted: bool = False
    is_activating: bool = False
    first_unit_after_s: float | None = None
    critical_after_s: float | None = None
    usable_after_s: float | None = None
    complete_after_s: float | None = None
    phases: tuple[PhaseRow, ...] = ()
    asked_by: str = ""

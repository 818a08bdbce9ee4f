"""The metrics page: the rows of all owners, read from made-up owners."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ckptd.copies.decided import Decided
from ckptd.copies.fleet import FleetView, Room
from ckptd.core.peers.conflicts import Conflicts
from ckptd.core.peers.listing import ListedPeer
from ckptd.core.report.views import RecoverySnapshot, SourceSnapshot
from ckptd.daemon.audit.audits_seen import AUDIT_METRICS, AuditsSeen
from ckptd.daemon.copying.seen import COPY_METRICS, CopyingSeen
from ckptd.daemon.host.root_watch import ROOT_METRICS, RootState
from ckptd.daemon.keep.keeping import KEEP_METRICS, Keep
from ckptd.daemon.keep.reads import READ_METRICS, Reads
from ckptd.daemon.keep.saves_seen import SAVE_METRICS, SavesSeen
from ckptd.daemon.limit.limiting import LIMIT_METRICS, THROTTLE_METRICS
from ckptd.daemon.measure.capacity import CAPACITY_METRICS, PLACE_METRICS
from ckptd.daemon.measure.conflicts import CONFLICT_METRICS
from ckptd.daemon.measure.freshness import FRESHNESS_METRICS, NewestSeen
from ckptd.daemon.measure.loop_lag import LAG_METRICS, LagWindow
from ckptd.daemon.measure.page_rows import (
    BOTTLENECK_METRICS,
    CONNECTION_METRICS,
    CONTROL_METRICS,
    HELD_UP_METRICS,
    HOLDING_METRICS,
    LOG_METRICS,
    REFUSAL_METRICS,
    REPAIR_METRICS,
    SOURCE_METRICS,
)
from ckptd.daemon.measure.placing import PLACING_METRICS
from ckptd.daemon.measure.quarantines import QUARANTINE_METRICS
from ckptd.daemon.measure.recovery_totals import (
    RECOVERY_METRICS,
    WASTE_METRICS,
    RecoveriesSeen,
    Totals,
)
from ckptd.daemon.measure.redundancy import REDUNDANCY_METRICS, Copies
from ckptd.daemon.measure.transfer_times import RECEIVED_METRICS, TRANSFER_METRICS, TransferTimes
from ckptd.daemon.measure.under_replicated import UNDER_REPLICATED_METRICS
from ckptd.daemon.measure.workload_metrics import WORKLOAD_METRICS, WorkloadSeen
from ckptd.daemon.measure.works import WORK_METRICS, Works
from ckptd.daemon.recover.activations import ACTIVE_METRICS, Activations
from ckptd.daemon.recover.coded_asking import CODED_METRICS, CodedBytes
from ckptd.daemon.recover.keeping_warm import WARM_METRICS
from ckptd.daemon.recover.peering import DISCOVERY_METRICS, PEER_METRICS
from ckptd.daemon.retain.outcomes import RETENTION_METRICS, RetentionSeen
from ckptd.daemon.serve.block_questions import QUESTION_METRICS, BlockQuestions
from ckptd.daemon.serve.content import CONTENT_METRICS
from ckptd.daemon.serve.serving_peers import CODED_BLOCK_METRICS, UNSERVED_METRICS
from ckptd.daemon.settings.own_identity import (
    CERTIFICATE_METRICS,
    HANDSHAKE_METRICS,
    identity_metrics,
)
from ckptd.daemon.settings.reloading import RELOAD_METRICS, ReloadState
from ckptd.limits import MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version
from ckptd.model.rate_limits import LimitKey
from ckptd.model.words import (
    AuditResult,
    Bottleneck,
    Criticality,
    Direction,
    HandshakeFailure,
    HandshakeSide,
    KeptBecause,
    NotTaken,
    PeerState,
    PlaceState,
    RangeOutcome,
    ReadReason,
    RefusalReason,
    Result,
    SavedState,
    SourceState,
    Stage,
    UnservedReason,
    Urgency,
    WasteReason,
)
from ckptd.observe.durations import NO_RECOVERIES, NO_TRANSFERS, Durations
from ckptd.observe.metrics import (
    MetricGroup,
    MetricRow,
    build_info,
    create_registry,
    render,
)
from ckptd.wire.fields import CLASSES

RESULTS = tuple(result.value for result in Result)
MILESTONES = ("first_unit", "first_phase", "critical", "usable", "complete")
STAGES = tuple(stage.value for stage in Stage if not stage.is_ended)
CRITICALITIES = tuple(criticality.label for criticality in Criticality)
DIRECTIONS = tuple(direction.value for direction in Direction)
PEER_STATES = tuple(state.value for state in PeerState)
SOURCE_STATES = tuple(state.value for state in SourceState)
TRANSFER_OUTCOMES = tuple(outcome.value for outcome in RangeOutcome)
WASTE_REASONS = tuple(reason.value for reason in WasteReason)
UNIT_STATES = ("done", "missing")
SIDES = ("source", "receiver")
SOURCE_KINDS = ("peer",)
PLACE_STATES = tuple(state.value for state in PlaceState)
PUBLISH_RESULTS = ("complete", "failed", "cancelled")
BOTTLENECKS = tuple(bottleneck.value for bottleneck in Bottleneck)
CERTIFICATE_ROLES = ("node", "ca")
HANDSHAKE_SIDES = ("server", "client")
HANDSHAKE_FAILURES = (
    "no_certificate", "untrusted", "expired", "not_yet_valid", "purpose", "revoked", "wrong_node",
    "self", "plaintext", "protocol", "refused", "timeout", "disconnected",
)  # fmt: skip
REFUSALS = (
    "connections", "address", "node", "unproven", "idle", "head_late", "head", "request",
    "reader_slow", "answer",
)  # fmt: skip


AUDIT_RESULTS = ("right", "wrong", "not_held", "unusable", "busy", "no_answer")
CLAIM_STATES = ("proven", "unproven", "false")
GOES = ("old", "room")
COPIED = ("missing", "grows", "zones")
GIVEN_BACK = ("surplus", "old")
KEPT = (
    "newest", "every", "room", "active", "kind", "withdrawn", "unseen", "changed", "shared", "base",
    "read", "recovered_here", "recovered_elsewhere", "copies", "refused",
)  # fmt: skip
SAVED_STATES = ("taken", "due", "waits", "not taken")
NOT_TAKEN = (
    "no_directory", "twice", "old", "otherwise", "withdrawn", "rotten", "refused",
)  # fmt: skip
READ_REASONS = ("suspect", "scrub", "verify", "question")
UNSERVED = (
    "not_held", "changed", "withdrawn", "busy", "failed", "cut_changed", "cut_failed",
    "cut_stopped", "cut_by_receiver",
)  # fmt: skip


def numbered(first: int, words: Sequence[str]) -> dict[str, int]:
    """Give each word a number of its own."""
    return {word: first + index for index, word in enumerate(words)}


def holding(size_bytes: int) -> Holding:
    return Holding(
        CheckpointName("llama"), Version(1), Digest("ab" * 32), size_bytes, 1, BlockSet()
    )


def recovery(**facts: int | None) -> RecoverySnapshot:
    nothing: dict[str, Any] = dict.fromkeys(RecoverySnapshot.__slots__, 0)
    return RecoverySnapshot(**{**nothing, "wasted_bytes": {}, **facts})


def sources(counts: Mapping[str, int]) -> list[SourceSnapshot]:
    return [
        SourceSnapshot(NodeId("b"), Epoch(1), SourceState(state), 0, 0, 0, 0, NodeId("b"))
        for state, count in counts.items()
        for _ in range(count)
    ]


def peers(counts: Mapping[str, int]) -> list[ListedPeer]:
    return [
        ListedPeer("b:1", ("b", 1), state=PeerState(state))
        for state, count in counts.items()
        for _ in range(count)
    ]


def transfer_times() -> TransferTimes:
    times = TransferTimes(lambda _: False)
    times.received_bytes.update({"critical": 101, "normal": 102, "deferred": 103})
    times.outcomes.update(numbered(70, TRANSFER_OUTCOMES))
    times.ranges = NO_TRANSFERS.plus(0.25)
    times.first_bytes = {"critical": NO_TRANSFERS.plus(0.0015)}
    return times


def works() -> Works:
    works = Works(lambda: 1_600_000_000.0)
    works.publishes.update(numbered(120, PUBLISH_RESULTS))
    works.publish_durations = NO_RECOVERIES.plus(2.5)
    works.take_over({"publish": 1_600_000_000.0, "recovery": 1_700_000_000.0})
    return works


def retention_seen() -> RetentionSeen:
    kept = {KeptBecause(name): count for name, count in numbered(190, KEPT).items()}
    seen = RetentionSeen(True, 186, kept=kept)
    seen.removed.update(numbered(187, GOES))
    seen.short_bytes, seen.freeable_bytes = {"main": 184}, {"main": 185}
    return seen


def copying_seen() -> CopyingSeen:
    room = Room(quota_bytes=202, used_bytes=201)
    view = FleetView(NodeId("a"), lambda _: None, {}, {}, (), room)
    seen = CopyingSeen(True, view, Decided(is_full=True), under_way=203, made=204, failed=205)
    seen.conflicts = frozenset({(CheckpointName("llama"), Version(1))})
    seen.begun.update(numbered(206, COPIED))
    seen.given_back.update(numbered(216, GIVEN_BACK))
    seen.given_back_bytes = 200
    seen.compressed_bytes, seen.saved_bytes = 218, 219
    return seen


def reads() -> Reads:
    counted = Reads(cast("Any", None))
    counted.bytes_by_reason.update({reason: 166 + index for index, reason in enumerate(ReadReason)})
    counted.changed_units, counted.rotten_units = 171, 172
    return counted


def questions() -> BlockQuestions:
    asked = BlockQuestions(lambda: 0.0)
    asked.questioned_count, asked.rotten_count = 92, 91
    return asked


def lag_window() -> LagWindow:
    window = LagWindow()
    window.add(22 * MS, now=time.monotonic_ns() + 3600 * SECOND)  # no test lasts so long
    return window


TOTALS = Totals(durations=NO_RECOVERIES.plus(1).plus(1.5).plus(99_999))
TOTALS.critical_durations = NO_RECOVERIES.plus(0.5)
TOTALS.milestones = {"usable": NO_RECOVERIES.plus(0.25), "first_unit": NO_RECOVERIES.plus(0.125)}
TOTALS.results.update(numbered(4, RESULTS))
TOTALS.wasted_bytes.update(numbered(13, WASTE_REASONS))
TOTALS.resumed_bytes, TOTALS.bad_blocks, TOTALS.hedges = 12, 16, 17
TOTALS.local_bytes, TOTALS.reused_bytes = 18, 19

ACTIVE = (
    recovery(elapsed_ns=95 * SECOND // 10, eta_ns=3 * SECOND, total_bytes=9, verified_bytes=5),
    recovery(elapsed_ns=SECOND, eta_ns=105 * SECOND // 10, total_bytes=3, verified_bytes=0),
    recovery(units_total=101, units_done=50),
)

FULL: dict[str, Any] = {
    "holdings": (holding(2),),
    "versions": 5000,
    "places": numbered(150, PLACE_STATES),
    "copies": Copies(required=2, critical=3),
    "under_replicated": numbered(200, CRITICALITIES),
    "audits": AuditsSeen(
        {each: 203 + index for index, each in enumerate(AuditResult)},
        numbered(209, CLAIM_STATES),
        212.5,
    ),
    "retention": retention_seen(),
    "copying": copying_seen(),
    "saves": SavesSeen(
        {each: 230 + index for index, each in enumerate(SavedState)},
        {each: 235 + index for index, each in enumerate(NotTaken)},
        243,
        244,
        245.5,
        NO_RECOVERIES.plus(7.5),
    ),
    "conflicts": Conflicts(5),
    "placed": {CheckpointName("llama"): {NodeId("a"): Version(1), NodeId("b"): Version(2)}},
    "newest": NewestSeen({"freshest": 120.5, "stalest": 121.5}, {"freshest": 123, "stalest": 124}),
    "keep": Keep(
        watched_directories=161,
        unwatched_places=162,
        obstacle="",
        suspect_units=163,
        changed_units=164,
        oldest_check_age_s=165.5,
    ),
    "reads": reads(),
    "active": Activations(done=181, failed=182, active=183),
    "repaired": 173,
    "warm": 174,
    "roots": (
        RootState("main", "/data", "", 90, 91),
        RootState("slow", "/d", "it hangs", None, None),
    ),
    "recoveries": RecoveriesSeen(
        ACTIVE,
        TOTALS,
        numbered(60, STAGES),
        {(True, Criticality.NORMAL): 110, (False, Criticality.NORMAL): 111},
        9_500_000_000,
    ),
    "works": works(),
    "workload": WorkloadSeen(
        intervals_s={"shortest": 191.0, "longest": 192.0},
        hashing={"worst": 193.0, "together": 194.0},
        copying=195.0,
        saved_bytes_per_s=196.0,
        changed_bytes_per_s=197.0,
        absorbed_bytes_per_s=198.0,
    ),
    "bottlenecks": numbered(130, BOTTLENECKS),
    "held_up": 97,
    "transfers": transfer_times(),
    "coded": CodedBytes(plain=61, sent=62),
    "coded_blocks": numbered(63, ("made", "shared")),
    "sent_bytes": numbered(40, CLASSES),
    "questions": questions(),
    "connections": numbered(20, SIDES),
    "limits": {
        LimitKey(Direction.INGRESS): 95,
        LimitKey(Direction.EGRESS, Urgency.DEFERRED): 94,
        LimitKey(Direction.EGRESS, peer="node-b"): 93,
    },
    "throttled_s": {(Direction.EGRESS, Urgency.NORMAL): 1.5},
    "sources": sources(numbered(30, SOURCE_STATES)),
    "peers": peers(numbered(80, PEER_STATES)),
    "discovered_at_s": 1_700_000_000.0,
    "refusals": {name: 60 + index for index, name in enumerate(REFUSALS)},
    "unserved": numbered(140, UNSERVED),
    "quarantines": 96,
    "handshakes": {
        (side, reason): 50 + index
        for side in HANDSHAKE_SIDES
        for index, reason in enumerate(HANDSHAKE_FAILURES)
    },
    "certificates": numbered(7, CERTIFICATE_ROLES),
    "reloaded": ReloadState(is_successful=True, succeeded_at_s=1_700_000_000.0),
    "control_requests": {("/v1/status", 200): 92},
    "suppressed": 93,
    "lag": lag_window(),
}
"""What each owner says when a scrape looks at it."""

FRESH: dict[str, Any] = {
    "holdings": (),
    "versions": 0,
    "places": {},
    "copies": Copies(),
    "under_replicated": {},
    "audits": AuditsSeen({}, {}, None),
    "retention": RetentionSeen(),
    "copying": CopyingSeen(),
    "saves": SavesSeen(),
    "conflicts": Conflicts(),
    "placed": {},
    "newest": NewestSeen(),
    "keep": Keep(0, 0, "", 0, 0, None),
    "reads": Reads(cast("Any", None)),
    "active": Activations(),
    "repaired": 0,
    "warm": 0,
    "roots": (),
    "recoveries": RecoveriesSeen(),
    "works": Works(lambda: 0.0),
    "workload": WorkloadSeen(),
    "bottlenecks": {},
    "held_up": 0,
    "transfers": TransferTimes(lambda _: False),
    "coded": CodedBytes(),
    "coded_blocks": {},
    "sent_bytes": {},
    "questions": BlockQuestions(lambda: 0.0),
    "connections": {},
    "limits": {},
    "throttled_s": {},
    "sources": (),
    "peers": (),
    "refusals": {},
    "unserved": {},
    "quarantines": 0,
    "handshakes": {},
    "reloaded": ReloadState(is_successful=False, succeeded_at_s=0),
    "control_requests": {},
    "suppressed": 0,
    "lag": LagWindow(),
}
"""Before anything happened, without peers and certificates."""

ROWS: tuple[tuple[str, Sequence[MetricRow[Any]]], ...] = (
    ("holdings", HOLDING_METRICS),
    ("versions", CAPACITY_METRICS),
    ("places", PLACE_METRICS),
    ("copies", REDUNDANCY_METRICS),
    ("under_replicated", UNDER_REPLICATED_METRICS),
    ("audits", AUDIT_METRICS),
    ("retention", RETENTION_METRICS),
    ("copying", COPY_METRICS),
    ("newest", FRESHNESS_METRICS),
    ("conflicts", CONFLICT_METRICS),
    ("placed", PLACING_METRICS),
    ("keep", KEEP_METRICS),
    ("saves", SAVE_METRICS),
    ("reads", READ_METRICS),
    ("active", ACTIVE_METRICS),
    ("repaired", REPAIR_METRICS),
    ("warm", WARM_METRICS),
    ("roots", ROOT_METRICS),
    ("works", WORK_METRICS),
    ("workload", WORKLOAD_METRICS),
    ("recoveries", RECOVERY_METRICS),
    ("bottlenecks", BOTTLENECK_METRICS),
    ("held_up", HELD_UP_METRICS),
    ("transfers", RECEIVED_METRICS),
    ("coded", CODED_METRICS),
    ("coded_blocks", CODED_BLOCK_METRICS),
    ("sent_bytes", CONTENT_METRICS),
    ("questions", QUESTION_METRICS),
    ("recoveries", WASTE_METRICS),
    ("transfers", TRANSFER_METRICS),
    ("connections", CONNECTION_METRICS),
    ("limits", LIMIT_METRICS),
    ("throttled_s", THROTTLE_METRICS),
    ("sources", SOURCE_METRICS),
    ("quarantines", QUARANTINE_METRICS),
    ("peers", PEER_METRICS),
    ("discovered_at_s", DISCOVERY_METRICS),
    ("refusals", REFUSAL_METRICS),
    ("unserved", UNSERVED_METRICS),
    ("handshakes", HANDSHAKE_METRICS),
    ("certificates", CERTIFICATE_METRICS),
    ("reloaded", RELOAD_METRICS),
    ("control_requests", CONTROL_METRICS),
    ("suppressed", LOG_METRICS),
    ("lag", LAG_METRICS),
)
"""Which rows read from which of them, in the order of the page."""


def groups_of(seen: Mapping[str, Any]) -> Iterable[MetricGroup[Any]]:
    yield build_info("uvloop")
    for owner, rows in ROWS:
        if owner in seen:
            yield MetricGroup(partial(seen.__getitem__, owner), rows)


def page(seen: Mapping[str, Any]) -> str:
    return render(create_registry(list(groups_of(seen)))).decode()


def families(seen: Mapping[str, Any]) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page(seen))}


def own_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("ckptd_")]
    return [line for line in lines if not line.startswith("ckptd_build_info")]


def labelled(name: str, label: str, values: dict[str, int]) -> list[str]:
    return [f'ckptd_{name}{{{label}="{word}"}} {value}.0' for word, value in values.items()]


def timed(name: str, durations: Durations, label: str = "") -> list[str]:
    bounds = [*map(float, durations.bounds_s), "+Inf"]
    counts = itertools.accumulate(durations.counts)
    labels = [",".join(sorted(filter(None, (label, f'le="{bound}"')))) for bound in bounds]
    alone = f"{{{label}}}" if label else ""
    return [
        *(
            f"ckptd_{name}_bucket{{{each}}} {count}.0"
            for each, count in zip(labels, counts, strict=True)
        ),
        f"ckptd_{name}_count{alone} {sum(durations.counts)}.0",
        f"ckptd_{name}_sum{alone} {durations.sum_s}",
    ]


def test_every_number_of_every_owner_is_on_the_page() -> None:
    assert own_lines(page(FULL)) == [
        "ckptd_holdings 1.0",
        "ckptd_held_bytes 2.0",
        "ckptd_catalog_versions 5000.0",
        "ckptd_catalog_full_ratio 0.5",
        *labelled("places", "state", numbered(150, PLACE_STATES)),
        "ckptd_required_unit_copies_min 2.0",
        "ckptd_critical_unit_sources_min 3.0",
        *sorted(labelled("units_under_replicated", "criticality", numbered(200, CRITICALITIES))),
        *labelled("audits_total", "result", numbered(203, AUDIT_RESULTS)),
        *labelled("audited_claims", "state", numbered(209, CLAIM_STATES)),
        "ckptd_oldest_proof_age_seconds 212.5",
        "ckptd_retention_freed_bytes_total 186.0",
        *labelled("retention_removed_versions_total", "why", numbered(187, GOES)),
        *labelled("retention_kept_versions", "why", numbered(190, KEPT)),
        'ckptd_retention_short_bytes{root="main"} 184.0',
        'ckptd_retention_freeable_bytes{root="main"} 185.0',
        *labelled("copies_begun_total", "why", numbered(206, COPIED)),
        "ckptd_copies_made_total 204.0",
        "ckptd_copies_failed_total 205.0",
        *labelled("copies_given_back_total", "why", numbered(216, GIVEN_BACK)),
        "ckptd_copies_given_back_bytes_total 200.0",
        "ckptd_copies_compressed_bytes_total 218.0",
        "ckptd_copies_saved_bytes 219.0",
        "ckptd_copies_under_way 203.0",
        "ckptd_copies_held_bytes 201.0",
        "ckptd_copies_quota_bytes 202.0",
        "ckptd_copies_full 1.0",
        "ckptd_copies_conflicts 1.0",
        'ckptd_newest_version{which="freshest"} 123.0',
        'ckptd_newest_version{which="stalest"} 124.0',
        'ckptd_newest_version_age_seconds{which="freshest"} 120.5',
        'ckptd_newest_version_age_seconds{which="stalest"} 121.5',
        'ckptd_newest_manifest_age_seconds{which="freshest"} 120.5',
        'ckptd_newest_manifest_age_seconds{which="stalest"} 121.5',
        "ckptd_version_conflicts 5.0",
        "ckptd_jobs_placed_apart 1.0",
        "ckptd_watched_directories 161.0",
        "ckptd_unwatched_places 162.0",
        "ckptd_suspect_units 163.0",
        "ckptd_unserved_units 164.0",
        "ckptd_oldest_check_age_seconds 165.5",
        *labelled("watch_saves", "state", numbered(230, SAVED_STATES)),
        *labelled("watch_not_taken_saves", "why", numbered(235, NOT_TAKEN)),
        "ckptd_watch_taken_saves_total 243.0",
        "ckptd_watch_blind_directories 244.0",
        "ckptd_watch_behind_seconds 245.5",
        *timed("watch_offer_seconds", NO_RECOVERIES.plus(7.5)),
        *labelled("reread_bytes_total", "reason", numbered(166, READ_REASONS)),
        "ckptd_changed_units_total 171.0",
        "ckptd_rotten_units_total 172.0",
        "ckptd_active_versions 183.0",
        "ckptd_activations_total 181.0",
        "ckptd_failed_activations_total 182.0",
        "ckptd_repaired_units_total 173.0",
        "ckptd_kept_warm_bytes 174.0",
        'ckptd_disk_size_bytes{root="main"} 90.0',
        'ckptd_disk_free_bytes{root="main"} 91.0',
        'ckptd_root_usable{root="main"} 1.0',
        'ckptd_root_usable{root="slow"} 0.0',
        *labelled("publishes_total", "result", numbered(120, PUBLISH_RESULTS)),
        *timed("publish_duration_seconds", NO_RECOVERIES.plus(2.5)),
        'ckptd_last_success_timestamp_seconds{work="publish"} 1.6e+09',
        'ckptd_last_success_timestamp_seconds{work="recovery"} 1.7e+09',
        'ckptd_workload_save_interval_seconds{which="longest"} 192.0',
        'ckptd_workload_save_interval_seconds{which="shortest"} 191.0',
        "ckptd_workload_saved_bytes_per_second 196.0",
        "ckptd_workload_changed_bytes_per_second 197.0",
        'ckptd_workload_hashing_ratio{which="together"} 194.0',
        'ckptd_workload_hashing_ratio{which="worst"} 193.0',
        "ckptd_workload_copying_ratio 195.0",
        "ckptd_workload_absorbed_bytes_per_second 198.0",
        "ckptd_recovery_active 3.0",
        "ckptd_recovery_elapsed_seconds 9.5",
        "ckptd_recovery_eta_seconds 10.5",
        "ckptd_recovery_remaining_bytes 7.0",
        *labelled("recovery_units", "state", numbered(50, UNIT_STATES)),
        *(
            f'ckptd_recovery_bytes{{criticality="{label}",state="{state}"}} {value}.0'
            for state, sizes in (("done", (0, 110, 0)), ("missing", (0, 111, 0)))
            for label, value in zip(CRITICALITIES, sizes, strict=True)
        ),
        *labelled("recoveries_total", "result", numbered(4, RESULTS)),
        *timed("recovery_duration_seconds", TOTALS.durations),
        *timed("recovery_critical_ready_seconds", TOTALS.critical_durations),
        *(
            line
            for name in MILESTONES
            for line in timed(
                "recovery_milestone_seconds",
                TOTALS.milestones.get(name, NO_RECOVERIES),
                f'milestone="{name}"',
            )
        ),
        *labelled("recovery_stage_seconds_total", "stage", numbered(60, STAGES)),
        "ckptd_resumed_bytes_total 12.0",
        "ckptd_local_bytes_total 18.0",
        "ckptd_reused_bytes_total 19.0",
        *labelled("recovery_bottlenecks", "bottleneck", numbered(130, BOTTLENECKS)),
        "ckptd_recoveries_held_up 97.0",
        *(
            f'ckptd_received_bytes_total{{criticality="{label}",source_kind="peer"}} {value}.0'
            for label, value in zip(CRITICALITIES, (101, 102, 103), strict=True)
        ),
        "ckptd_coded_plain_bytes_total 61.0",
        "ckptd_coded_sent_bytes_total 62.0",
        *labelled("coded_blocks_total", "form", numbered(63, ("made", "shared"))),
        *labelled("sent_bytes_total", "criticality", numbered(40, CLASSES)),
        "ckptd_questioned_blocks_total 92.0",
        "ckptd_rotten_blocks_total 91.0",
        *labelled("wasted_bytes_total", "reason", numbered(13, WASTE_REASONS)),
        *labelled("verify_failures_total", "source_kind", numbered(16, SOURCE_KINDS)),
        "ckptd_hedges_total 17.0",
        *labelled("transfers_total", "outcome", numbered(70, TRANSFER_OUTCOMES)),
        *timed("range_duration_seconds", NO_TRANSFERS.plus(0.25)),
        *timed("first_byte_seconds", NO_TRANSFERS.plus(0.0015), 'class="critical"'),
        *(
            line
            for name in CLASSES[1:]
            for line in timed("first_byte_seconds", NO_TRANSFERS, f'class="{name}"')
        ),
        *labelled("connections", "side", numbered(20, SIDES)),
        'ckptd_limit_bytes_per_second{class="deferred",direction="egress"} 94.0',
        'ckptd_limit_bytes_per_second{class="total",direction="ingress"} 95.0',
        *(
            f'ckptd_throttled_seconds_total{{class="{name}",direction="{direction}"}} '
            f"{1.5 if (direction, name) == ('egress', 'normal') else 0.0}"
            for direction in DIRECTIONS
            for name in CLASSES
        ),
        *labelled("sources", "state", numbered(30, SOURCE_STATES)),
        "ckptd_quarantines_total 96.0",
        *labelled("peers", "state", numbered(80, PEER_STATES)),
        'ckptd_discovery_last_success_timestamp_seconds{provider="static"} 1.7e+09',
        *(
            f'ckptd_refusals_total{{reason="{name}"}} {60 + index}.0'
            for index, name in enumerate(REFUSALS)
        ),
        *labelled("unserved_requests_total", "reason", numbered(140, UNSERVED)),
        *(
            f'ckptd_handshake_failures_total{{reason="{reason}",side="{side}"}} {50 + index}.0'
            for side in HANDSHAKE_SIDES
            for index, reason in enumerate(HANDSHAKE_FAILURES)
        ),
        *(
            line
            for name in ("not_after_timestamp_seconds", "not_after_seconds")
            for line in labelled(f"tls_certificate_{name}", "role", numbered(7, CERTIFICATE_ROLES))
        ),
        "ckptd_config_last_reload_successful 1.0",
        "ckptd_config_last_reload_success_timestamp_seconds 1.7e+09",
        'ckptd_control_requests_total{code="200",route="/v1/status"} 92.0',
        "ckptd_log_lines_suppressed_total 93.0",
        "ckptd_event_loop_lag_seconds 0.022",
        *timed("event_loop_lateness_seconds", NO_TRANSFERS.plus(0.022)),
    ]


NOT_FROM_THE_START = (
    "root_usable",
    "retention_short",
    "copies_quota",
    "copies_full",
    "retention_freeable",
    "newest_",
    "oldest_check",
    "oldest_proof",
    "units_under_replicated",
    "last_success_",
    "required_unit_copies",
    "limit_bytes_per_second",
    "disk_",
    "discovery_",
    "control_requests",
    "critical_unit_sources",
    "tls_",
    "workload_",
)
"""Their labels come from the configuration, or nothing can be said yet."""


def test_every_other_series_is_there_before_anything_happened() -> None:
    names = [line.rpartition(" ")[0] for line in own_lines(page(FULL))]
    fresh = own_lines(page(FRESH))
    assert fresh == [
        f"{name} 0.0"
        for name in names
        if not name.removeprefix("ckptd_").startswith(NOT_FROM_THE_START)
    ]


def test_what_cannot_be_said_has_no_sample() -> None:
    unknown = RecoveriesSeen((recovery(eta_ns=SECOND), recovery(eta_ns=None)))
    lines = own_lines(page({**FRESH, "recoveries": unknown}))
    assert not [line for line in lines if "eta" in line or "_unit_" in line]


def test_the_reasons_are_those_that_there_can_be() -> None:
    assert tuple(HandshakeFailure) == HANDSHAKE_FAILURES
    assert tuple(HandshakeSide) == HANDSHAKE_SIDES
    assert tuple(RefusalReason) == REFUSALS
    assert tuple(UnservedReason) == UNSERVED


def test_certificates_have_no_series_where_there_are_none() -> None:
    text = render(create_registry(identity_metrics(None))).decode()
    assert "ckptd_handshake_failures_total" in text
    assert "ckptd_tls_certificate_not_after_seconds" not in text


def test_names_keep_the_rules_of_prometheus() -> None:
    """The rules of ``promtool check metrics``, and no ``_created`` series."""
    for name, family in families(FULL).items():
        assert family.documentation.endswith(".") or not name.startswith("ckptd_")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert not sample.name.endswith("_created")
        if name.startswith("ckptd_"):
            assert not {"milliseconds", "kilobytes", "percent"} & set(name.split("_"))


def test_the_number_of_series_does_not_depend_on_the_cluster() -> None:
    bounded = {
        "result": (*RESULTS, *AUDIT_RESULTS),
        "criticality": CLASSES,
        "reason": (*WASTE_REASONS, *HANDSHAKE_FAILURES, *REFUSALS, *UNSERVED, *READ_REASONS),
        "source_kind": SOURCE_KINDS,
        "state": (
            *SOURCE_STATES,
            *PEER_STATES,
            *UNIT_STATES,
            *PLACE_STATES,
            *CLAIM_STATES,
            *SAVED_STATES,
        ),
        "direction": DIRECTIONS,
        "class": ("total", *CLASSES),
        "side": (*SIDES, *HANDSHAKE_SIDES),
        "role": CERTIFICATE_ROLES,
        "stage": STAGES,
        "bottleneck": BOTTLENECKS,
        "form": ["made", "shared"],
        "work": ["publish", "recovery"],
        "outcome": TRANSFER_OUTCOMES,
        "root": ["main", "slow"],
        "why": (*GOES, *KEPT, *COPIED, *GIVEN_BACK, *NOT_TAKEN),
        "which": ["freshest", "stalest", "shortest", "longest", "worst", "together"],
        "provider": ["static"],
        "route": ["/v1/status"],
        "code": ["200"],
    }
    for name, family in families(FULL).items():
        if name.startswith("ckptd_") and name != "ckptd_build_info" and family.type != "histogram":
            for sample in family.samples:
                for label, value in sample.labels.items():
                    assert value in bounded[label]


OLD_NAMES = frozenset({
    "build_info", "holdings", "held_bytes", "critical_unit_sources_min",
    "newest_manifest_age_seconds", "disk_size_bytes", "disk_free_bytes", "root_usable",
    "recovery_active", "recovery_elapsed_seconds", "recovery_eta_seconds",
    "recovery_remaining_bytes", "recovery_units", "recovery_bytes", "recoveries",
    "recovery_duration_seconds", "recovery_critical_ready_seconds", "recovery_stage_seconds",
    "resumed_bytes", "received_bytes", "sent_bytes", "wasted_bytes", "verify_failures",
    "limit_bytes_per_second", "throttled_seconds", "hedges", "transfers",
    "range_duration_seconds", "first_byte_seconds", "connections", "sources", "peers",
    "discovery_last_success_timestamp_seconds", "refusals", "handshake_failures",
    "tls_certificate_not_after_seconds", "config_last_reload_successful",
    "config_last_reload_success_timestamp_seconds", "control_requests", "log_lines_suppressed",
    "event_loop_lag_seconds", "event_loop_lateness_seconds",
})  # fmt: skip
"""What the release before this one showed. A dashboard that loses a series shows nothing, and an
alert on it ends (dragonfly issue 3800): an old name stays for a release beside a new one."""


def test_no_name_of_the_last_release_is_gone() -> None:
    assert {f"ckptd_{name}" for name in OLD_NAMES} <= families(FULL).keys()

"""What of a recovery's life gets into its story."""

from __future__ import annotations

import pytest

from ckptd.core.effects import EndRecovery
from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    HoldingConfirmed,
    ManifestMissed,
    PeerLost,
    RangeProgressed,
    RecoveryPaused,
    RecoveryResumed,
    VersionPlaced,
)
from ckptd.core.report.story import Entry, sentence
from ckptd.core.report.verdicts import Explanation
from ckptd.limits import MIB, MS
from ckptd.model.blocks import BlockRun
from ckptd.model.words import Confirmation, RangeOutcome, StoryKind, StoryReason, WasteReason
from tests.support.scheduling import (
    FULL_DISK,
    NO_COMMITS,
    A,
    B,
    R,
    Script,
    adjusted,
    holds,
    ranges,
    resumed,
    saved,
    wanted,
)

WIDE = adjusted(NO_COMMITS, ranges={"bytes_min": 4 * MIB}, hedging={"share": 0.5})
"""Ranges of four blocks, and half of the version may be asked for twice."""


def explanation(script: Script) -> Explanation:
    known = script.scheduler.explain(R, now=script.now)
    assert known is not None
    return known


def told(script: Script, kind: StoryKind) -> list[Entry]:
    return [entry for entry in explanation(script).entries if entry.kind is kind]


def the(script: Script, kind: StoryKind) -> Entry:
    [entry] = told(script, kind)
    return entry


def test_of_a_recovery_where_all_is_well_only_the_beginning_and_the_end_are_told() -> None:
    script, version = Script(options=NO_COMMITS), saved(64, critical=[4])
    script.start(version, A, B)
    while script.in_flight:
        script.deliver(script.in_flight[0], after_ms=10)
    script.tell(BlocksCommitted(R))  # what is critical
    script.tell(BlocksCommitted(R))
    assert set(explanation(script).counts) == {
        StoryKind.VERSION_CHOSEN,
        StoryKind.CRITICAL_COMPLETE,
    }
    [end] = script.tell(VersionPlaced(R))
    assert isinstance(end, EndRecovery)
    assert end.explanation is not None
    assert end.explanation.counts[StoryKind.CRITICAL_COMPLETE] == 1


def test_the_version_is_told_with_the_reason_and_what_was_passed_over() -> None:
    script, version, older = Script(), saved(2), saved(2, version=90)
    script.tell(holds(A, version, older), wanted(version), DiscoverySettled())
    chosen = the(script, StoryKind.VERSION_CHOSEN)
    assert (chosen.reason, chosen.numbers) == (StoryReason.NEWEST, {"version": 100})
    choice = explanation(script).choice
    assert choice is not None
    assert [(other.version, other.why) for other in choice.passed_over] == [(90, "older")]


def test_a_version_that_an_earlier_life_chose_is_told_as_such() -> None:
    script = Script()
    script.tell(resumed(saved(2)))
    assert the(script, StoryKind.VERSION_CHOSEN).reason is StoryReason.RESUMED
    assert explanation(script).choice is None


def late_critical() -> Script:
    """Let A deliver one block of a critical range and fall silent; B has delivered its own."""
    script, version = Script(options=WIDE), saved(critical=[8])
    orders = {order.source: order for order in ranges(script.start(version, A, B))}
    script.arrive(orders[A], orders[A].blocks.start + 1, after_ms=10)
    while others := [order for order in script.in_flight if order.source == B]:
        script.deliver(others[0], after_ms=1)
    return script


def test_a_hedge_is_told_with_the_silence_that_led_to_it_and_who_won() -> None:
    script = late_critical()
    [hedge] = ranges(script.wait(250))
    entry = the(script, StoryKind.HEDGE)
    assert (entry.source, entry.other, entry.reason) == (A, B, StoryReason.SILENT)
    assert entry.blocks == hedge.blocks
    assert entry.numbers["silent_ns"] >= entry.numbers["allowed_ns"] >= 200 * MS
    script.deliver(hedge, after_ms=1)
    settled = the(script, StoryKind.HEDGE_SETTLED)
    assert (settled.source, settled.other) == (A, B)


def test_what_the_loser_of_a_race_had_begun_is_wasted_by_the_hedge() -> None:
    script = late_critical()
    [late] = [order for order in script.in_flight if order.source == A]
    [hedge] = ranges(script.wait(250))
    script.tell(RangeProgressed(late.transfer, MIB + 700, late.blocks.start + 1))
    script.deliver(hedge)
    script.end(late, RangeOutcome.CLOSED)
    assert script.view().wasted_bytes == {WasteReason.HEDGE: 700}


def test_a_lane_that_is_cut_off_is_told_with_its_silence_and_the_pause() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.tell(RangeProgressed(order.transfer, MIB + 5, order.blocks.start + 1))
    script.wait(600)
    entry = the(script, StoryKind.LANE_LATE)
    assert (entry.source, entry.reason, entry.blocks) == (A, StoryReason.SILENT, order.blocks)
    assert entry.numbers["silent_ns"] >= entry.numbers["allowed_ns"] == 500 * MS
    assert 125 * MS <= entry.numbers["pause_ns"] <= 250 * MS
    script.end(order, RangeOutcome.CLOSED)
    assert script.view().wasted_bytes == {WasteReason.SILENT: 5}


def test_work_that_is_taken_over_is_told_with_both_times() -> None:
    script, version = Script(options=adjusted(NO_COMMITS, ranges={"bytes_min": 4 * MIB})), saved(8)
    orders = {order.source: order for order in ranges(script.start(version, A, B))}
    slow = orders[A]
    for node, rate in ((A, MIB), (B, 10 * MIB)):
        script.scheduler.inspect().peers[node].link.rate.bytes_per_s = rate
    script.arrive(slow, slow.blocks.start + 1, after_ms=1)
    script.tell(RangeProgressed(slow.transfer, MIB + 9, slow.blocks.start + 1))
    while others := [order for order in script.in_flight if order.source == B]:
        script.deliver(others[0], after_ms=1)
    entry = the(script, StoryKind.STEAL)
    assert (entry.source, entry.other) == (A, B)
    assert entry.blocks == BlockRun(slow.blocks.start + 1, slow.blocks.end)
    assert entry.numbers["needs_ns"] >= 4 * entry.numbers["other_needs_ns"] > 0
    script.end(slow, RangeOutcome.CLOSED)
    assert script.view().wasted_bytes == {WasteReason.STOLEN: 9}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (RangeOutcome.BUSY, StoryReason.BUSY),
        (RangeOutcome.DISCONNECTED, StoryReason.DISCONNECTED),
        (RangeOutcome.UNREACHABLE, StoryReason.UNREACHABLE),
        (RangeOutcome.MISBEHAVED, StoryReason.MISBEHAVED),
    ],
)
def test_a_back_off_is_told_with_its_reason_and_its_length(
    outcome: RangeOutcome, reason: StoryReason
) -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.end(order, outcome)
    entry = the(script, StoryKind.BACK_OFF)
    rest_ns = script.scheduler.inspect().peers[A].link.usable_at_ns - script.now
    assert (entry.source, entry.reason) == (A, reason)
    assert entry.numbers == {"pause_ns": rest_ns, "failures": 1}


def test_bad_blocks_and_the_quarantine_that_follows_are_told() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.end(order)
    assert the(script, StoryKind.BAD_BLOCKS).numbers == {"blocks": 4, "size_bytes": 4 * MIB}
    assert told(script, StoryKind.QUARANTINE) == []
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    entry = the(script, StoryKind.QUARANTINE)
    assert (entry.source, entry.reason) == (A, StoryReason.WRONG_DIGEST)
    assert entry.numbers["pause_ns"] == script.options.trust.quarantine_ns
    assert told(script, StoryKind.BACK_OFF) == []


def test_a_source_that_gives_its_version_up_is_told_whichever_way_it_shows() -> None:
    for answer in (True, False):
        script, version = Script(), saved(64)
        [order] = ranges(script.start(version, A))
        if answer:
            script.arrive(order, rejected=(0,))
            script.tell(HoldingConfirmed(A, version.digest, Confirmation.NOT_HELD))
        else:
            script.end(order, RangeOutcome.NOT_HELD)
        assert the(script, StoryKind.WITHDRAWN).source == A


def test_a_source_that_does_not_say_whether_it_stands_by_a_block_is_left_alone() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.NO_ANSWER))
    assert the(script, StoryKind.BACK_OFF).reason is StoryReason.NO_ANSWER


def test_a_source_that_is_born_again_or_lost_is_told_once() -> None:
    script, version = Script(), saved(64)
    script.start(version, A, B)
    script.tell(holds(A, version, epoch=2), PeerLost(B), PeerLost(B))
    assert the(script, StoryKind.EPOCH_CHANGED).source == A
    assert the(script, StoryKind.SOURCE_LOST).source == B


def test_a_peer_that_has_nothing_to_do_with_a_recovery_is_not_in_its_story() -> None:
    script, version = Script(), saved(64)
    script.start(version, A, holds(B))
    script.tell(PeerLost(B))
    assert told(script, StoryKind.SOURCE_LOST) == []


def test_a_manifest_that_was_not_delivered_is_told() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    script.tell(ManifestMissed(R, A, is_lie=True))
    assert the(script, StoryKind.BACK_OFF).reason is StoryReason.WRONG_MANIFEST


def test_a_disk_that_stumbles_is_told_with_its_words() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.end(order, RangeOutcome.STORE_FAILED, refusal=FULL_DISK)
    entry = the(script, StoryKind.DISK_REFUSED)
    assert (entry.reason, entry.source) == (StoryReason.RETRYABLE, None)
    assert sentence(entry) == "this node's disk: root /data: no room; tried again in 5.0s"
    assert the(script, StoryKind.STANDSTILL).reason is StoryReason.DISK


def test_a_standstill_is_told_when_it_begins_and_when_it_ends() -> None:
    script, version = Script(), saved(64)
    script.start(version, A)
    before = len(told(script, StoryKind.STANDSTILL))
    script.tell(RecoveryPaused(R))
    assert len(told(script, StoryKind.STANDSTILL)) == before, "something is still under way"
    script.end_all(RangeOutcome.CLOSED)
    script.wait(3000)
    begun = told(script, StoryKind.STANDSTILL)[-1]
    assert (begun.reason, begun.text) == (StoryReason.PAUSED, "an operator to resume it")
    script.tell(RecoveryResumed(R))
    ended = told(script, StoryKind.STANDSTILL_ENDED)[-1]
    assert ended.numbers == {"stood_ns": ended.at_ns - begun.at_ns}
    script.wake()
    assert told(script, StoryKind.STANDSTILL_ENDED)[-1] is ended, "it goes on once"


def test_a_source_that_is_passed_over_is_told_with_both_times() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    for node in (A, B):
        script.tell(holds(node, version))
    for node, rate in ((A, MIB // 10), (B, 100 * MIB)):
        script.scheduler.inspect().peers[node].link.rate.bytes_per_s = rate
    script.start(version)
    entry = the(script, StoryKind.DETOUR)
    assert entry.source == A
    assert entry.numbers["needs_ns"] > 2 * entry.numbers["rest_ns"] > 0

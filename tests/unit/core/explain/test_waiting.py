"""Every way of standing still has a sentence; more of them are in test_snapshot.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.events import BlocksCommitted, HoldingConfirmed, RangeProgressed
from ckptd.core.explain.waiting import STANDSTILL_SILENCE_NS, why_still
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Ending, Recovery
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Epoch, LaneId, NodeId, TransferId
from ckptd.model.words import (
    Confirmation,
    LocalOrder,
    RangeOutcome,
    Result,
    Stage,
    StoryReason,
)
from tests.support.scheduling import (
    FULL_DISK,
    LLAMA,
    NO_COMMITS,
    A,
    B,
    R,
    Script,
    blocks,
    holding,
    ranges,
    saved,
    wanted,
)


def waiting_for(script: Script) -> str:
    return script.view().waiting_for


def test_a_source_that_is_asked_and_says_nothing_is_named_within_two_seconds() -> None:
    script = Script(options=NO_COMMITS)
    script.start(saved(64), A)
    script.scheduler.inspect().peers[A].link.failures = 3  # patience with it has grown to 8 s
    script.now_ms += 900
    script.wake()
    assert waiting_for(script) == ""
    script.now_ms += 900
    script.wake()
    assert waiting_for(script) == "a to deliver, silent for 1.8s"


def test_a_source_that_delivers_keeps_a_silent_one_from_being_told() -> None:
    script = Script(options=NO_COMMITS)
    orders = {order.source: order for order in ranges(script.start(saved(64), A, B))}
    script.scheduler.inspect().peers[A].link.failures = 3
    script.arrive(orders[B], orders[B].blocks.start + 1, after_ms=1500)
    assert waiting_for(script) == ""


def test_a_commit_that_holds_every_lane_up_is_told_as_the_disk() -> None:
    script = Script()
    [order] = ranges(script.start(saved(64), A))
    script.tell(RangeProgressed(order.transfer, 2 * MIB, order.blocks.start + 2), after_ms=10)
    script.wait(1800)
    assert script.recovery().commit.committing, "a commit is under way"
    script.wait(2000)
    said = waiting_for(script)
    assert said.startswith("the disk, which has been making blocks durable for "), said


def test_when_all_holders_are_in_quarantine_the_first_to_end_is_named() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.end(order)
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    script.wait(1500)
    assert waiting_for(script) == "the quarantine of a to end in 58.5s"


def test_the_pause_of_the_disk_goes_on_though_a_commit_worked_meanwhile() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, order.blocks.start + 1)
    script.end_all(RangeOutcome.STORE_FAILED, refusal=FULL_DISK)
    script.wait(1000)
    script.tell(BlocksCommitted(R))
    assert waiting_for(script) == "the disk; tried again in 4.0s"


# By records

VERSION = saved(8)


def recovering(stage: Stage, *, is_named: bool = False) -> tuple[State, Recovery]:
    recovery = Recovery(
        wanted(VERSION, is_named=is_named), 1, 0, stage=stage, digest=VERSION.digest
    )
    recovery.coverage.unclaimed = blocks((0, 8))
    return State(recoveries={R: recovery}, is_settled=True), recovery


def why(
    state: State, recovery: Recovery, *, now: int = 0, missing: BlockSet | None = None
) -> tuple[StoryReason, str] | None:
    return why_still(state, recovery, missing or BlockSet(), now=now)


def holder(state: State, name: str) -> Peer:
    node = NodeId(name)
    peer = state.peers[node] = Peer(node, Epoch(1), holdings={VERSION.digest: holding(VERSION)})
    return peer


def silent_lane(recovery: Recovery, name: str, *, heard_ns: int = 0) -> Lane:
    number = len(recovery.work.lanes) + 1
    lane = Lane(LaneId(number), NodeId(name), R, Peer(A, Epoch(1)).link, heard_ns=heard_ns)
    lane.transfers.append(Transfer(TransferId(number), BlockRun(0, 1), MIB, 0))
    recovery.work.lanes[lane.id] = lane
    recovery.work.transfer_count += 1
    return lane


def test_a_manifest_is_waited_for_while_nobody_is_asked_for_it() -> None:
    state, recovery = recovering(Stage.DESCRIBING)
    assert why(state, recovery) == (StoryReason.NO_SOURCE, "a peer that has the manifest")
    recovery.local.pending_order = LocalOrder.MANIFEST
    assert why(state, recovery) is None


def test_who_was_asked_for_a_manifest_is_named_after_a_second() -> None:
    state, recovery = recovering(Stage.DESCRIBING)
    recovery.local.pending_order = LocalOrder.MANIFEST
    recovery.search.asked = {A: VERSION.digest, B: VERSION.digest, None: VERSION.digest}
    recovery.search.dropped = {B}
    recovery.search.asked_ns = 5
    assert why(state, recovery, now=SECOND + 4) is None
    said = "a to send the manifest, asked for 1.0s ago"
    assert why(state, recovery, now=SECOND + 5) == (StoryReason.SILENT, said)
    recovery.search.dropped = {A, B}
    assert why(state, recovery, now=SECOND + 5) is None


def test_a_manifest_that_only_peers_in_quarantine_have_waits_for_its_end() -> None:
    state, recovery = recovering(Stage.DESCRIBING)
    peer = holder(state, "a")
    peer.standing.quarantined_until_ns = SECOND
    said = "the quarantine of a to end in 1.0s"
    assert why(state, recovery) == (StoryReason.QUARANTINED, said)
    peer.is_live = False
    assert why(state, recovery) == (StoryReason.NO_SOURCE, "a peer that has the manifest")


@pytest.mark.parametrize(
    ("retry_at_s", "is_paused", "is_ending", "said"),
    [
        (None, False, False, "full"),
        (5, False, False, "full; tried again in 4.0s"),
        (1, False, False, "full; tried again in 0ms"),
        (0, False, False, "full; tried again in 0ms"),
        (5, True, False, "full"),
        (5, False, True, "full"),
    ],
)
def test_a_disk_in_trouble_is_told_with_when_it_is_tried_again(
    retry_at_s: int | None, is_paused: bool, is_ending: bool, said: str
) -> None:
    state, recovery = recovering(Stage.TRANSFERRING)
    recovery.local.trouble = "full"
    recovery.local.retry_at_ns = None if retry_at_s is None else retry_at_s * SECOND
    recovery.is_paused = is_paused
    recovery.ending = Ending(Result.CANCELLED) if is_ending else None
    assert why(state, recovery, now=1 * SECOND) == (StoryReason.DISK, said)


@pytest.mark.parametrize(
    ("is_settled", "is_named", "said"),
    [
        (False, False, "peers to say what they hold"),
        (False, True, "peers to say what they hold"),
        (True, False, f"a peer that has a whole version of {LLAMA}"),
        (True, True, f"a peer that has version 100 of {LLAMA}"),
    ],
)
def test_a_version_is_waited_for(is_settled: bool, is_named: bool, said: str) -> None:
    state, recovery = recovering(Stage.SEEKING, is_named=is_named)
    state.is_settled = is_settled
    assert why(state, recovery) == (StoryReason.NO_VERSION, said)


@pytest.mark.parametrize(
    ("stage", "optional", "said"),
    [
        (Stage.SEEKING, blocks(), "; gives up in 4.0s"),
        (Stage.TRANSFERRING, blocks((0, 7)), "; gives up in 4.0s"),
        (Stage.TRANSFERRING, blocks((0, 8)), "; goes without in 4.0s"),
    ],
)
def test_who_waits_for_what_nobody_has_says_for_how_long(
    stage: Stage, optional: BlockSet, said: str
) -> None:
    state, recovery = recovering(stage)
    described = Described.of(VERSION.version, VERSION.digest, VERSION.space)
    recovery.described = replace(described, optional=optional)
    recovery.starved_since_ns, recovery.patience_max_ns = SECOND, 5 * SECOND
    found = why(state, recovery, now=2 * SECOND, missing=blocks((0, 8)))
    assert found is not None
    assert found[1].endswith(said)
    recovery.starved_since_ns = None
    found = why(state, recovery, now=2 * SECOND, missing=blocks((0, 8)))
    assert found is not None
    assert said not in found[1]


def test_a_silence_is_told_from_a_second_on() -> None:
    state, recovery = recovering(Stage.TRANSFERRING)
    lane = silent_lane(recovery, "a", heard_ns=SECOND // 2)
    now = SECOND // 2 + STANDSTILL_SILENCE_NS
    assert why(state, recovery, now=now - 1) is None
    said = "a to deliver, silent for 1.0s"
    assert why(state, recovery, now=now) == (StoryReason.FIRST_BYTE_LATE, said)
    lane.has_body = True
    assert why(state, recovery, now=now) == (StoryReason.SILENT, said)
    recovery.local.pending_order = LocalOrder.COMMIT
    recovery.commit.started_ns = now - 2 * SECOND
    assert why(state, recovery, now=now) == (
        StoryReason.DISK,
        "the disk, which has been making blocks durable for 2.0s",
    )
    recovery.commit.durable_ns = now - SECOND
    assert why(state, recovery, now=now) == (
        StoryReason.DISK,
        "the disk of the state directory, which has been writing the journal for 1.0s",
    )


@pytest.mark.parametrize(
    ("names", "said"), [("ab", "a, b"), ("abc", "a, b, c"), ("abcd", "a, b, c and 1 more")]
)
def test_three_silent_sources_are_named(names: str, said: str) -> None:
    state, recovery = recovering(Stage.TRANSFERRING)
    for name in names:
        silent_lane(recovery, name)
    found = why(state, recovery, now=4 * SECOND)
    assert found == (StoryReason.FIRST_BYTE_LATE, f"{said} to deliver, silent for 4.0s")


def test_the_source_that_rests_shortest_is_waited_for() -> None:
    state, recovery = recovering(Stage.TRANSFERRING)
    for name, usable_s in (("a", 9), ("b", 3)):
        holder(state, name).link.usable_at_ns = usable_s * SECOND
    assert why(state, recovery) == (StoryReason.RESTING, "a source to be tried again in 3.0s")
    state.peers[A].standing.quarantined_until_ns = 9 * SECOND
    state.peers[B].standing.quarantined_until_ns = 1 * SECOND
    now = 1 * SECOND
    assert why(state, recovery, now=now) == (
        StoryReason.RESTING,
        "a source to be tried again in 2.0s",
    )
    assert why(state, recovery, now=now - 1) == (
        StoryReason.QUARANTINED,
        "the quarantine of b to end in 2.0s",
    )


def test_a_source_whose_rest_just_ended_is_only_waited_for_if_it_is_questioned() -> None:
    state, recovery = recovering(Stage.TRANSFERRING)
    peer = holder(state, "a")
    peer.link.usable_at_ns = 5
    peer.standing.questioned[VERSION.digest] = blocks((0, 1))
    assert why(state, recovery, now=5) == (
        StoryReason.QUESTIONED,
        "sources to stand by their holdings",
    )

"""What binds a recovery."""

from __future__ import annotations

import pytest

from ckptd.core.events import (
    BlocksCommitted,
    BlocksDurable,
    DiscoverySettled,
    PeerLost,
    RangeProgressed,
    RecoveryPaused,
    VersionPlaced,
)
from ckptd.core.explain.bottleneck import (
    BEST_SHARE,
    CPU_SHARE,
    DISK_SHARE,
    LAG_NS,
    RECORDING_NS,
    SHAPER_SHARE,
    LocalLoad,
    find_bottleneck,
)
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.link import RateEstimate
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Epoch, LaneId, NodeId, TransferId
from ckptd.model.words import Bottleneck, RangeOutcome, Stage
from tests.support.scheduling import (
    FULL_DISK,
    NO_COMMITS,
    R2,
    A,
    B,
    R,
    Script,
    blocks,
    bring_to,
    holding,
    ranges,
    saved,
    wanted,
)

IDLE = LocalLoad()


def bottleneck(script: Script, load: LocalLoad = IDLE) -> Bottleneck | None:
    return script.scheduler.bottleneck(R, load, now=script.now)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (Stage.SEEKING, Bottleneck.NO_SOURCE),
        (Stage.DESCRIBING, Bottleneck.SOURCE),
        (Stage.PREPARING, Bottleneck.DISK),
        (Stage.TRANSFERRING, Bottleneck.SOURCE),
        (Stage.PLACING, Bottleneck.DISK),
        (Stage.DISCARDING, None),
    ],
)
def test_each_stage_has_what_binds_it(stage: Stage, expected: Bottleneck | None) -> None:
    script, _ = bring_to(stage)
    assert bottleneck(script) is expected


def two_sources() -> Script:
    """Let two sources deliver 20 MiB/s each for a while."""
    script = Script(options=NO_COMMITS)
    script.start(saved(400), A, B)
    at_rate(script, 4)
    return script


def at_rate(script: Script, blocks_per_turn: int) -> None:
    """Let each of two sources deliver so many blocks every 200 ms for 2 s."""
    for _ in range(10):
        script.now_ms += 200
        for order in script.in_flight:
            if script.lane(order.source).transfers[0].id != order.transfer:
                continue
            done = script.lane(order.source).transfers[0].next_block
            end = min(done + blocks_per_turn, order.blocks.end)
            script.arrive(order, end)
            if end == order.blocks.end:
                script.end(order)


def test_several_sources_that_bring_as_much_as_ever_show_the_network() -> None:
    assert bottleneck(two_sources()) is Bottleneck.NETWORK


def test_several_sources_that_bring_less_than_came_at_best_bind() -> None:
    script = two_sources()
    script.scheduler.inspect().best_rate = 200.0 * MIB
    assert bottleneck(script) is Bottleneck.SOURCE


def test_one_usable_source_binds() -> None:
    script = two_sources()
    script.tell(PeerLost(B))
    assert bottleneck(script) is Bottleneck.SOURCE


def test_sources_that_all_serve_others_bind() -> None:
    script = two_sources()
    for node in (A, B):
        script.scheduler.inspect().peers[node].link.load_bytes = 50 * MIB
    assert bottleneck(script) is Bottleneck.SOURCE


def test_lanes_that_wait_for_the_disk_show_the_disk() -> None:
    script = two_sources()
    assert bottleneck(script, LocalLoad(disk_share=0.4, cpu_share=0.9)) is Bottleneck.DISK
    assert bottleneck(script, LocalLoad(is_disk_awaited=True)) is Bottleneck.DISK
    script.recovery().work.is_held_up = True
    assert bottleneck(script) is Bottleneck.DISK


def test_a_journal_that_is_slow_is_not_blamed_on_the_disk_of_the_root() -> None:
    script = Script()
    [order] = ranges(script.start(saved(64), A))
    script.arrive(order, 2)
    script.wait(1000)
    assert script.recovery().commit.committing, "a commit is under way"
    awaited = LocalLoad(is_disk_awaited=True)
    assert bottleneck(script, awaited) is Bottleneck.DISK
    script.tell(BlocksDurable(R))
    assert bottleneck(script, awaited) is Bottleneck.DISK
    script.wait(RECORDING_NS // 1_000_000)
    assert bottleneck(script, awaited) is Bottleneck.STATE_DISK
    script.tell(BlocksCommitted(R))
    assert bottleneck(script, awaited) is Bottleneck.DISK


def test_lanes_that_compute_all_the_time_show_the_processor() -> None:
    script = two_sources()
    assert bottleneck(script, LocalLoad(cpu_share=0.9)) is Bottleneck.CPU
    assert bottleneck(script, LocalLoad(loop_lag_ns=1 * SECOND)) is Bottleneck.CPU


def test_a_recovery_that_nobody_can_serve_has_no_source() -> None:
    script = Script()
    script.start(saved(8), A)
    script.end_all(RangeOutcome.BUSY)
    assert bottleneck(script) is Bottleneck.NO_SOURCE


def test_when_all_has_come_the_disk_binds() -> None:
    script = Script()
    [order] = ranges(script.start(saved(1), A))
    script.deliver(order)
    assert bottleneck(script) is Bottleneck.DISK
    script.tell(BlocksCommitted(R))
    assert bottleneck(script) is Bottleneck.DISK


def test_a_disk_that_is_to_be_tried_again_binds() -> None:
    script = Script()
    script.start(saved(8), A)
    script.end_all(RangeOutcome.STORE_FAILED, refusal=FULL_DISK)
    assert bottleneck(script) is Bottleneck.DISK


def test_nothing_binds_a_recovery_that_is_paused() -> None:
    script = Script()
    script.start(saved(8), A)
    script.tell(RecoveryPaused(R))
    assert bottleneck(script) is None


def test_a_recovery_that_is_not_known_has_nothing_that_binds_it() -> None:
    assert bottleneck(Script()) is None


def test_the_best_that_came_is_remembered_beyond_a_recovery() -> None:
    script, version = Script(), saved(4)
    [order] = ranges(script.start(version, A))
    script.tell(RangeProgressed(order.transfer, 2 * MIB, order.blocks.start + 2), after_ms=100)
    while script.in_flight:
        script.deliver(script.in_flight[0], after_ms=1000)
    script.tell(BlocksCommitted(R), VersionPlaced(R))
    assert script.scheduler.inspect().best_rate == 20 * MIB


def test_without_a_version_there_is_no_source() -> None:
    script = Script()
    script.tell(wanted(saved(1)), DiscoverySettled())
    assert bottleneck(script) is Bottleneck.NO_SOURCE


# By records, exactly where the answer changes

VERSION = saved(8)


def transferring(*holders: NodeId, best: float = 100.0, rate: float = 100.0) -> State:
    """Make a state in which a recovery has one range in flight, and A and B are known."""
    state = State(peers={node: Peer(node, Epoch(1)) for node in (A, B)})
    for node in holders:
        state.peers[node].holdings[VERSION.digest] = holding(VERSION)
    recovery = Recovery(wanted(VERSION), 1, 0, Stage.TRANSFERRING, digest=VERSION.digest)
    recovery.coverage.unclaimed = blocks((4, 8))
    recovery.work.transfer_count = 1
    lane = Lane(LaneId(1), A, R, state.peers[A].link, heard_ns=0)
    lane.transfers.append(Transfer(TransferId(1), BlockRun(0, 4), 4 * MIB, 0))
    recovery.work.lanes[lane.id] = lane
    recovery.tally.rate = RateEstimate(rate, best)
    state.recoveries[R] = recovery
    return state


def found(state: State, load: LocalLoad = IDLE) -> Bottleneck | None:
    return find_bottleneck(state, state.recoveries[R], load, now=0)


@pytest.mark.parametrize(
    ("below", "at", "expected"),
    [
        (
            LocalLoad(shaper_share=SHAPER_SHARE - 0.01),
            LocalLoad(shaper_share=SHAPER_SHARE, disk_share=1),
            Bottleneck.SHAPER,
        ),
        (
            LocalLoad(disk_share=DISK_SHARE - 0.01),
            LocalLoad(disk_share=DISK_SHARE, cpu_share=1),
            Bottleneck.DISK,
        ),
        (LocalLoad(cpu_share=CPU_SHARE - 0.01), LocalLoad(cpu_share=CPU_SHARE), Bottleneck.CPU),
        (LocalLoad(loop_lag_ns=LAG_NS - 1), LocalLoad(loop_lag_ns=LAG_NS), Bottleneck.CPU),
    ],
    ids=["shaper", "disk", "processor", "loop"],
)
def test_a_share_of_the_time_binds_from_its_bound_on(
    below: LocalLoad, at: LocalLoad, expected: Bottleneck
) -> None:
    assert found(transferring(A, B), below) is Bottleneck.NETWORK
    assert found(transferring(A, B), at) is expected


def test_a_peer_without_the_version_is_no_second_source() -> None:
    assert found(transferring(A, B)) is Bottleneck.NETWORK
    assert found(transferring(A)) is Bottleneck.SOURCE


def test_what_comes_is_as_ever_from_four_fifths_of_the_best_on() -> None:
    assert found(transferring(A, B, rate=BEST_SHARE * 100)) is Bottleneck.NETWORK
    assert found(transferring(A, B, rate=BEST_SHARE * 100 - 0.01)) is Bottleneck.SOURCE


def test_what_other_recoveries_get_counts_while_they_have_ranges_in_flight() -> None:
    state = transferring(A, B, rate=50)
    other = Recovery(wanted(VERSION, R2), 2, 0, Stage.TRANSFERRING)
    other.tally.rate = RateEstimate(30, 30)
    state.recoveries[R2] = other
    assert found(state) is Bottleneck.SOURCE
    other.work.transfer_count = 1
    assert found(state) is Bottleneck.NETWORK


def test_a_version_that_is_placed_without_blocks_that_nobody_has_waits_for_the_disk() -> None:
    state = transferring()
    state.recoveries[R].work.transfer_count = 0
    assert found(state) is Bottleneck.NO_SOURCE
    state.recoveries[R].stage = Stage.PLACING
    assert found(state) is Bottleneck.DISK

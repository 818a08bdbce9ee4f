"""What binds a recovery."""

from __future__ import annotations

import pytest

from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    PeerLost,
    RangeProgressed,
    RecoveryPaused,
    VersionPlaced,
)
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.limits import MIB, SECOND
from ckptd.model.words import Bottleneck, RangeOutcome, Stage
from tests.support.scheduling import (
    FULL_DISK,
    NO_COMMITS,
    A,
    B,
    R,
    Script,
    bring_to,
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

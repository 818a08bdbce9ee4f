"""Every way of standing still has a sentence; more of them are in test_snapshot.py."""

from __future__ import annotations

from ckptd.core.events import BlocksCommitted, HoldingConfirmed, RangeProgressed
from ckptd.limits import MIB
from ckptd.model.words import Confirmation, RangeOutcome
from tests.support.scheduling import FULL_DISK, NO_COMMITS, A, B, R, Script, ranges, saved


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

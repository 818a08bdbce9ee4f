"""What is kept of bad blocks: whose, which, when, and what their source said of them."""

from __future__ import annotations

from ckptd.core.events import HoldingConfirmed
from ckptd.core.report.evidence import EVIDENCE_MAX, BadBlock, Evidence
from ckptd.core.report.views import PeerSnapshot
from ckptd.limits import MS
from ckptd.model.ids import Digest, NodeId, Version
from ckptd.model.words import Confirmation
from tests.support.scheduling import LLAMA, NO_COMMITS, A, B, R, Script, holds, ranges, saved

_, HELD, NOT_HELD, NO_ANSWER = Confirmation


def peer(script: Script, node: NodeId) -> PeerSnapshot:
    snapshot = script.scheduler.peer(node, now=script.now)
    assert snapshot is not None
    return snapshot


def answers(script: Script, node: NodeId = A) -> list[Confirmation]:
    return [bad.answer for bad in peer(script, node).bad_blocks]


def test_a_bad_block_is_on_record_with_everything_that_says_which_it_was() -> None:
    script, version = Script(options=NO_COMMITS), saved(2, 62)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 4, rejected=(3,), after_ms=7)
    [bad] = peer(script, A).bad_blocks
    assert bad == BadBlock(7 * MS, LLAMA, Version(100), version.digest, "normal-1", 1, R)


def test_only_the_source_that_sent_it_has_it_on_record() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    orders = {order.source: order for order in ranges(script.start(version, A, B))}
    script.arrive(orders[B], rejected=(orders[B].blocks.start,))
    assert peer(script, A).bad_blocks == ()
    assert peer(script, B).bad_block_count == 1


def test_the_record_says_what_the_source_said() -> None:
    for confirmation in (HELD, NOT_HELD, NO_ANSWER):
        script, version = Script(options=NO_COMMITS), saved(64)
        [order] = ranges(script.start(version, A))
        script.arrive(order, 2, rejected=(0, 1))
        assert answers(script) == [Confirmation.PENDING, Confirmation.PENDING]
        script.tell(HoldingConfirmed(A, version.digest, confirmation))
        assert answers(script) == [confirmation, confirmation]


def test_an_answer_settles_only_what_was_asked_about() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1, rejected=(0,))
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    script.arrive(order, 2, rejected=(1,))
    assert answers(script) == [HELD, Confirmation.PENDING]
    script.tell(HoldingConfirmed(A, Digest("0" * 64), NOT_HELD))
    assert answers(script) == [HELD, Confirmation.PENDING]


def test_a_restart_of_the_source_ends_the_questioning_and_not_the_record() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1, rejected=(0,))
    script.tell(holds(A, version, epoch=2))
    assert answers(script) == [NO_ANSWER]
    # What the old life still had on its way counts as well.
    script.arrive(order, 2, rejected=(1,))
    assert answers(script) == [NO_ANSWER, NO_ANSWER]
    assert peer(script, A).source.trust == 0


def test_the_last_fifty_are_kept_and_all_are_counted() -> None:
    evidence = Evidence()
    for number in range(EVIDENCE_MAX + 3):
        evidence.note(BadBlock(number, LLAMA, Version(1), Digest("0" * 64), "unit", number, R))
    assert evidence.bad_block_count == EVIDENCE_MAX + 3
    assert [bad.block for bad in evidence.last] == list(range(3, EVIDENCE_MAX + 3))


def test_only_what_is_asked_of_the_version_is_answered() -> None:
    one, other = Digest("1" * 64), Digest("2" * 64)

    def answered(digest: Digest | None) -> list[Confirmation]:
        evidence = Evidence()
        for about, answer in ((one, Confirmation.PENDING), (other, Confirmation.PENDING)):
            evidence.note(BadBlock(0, LLAMA, Version(1), about, "unit", 0, R, answer))
        evidence.note(BadBlock(0, LLAMA, Version(1), one, "unit", 0, R, HELD))
        evidence.settle(NOT_HELD, digest)
        return [bad.answer for bad in evidence.last]

    assert answered(one) == [NOT_HELD, Confirmation.PENDING, HELD]
    assert answered(other) == [Confirmation.PENDING, NOT_HELD, HELD]
    assert answered(None) == [NOT_HELD, NOT_HELD, HELD]


def test_a_view_says_how_often_and_until_when_a_peer_is_in_quarantine() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    assert peer(script, A).quarantined_until_ns is None
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    view = peer(script, A)
    assert (view.quarantines, view.quarantined_until_ns) == (1, script.options.trust.quarantine_ns)
    script.wait(60_000)
    assert (peer(script, A).quarantines, peer(script, A).quarantined_until_ns) == (1, None)


def test_a_peer_nobody_heard_of_has_no_view() -> None:
    assert Script().scheduler.peer(A, now=0) is None

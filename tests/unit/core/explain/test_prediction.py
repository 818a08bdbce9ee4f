"""How long a recovery will take, said before it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.events import RateLearned
from ckptd.core.explain.prediction import (
    Need,
    Prediction,
    Supply,
    need_of_unknown,
    needs_of,
    predict,
    supplies_of,
)
from ckptd.core.report.learned_rate import FRESH_NS, HALF_LIFE_NS
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.limits import DAY_S, MIB, MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, Epoch, NodeId, Version
from ckptd.model.words import Criticality, RateOrigin
from tests.support.scheduling import (
    LLAMA,
    R2,
    A,
    B,
    C,
    Saved,
    Script,
    blocks,
    holding,
    holds,
    ranges,
    saved,
)

VERSION = saved(60, critical=[20], deferred=[20])


def supply(
    node: NodeId, rate: int, held: BlockSet = VERSION.blocks, *, latency_ms: int = 0
) -> Supply:
    return Supply(node, held, rate * MIB, latency_ms * MS)


def needs(version: Saved = VERSION, here: BlockSet | None = None) -> list[Need]:
    missing = version.blocks - (here or BlockSet())
    return needs_of(version.space, version.space.class_ends(), missing)


def test_what_is_needed_is_listed_class_by_class_also_what_is_here() -> None:
    assert needs(here=blocks((0, 20), (30, 100))) == [
        Need(Criticality.CRITICAL, BlockSet(), 0),
        Need(Criticality.NORMAL, blocks((20, 30)), 10 * MIB),
        Need(Criticality.DEFERRED, BlockSet(), 0),
    ]


def test_without_a_manifest_blocks_count_as_equally_long() -> None:
    need = need_of_unknown(holding(VERSION), blocks((0, 25)))
    assert need == Need(None, blocks((0, 25)), 25 * MIB)
    assert predict([need], [supply(A, 25)]) == Prediction(None, SECOND, "")


def test_classes_come_one_after_the_other_from_all_sources_at_once() -> None:
    predicted = predict(needs(), [supply(A, 15), supply(B, 5)])
    assert predicted == Prediction(1 * SECOND, 5 * SECOND, "")


def test_a_source_counts_only_for_what_it_has() -> None:
    predicted = predict(needs(), [supply(A, 10), supply(B, 10, blocks((20, 80)))])
    assert predicted == Prediction(2 * SECOND, (2 + 3 + 2) * SECOND, "")


def test_a_fast_source_of_little_does_not_bring_the_rest_sooner() -> None:
    predicted = predict(needs(saved(100)), [supply(A, 10), supply(B, 990, blocks((0, 50)))])
    assert predicted.complete_ns == 5 * SECOND


def test_what_few_have_takes_as_long_as_these_need_for_it() -> None:
    little, more = supply(A, 90, blocks((0, 10))), supply(B, 5, blocks((0, 60)))
    predicted = predict(needs(saved(100)), [little, more, supply(C, 5)])
    assert predicted.complete_ns == 9 * SECOND  # 90 blocks that A does not have


def test_each_source_loses_two_round_trips_by_its_share_of_the_rate() -> None:
    predicted = predict(needs(), [supply(A, 15, latency_ms=10), supply(B, 5, latency_ms=50)])
    assert predicted.critical_ns == 1 * SECOND + 2 * 20 * MS
    assert predicted.complete_ns == 5 * SECOND + 2 * 20 * MS


def test_what_is_here_already_takes_no_time_and_no_source() -> None:
    assert predict(needs(here=VERSION.blocks), []) == Prediction(0, 0, "")
    assert predict(needs(saved(4)), [supply(A, 4, saved(4).blocks)]).critical_ns is None


def test_without_rates_nothing_is_predicted_and_it_says_of_whom() -> None:
    assert predict(needs(), [supply(B, 0), supply(A, 0)]) == Prediction(
        None, None, "no rate is known yet, of a, b"
    )


def test_unknown_rates_are_left_out_and_named() -> None:
    assert predict(needs(), [supply(A, 20), supply(B, 0)]) == Prediction(
        1 * SECOND, 5 * SECOND, "not counting b, whose rates are not known yet"
    )


def test_blocks_that_only_an_unknown_source_has_end_the_prediction() -> None:
    predicted = predict(needs(), [supply(A, 20, blocks((0, 90))), supply(B, 0)])
    assert predicted == Prediction(
        1 * SECOND, None, "some blocks only b may have, whose rates are not known yet"
    )


def test_blocks_that_nobody_has_end_the_prediction() -> None:
    predicted = predict(needs(), [supply(A, 20, blocks((0, 90)))])
    assert predicted == Prediction(1 * SECOND, None, "nobody who is trusted has all of it")
    assert predict(needs(), [supply(A, 20, blocks((1, 100)))]).critical_ns is None


def test_critical_units_of_a_later_phase_are_not_said_to_be_here_before_it() -> None:
    critical, normal, deferred = needs()
    phases = [
        critical,
        normal,
        Need(Criticality.CRITICAL, deferred.blocks, deferred.size_bytes),
    ]
    assert predict(phases, [supply(A, 20)]).critical_ns == 5 * SECOND
    assert predict(phases, [supply(A, 20, blocks((0, 40), (80, 100)))]).critical_ns is None


def test_at_most_five_sources_are_named() -> None:
    many = [supply(NodeId(f"n{number}"), 0) for number in range(8)]
    assert predict(needs(), many).remark.endswith("of n0, n1, n2, n3, n4 and 3 more")


# In the scheduler


def test_the_first_recovery_is_not_predicted_the_next_one_is() -> None:
    script, version = Script(), saved(8, critical=[4])
    script.start(version, A)
    assert (script.view().predicted_ns, script.view().predicted_critical_ns) == (None, None)
    for order in script.in_flight:
        script.deliver(order, after_ms=400)
    assert script.view_source(A).rate_bytes_per_s > 0
    other = saved(30, version=101)
    rate = script.view_source(A).rate_bytes_per_s
    latency_ns = script.scheduler.inspect().peers[A].link.latency_ns
    assert latency_ns is not None
    script.start(other, A, recovery=R2)
    predicted_ns = script.view(R2).predicted_ns
    assert predicted_ns == pytest.approx(30 * MIB * SECOND / rate + 2 * latency_ns, abs=1000)


def test_a_quarantined_source_is_not_counted() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.deliver(order, after_ms=400)
    assert [each.path for each in script.scheduler.supplies(version.digest, now=script.now)] == [A]
    script.scheduler.inspect().peers[A].standing.quarantined_until_ns = script.now + 1
    assert script.scheduler.supplies(version.digest, now=script.now) == []


@pytest.mark.parametrize(
    ("size_bytes", "block_count", "missing", "needed_bytes"),
    [(0, 0, 0, 0), (10, 1, 1, 10), (30, 3, 2, 20)],
)
def test_of_a_version_without_manifest_its_share_is_needed(
    size_bytes: int, block_count: int, missing: int, needed_bytes: int
) -> None:
    held = BlockSet.full(block_count)
    known = Holding(LLAMA, Version(1), Digest("0" * 64), size_bytes, block_count, held)
    left = BlockSet.full(missing)
    assert need_of_unknown(known, left) == Need(None, left, needed_bytes)


def test_live_holders_out_of_quarantine_can_supply() -> None:
    now = 5
    part = blocks((0, 5))

    def peer(node: NodeId, held: BlockSet) -> Peer:
        return Peer(node, Epoch(1), holdings={VERSION.digest: holding(VERSION, held)})

    served, freed = peer(A, part), peer(B, VERSION.blocks)
    served.link.rate.bytes_per_s, served.link.latency_ns = 7.0, 9
    freed.standing.quarantined_until_ns = now
    lost, other, confined = (peer(NodeId(name), part) for name in "def")
    lost.is_live = False
    other.holdings.clear()
    confined.standing.quarantined_until_ns = now + 1
    known = {each.path: each for each in (served, freed, lost, other, confined)}
    assert supplies_of(State(peers=known), VERSION.digest, now=now) == [
        Supply(A, part, 7.0, 9, age_ns=now),
        Supply(B, VERSION.blocks, 0.0, 0),
    ]


def test_sources_of_unknown_rate_are_remarked_on_only_if_something_has_to_come() -> None:
    sources = [supply(A, 20), supply(B, 0)]
    assert predict(needs(), sources).remark.startswith("not counting b,")
    assert predict(needs(here=VERSION.blocks), sources) == Prediction(0, 0, "")


@pytest.mark.parametrize(
    ("count", "named"),
    [(4, "n0, n1, n2, n3"), (5, "n0, n1, n2, n3, n4"), (6, "n0, n1, n2, n3, n4 and 1 more")],
)
def test_five_sources_are_named(count: int, named: str) -> None:
    unknown = [supply(NodeId(f"n{index}"), 0) for index in range(count)]
    assert predict(needs(), unknown).remark == f"no rate is known yet, of {named}"


def test_a_rate_from_before_a_restart_predicts_and_so_does_one_that_the_doctor_measured() -> None:
    script, version = Script(), saved(60)
    for node, origin in ((A, RateOrigin.RECOVERY), (B, RateOrigin.DOCTOR)):
        script.tell(RateLearned(node, 15.0 * MIB, 10 * MS, 3600 * SECOND, origin))
    script.start(version, A, B)
    assert script.view().predicted_ns == 2 * SECOND + 2 * 10 * MS
    assert [each.age_ns for each in script.scheduler.supplies(version.digest, now=script.now)] == [
        3600 * SECOND, 3600 * SECOND,
    ]  # fmt: skip


def test_the_choice_of_a_source_does_not_look_at_what_was_learned_before() -> None:
    fresh, taught, version = Script(), Script(), saved(64)
    taught.tell(RateLearned(A, 1.0 * MIB, 10 * SECOND, 0, RateOrigin.RECOVERY))
    taught.tell(RateLearned(B, 900.0 * MIB, 1, 0, RateOrigin.RECOVERY))
    assert taught.start(version, A, B) == fresh.start(version, A, B)


def test_an_old_rate_counts_for_less_and_that_is_said() -> None:
    script, version = Script(), saved(60)
    age_ns = FRESH_NS + HALF_LIFE_NS
    script.tell(RateLearned(A, 60.0 * MIB, None, age_ns, RateOrigin.RECOVERY))
    script.tell(holds(A, version), holds(B, version))
    supplies = script.scheduler.supplies(version.digest, now=script.now)
    predicted = predict(needs(version), supplies)
    assert predicted == Prediction(
        None,
        2 * SECOND,
        "not counting b, whose rates are not known yet; counting a for less, measured up to 8d ago",
    )


def test_what_is_shown_now_comes_before_what_was_learned() -> None:
    script, version = Script(), saved(64)
    script.tell(RateLearned(A, 900.0 * MIB, 7 * MS, 0, RateOrigin.RECOVERY))
    [order] = ranges(script.start(version, A))
    script.deliver(order, after_ms=400)
    [supplied] = script.scheduler.supplies(version.digest, now=script.now)
    assert (supplied.rate_bytes_per_s, supplied.age_ns) == (10 * MIB, 0)


def test_a_peer_that_restarts_is_as_fast_as_it_was_and_so_is_one_that_was_forgotten() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.deliver(order, after_ms=400)
    script.tell(holds(A, version, epoch=2), after_ms=1000)
    assert script.view_source(A).rate_bytes_per_s == 0
    [supplied] = script.scheduler.supplies(version.digest, now=script.now)
    assert (supplied.rate_bytes_per_s, supplied.age_ns) == (10 * MIB, SECOND)
    learned = script.scheduler.learned_rates(now=script.now)
    assert [(node, rate.bytes_per_s) for node, rate in learned.items()] == [(A, 10 * MIB)]
    snapshot = script.scheduler.peer(A, now=script.now)
    assert snapshot is not None
    assert snapshot.learned == learned[A]


def test_what_the_doctor_saw_of_little_predicts_until_something_better_is_known() -> None:
    script, version = Script(), saved(60)
    little = RateLearned(A, 30.0 * MIB, None, 0, RateOrigin.DOCTOR, is_sound=False)
    script.tell(RateLearned(B, 30.0 * MIB, None, DAY_S * SECOND, RateOrigin.RECOVERY))
    script.tell(little, replace(little, path=B, bytes_per_s=1.0 * MIB))
    script.start(version, A, B)
    assert script.view().predicted_ns == SECOND

"""What was learned of links, and which of it counts."""

from __future__ import annotations

import pytest

from ckptd.core.report.learned_rate import FRESH_NS, HALF_LIFE_NS, KEPT_NS, LearnedRate
from ckptd.core.state.learned import LearnedRates, rate_of_link
from ckptd.core.state.link import Link, RateEstimate
from ckptd.limits import DAY_S, MIB, MS, PEERS_MAX, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import RateOrigin
from tests.support.scheduling import A, B

RECOVERY, DOCTOR = RateOrigin
NOW = 100 * DAY_S * SECOND
DAY = DAY_S * SECOND


def rate(mib: float, *, days_ago: float = 0, origin: RateOrigin = RECOVERY) -> LearnedRate:
    return LearnedRate(mib * MIB, MS, NOW - int(days_ago * DAY), origin)


def link(mib: float, *, days_ago: float = 0) -> Link:
    at = NOW - int(days_ago * DAY)
    return Link(RateEstimate(mib * MIB, sampled_ns=at, sampled_bytes=MIB), latency_ns=MS)


def best(*rates: LearnedRate, shown: Link | None = None) -> LearnedRate | None:
    learned = LearnedRates()
    for each in rates:
        learned.note(A, each, now=NOW)
    return learned.of(A, shown or Link(), now=NOW)


@pytest.mark.parametrize(
    ("age_ns", "share"),
    [
        (-1, 1.0),
        (0, 1.0),
        (FRESH_NS, 1.0),
        (FRESH_NS + HALF_LIFE_NS, 0.5),
        (FRESH_NS + 2 * HALF_LIFE_NS, 0.25),
    ],
)
def test_a_rate_counts_in_full_for_a_day_and_half_for_each_week_after(
    age_ns: int, share: float
) -> None:
    learned = LearnedRate(80.0, None, NOW - age_ns, RECOVERY)
    assert learned.believed_bytes_per_s(now=NOW) == 80 * share


def test_nothing_is_known_of_a_link_without_a_sample() -> None:
    assert rate_of_link(Link(latency_ns=MS)) is None
    assert best() is None


def test_what_a_link_shows_has_the_age_of_its_last_sample() -> None:
    estimate = RateEstimate()
    estimate.begin(now=0)
    estimate.add(MIB, now=100 * MS)
    estimate.pause(now=5 * SECOND)
    assert rate_of_link(Link(estimate)) == LearnedRate(10 * MIB, None, 100 * MS, RECOVERY)


def test_what_was_learned_counts_until_the_link_shows_something() -> None:
    assert best(rate(5, days_ago=3)) == rate(5, days_ago=3)
    assert best(rate(5, days_ago=3), shown=link(2)) == rate(2)


def test_the_doctor_does_not_replace_what_a_recovery_learned_within_a_day() -> None:
    doctor = rate(1, origin=DOCTOR)
    assert best(rate(9, days_ago=1), doctor) == rate(9, days_ago=1)
    assert best(rate(9, days_ago=1.01), doctor) == doctor
    assert best(doctor, shown=link(9, days_ago=1)) == rate(9, days_ago=1)
    assert best(doctor, shown=link(9, days_ago=1.01)) == doctor
    assert best(doctor, rate(9, days_ago=0.5)) == rate(9, days_ago=0.5)


def test_a_few_bytes_do_not_replace_what_was_measured_over_more() -> None:
    little = link(0.1)
    little.rate.sampled_bytes = MIB - 1
    weak = LearnedRate(0.1 * MIB, MS, NOW, RECOVERY, is_sound=False)
    assert best(shown=little) == weak
    assert best(rate(9, days_ago=1, origin=DOCTOR), shown=little) == rate(
        9, days_ago=1, origin=DOCTOR
    )
    little.rate.sampled_bytes = MIB
    assert best(rate(9, days_ago=1, origin=DOCTOR), shown=little) == rate(0.1)


def test_of_two_of_a_kind_the_newer_one_counts() -> None:
    assert best(rate(9, days_ago=0.5), rate(4)) == rate(4)
    assert best(rate(4), rate(9, days_ago=0.5)) == rate(4)
    assert best(rate(9, days_ago=30), rate(4, days_ago=20)) == rate(4, days_ago=20)


def test_what_is_too_old_is_forgotten() -> None:
    old = LearnedRate(MIB, None, NOW - KEPT_NS - 1, RECOVERY)
    assert best(old) is None
    learned = LearnedRates()
    learned.note(A, rate(5), now=NOW)
    assert learned.best((), now=NOW + KEPT_NS) == {A: rate(5)}
    assert learned.best((), now=NOW + KEPT_NS + 1) == {}
    assert learned.of(A, Link(), now=NOW + KEPT_NS + 1) is None


def test_the_best_of_every_path_is_returned_also_of_peers_that_are_gone() -> None:
    learned = LearnedRates()
    learned.note(B, rate(5), now=NOW)
    links = [(A, link(7)), (NodeId("c"), Link())]
    assert learned.best(links, now=NOW) == {A: rate(7), B: rate(5)}


def test_the_rate_that_was_learned_first_makes_room() -> None:
    learned = LearnedRates()
    for index in range(PEERS_MAX):
        first = LearnedRate(1.0, None, 10 + index, RECOVERY)
        learned.note(NodeId(f"n{index}"), first, now=SECOND)
    learned.note(A, LearnedRate(1.0, None, SECOND, RECOVERY), now=SECOND)
    kept = learned.best((), now=SECOND)
    assert len(kept) == PEERS_MAX
    assert NodeId("n0") not in kept
    assert A in kept

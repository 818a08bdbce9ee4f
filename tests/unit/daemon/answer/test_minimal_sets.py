"""What is needed first of versions that are here, and how long a peer would wait for it."""

from __future__ import annotations

import pytest

from ckptd.core.report.learned_rate import FRESH_NS, HALF_LIFE_NS, LearnedRate
from ckptd.daemon.answer.minimal_sets import MinimalSets
from ckptd.model.ids import Digest, NodeId, PathId
from ckptd.model.minimal_set import MinimalSet
from ckptd.model.rate_limits import LimitKey
from ckptd.model.words import Direction, RateOrigin, Urgency

HELD, FOUND = Digest("aa"), MinimalSet("core", 2, 1000, 300, False, True)
EGRESS = LimitKey(Direction.EGRESS)


def rate(bytes_per_s: float, age_ns: int = 0) -> LearnedRate:
    return LearnedRate(bytes_per_s, None, -age_ns, RateOrigin.RECOVERY)


def sets(
    *rates: LearnedRate, limits: dict[LimitKey, int] | None = None, of_held: bool = True
) -> MinimalSets:
    paths = {PathId(NodeId(f"p{number}")): each for number, each in enumerate(rates)}
    known = {HELD: FOUND} if of_held else {}
    return MinimalSets(known.get, lambda: paths, lambda: limits or {}, lambda: 0)


@pytest.mark.parametrize(
    ("known", "predicted_s"),
    [
        (sets(), None),
        (sets(rate(100), rate(500)), 2.0),
        (sets(rate(500), limits={EGRESS: 250}), 4.0),
        (sets(rate(500), limits={EGRESS: 5000}), 2.0),
        (sets(rate(500), limits={LimitKey(Direction.INGRESS): 1}), 2.0),
        (sets(rate(500), limits={LimitKey(Direction.EGRESS, Urgency.CRITICAL): 1}), 2.0),
        (sets(rate(500, FRESH_NS + HALF_LIFE_NS)), 4.0),
        (sets(limits={EGRESS: 250}), None),
        (sets(rate(500), limits={EGRESS: 0}), None),
    ],
)
def test_a_peer_has_it_at_the_fastest_rate_that_is_believed_within_the_limit(
    known: MinimalSets, predicted_s: float | None
) -> None:
    view = known.of(HELD)
    assert view is not None
    assert view.predicted_s == predicted_s
    assert (view.phase, view.units, view.bytes, view.is_everything) == ("core", 2, 1000, False)
    assert known.critical_bytes(HELD) == 300


def test_of_each_that_is_here_is_said_the_same_by_one_look_at_rates() -> None:
    looks = []

    def rates() -> dict[PathId, LearnedRate]:
        looks.append(1)
        return {PathId(NodeId("p")): rate(500)}

    held = {HELD: FOUND, Digest("bb"): FOUND}
    known = MinimalSets(held.get, rates, dict, lambda: 0)
    found = known.of_each((HELD, Digest("bb"), Digest("cc")))
    assert len(looks) == 1
    assert found == {HELD: known.of(HELD), Digest("bb"): known.of(HELD)}


def test_of_what_is_not_here_nothing_is_known() -> None:
    known = sets(rate(1), of_held=False)
    assert (known.of(HELD), known.critical_bytes(HELD)) == (None, None)

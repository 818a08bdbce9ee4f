"""How long ago a rate was learned."""

from __future__ import annotations

from ckptd.core.report.learned_rate import LearnedRate
from ckptd.limits import SECOND
from ckptd.model.words import RateOrigin


def test_a_rate_from_before_the_start_has_its_whole_age_and_none_is_younger_than_now() -> None:
    earlier = LearnedRate(1.0, None, -3 * SECOND, RateOrigin.DOCTOR)
    assert earlier.age_ns(now=2 * SECOND) == 5 * SECOND
    assert earlier.age_ns(now=-4 * SECOND) == 0

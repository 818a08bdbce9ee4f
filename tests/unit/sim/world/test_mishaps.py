from random import Random

from ckptd.model.words import RangeOutcome
from ckptd.sim.world.mishaps import Mishap, Mishaps


def test_nothing_goes_wrong_and_nothing_is_drawn_while_the_share_is_zero() -> None:
    rng = Random(7)
    mishaps = Mishaps(rng)
    before = rng.getstate()
    assert not any(mishaps.goes_wrong() for _ in range(100))
    assert mishaps.of_answer(is_liar=True) is None
    assert rng.getstate() == before


def test_as_much_goes_wrong_as_the_share_says() -> None:
    mishaps = Mishaps(Random(7))
    mishaps.share = 0.5
    assert 400 < sum(mishaps.goes_wrong() for _ in range(1000)) < 600
    assert 200 < sum(mishaps.goes_wrong(0.5) for _ in range(1000)) < 300


def test_only_liars_do_not_keep_the_protocol() -> None:
    mishaps = Mishaps(Random(7))
    mishaps.share = 1.0
    honest = {mishaps.of_answer(is_liar=False) for _ in range(200)}
    assert honest == set(Mishap) - {Mishap.MISBEHAVED}
    assert {mishaps.of_answer(is_liar=True) for _ in range(200)} == set(Mishap)


def test_two_mishaps_are_refusals() -> None:
    refusals = {mishap: mishap.refusal for mishap in Mishap if mishap.refusal is not None}
    assert refusals == {Mishap.BUSY: RangeOutcome.BUSY, Mishap.NOT_HELD: RangeOutcome.NOT_HELD}

"""What the demonstration of a fleet makes of what it saw."""

import pytest

from ckptd.cli.demo.fleet.fleet_course import on_offer_s
from ckptd.cli.demo.fleet.samples import Held, Origin, Sample
from ckptd.cli.demo.fleet.toy_job import Saved


def seen(*holds: Held) -> Sample:
    return Sample(0.0, {"a": holds})


def offered(version: int, added_at_s: float, origin: Origin = Origin.SAVED) -> Held:
    return Held(3, version, origin, "/a", added_at_s)


def test_a_save_counts_from_its_end_until_it_was_on_offer() -> None:
    samples = [seen(offered(7, 101.0)), seen(offered(7, 101.0), offered(8, 103.5))]
    saves = [Saved(3, 7, 100.0), Saved(3, 8, 102.0), Saved(3, 9, 104.0)]
    assert sorted(on_offer_s(saves, samples)) == [1.0, 1.5]


@pytest.mark.parametrize(("second_s", "expected"), [(105.0, [5.0, 1.0]), (100.5, [0.5])])
def test_what_is_saved_again_under_its_number_counts_by_itself(
    second_s: float, expected: list[float]
) -> None:
    samples = [seen(offered(7, 101.0)), seen(offered(7, 110.0))]
    saves = [Saved(3, 7, 100.0), Saved(3, 7, second_s)]
    assert on_offer_s(saves, samples) == expected


def test_copies_and_other_ranks_are_no_offer_of_a_save() -> None:
    samples = [seen(offered(7, 101.0, Origin.COPIED), offered(7, 101.0, Origin.RECOVERED))]
    assert on_offer_s([Saved(3, 7, 100.0), Saved(2, 7, 100.0)], samples) == []

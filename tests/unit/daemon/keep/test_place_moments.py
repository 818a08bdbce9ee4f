from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.daemon.keep.place_moments import PlaceMoments
from ckptd.model.blocks import BlockSet
from ckptd.store.published.places import Place

DAY_S = 86_400.0
START_S = 1_700_000_000.0
PLACE = Place(
    number=1,
    root="data",
    directory="v1",
    is_published=True,
    is_withdrawn=False,
    added_at_s=START_S - 10 * DAY_S,
    checked_at_s=START_S - DAY_S,
    scrubbed_units=0,
    unit_count=4,
    blocks=BlockSet.full(4),
)
NEW = replace(PLACE, number=2, checked_at_s=0.0)


class Scene:
    """Places, and two clocks of which one can be set."""

    def __init__(self) -> None:
        self.now_s = 500.0
        self.ahead_s = START_S - self.now_s
        self.moments = PlaceMoments(lambda: self.wall_s, clock=lambda: self.now_s)

    @property
    def wall_s(self) -> float:
        return self.now_s + self.ahead_s

    def ages(self, *places: Place) -> list[tuple[float | None, float | None]]:
        known = self.moments.look(places)
        return [
            (
                self.moments.age_s(known[place.number].added_s),
                self.moments.age_s(known[place.number].checked_s),
            )
            for place in places
        ]


def test_what_an_earlier_life_wrote_is_so_old_as_its_date_says() -> None:
    assert Scene().ages(PLACE) == [(10 * DAY_S, DAY_S)]


@pytest.mark.parametrize("set_by_s", [30 * DAY_S, -3650 * DAY_S])
def test_ages_run_evenly_whatever_the_wall_clock_is_set_to(set_by_s: float) -> None:
    scene = Scene()
    scene.ages(PLACE)
    scene.ahead_s += set_by_s
    scene.now_s += 60
    assert scene.ages(PLACE) == [(10 * DAY_S + 60, DAY_S + 60)]


@pytest.mark.parametrize("set_by_s", [0.0, 30 * DAY_S, -3650 * DAY_S])
def test_what_is_new_is_not_older_than_the_last_look(set_by_s: float) -> None:
    scene = Scene()
    scene.ages(PLACE)
    scene.now_s += 5
    new, checked = replace(NEW, added_at_s=scene.wall_s), replace(PLACE, checked_at_s=scene.wall_s)
    scene.ahead_s += set_by_s
    scene.now_s += 5
    ((added_s, never_s), (old_s, checked_s)) = scene.ages(new, checked)
    assert (never_s, old_s) == (None, 10 * DAY_S + 10)
    assert added_s is not None
    assert checked_s is not None
    assert 0 <= added_s <= 10
    assert 0 <= checked_s <= 10


def test_a_date_in_the_future_says_nothing() -> None:
    scene = Scene()
    late = replace(PLACE, added_at_s=START_S + 5, checked_at_s=START_S + DAY_S)
    assert scene.ages(late) == [(0.0, None)]

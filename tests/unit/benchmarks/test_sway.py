"""Rounds that lie too far apart say nothing about a row."""

from __future__ import annotations

import math

import pytest

from tests.benchmarks.sway import is_steady, sway


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ((), 0),
        ((4.0,), 0),
        ((2.0, 2.0, 2.0), 0),
        ((1.0, 2.0, 3.0), 1),
        ((9.0, 10.0, 12.0, 10.0), 0.3),
        ((0.0, 0.0), 0),
        ((0.0, 0.0, 1.0), math.inf),
    ],
)
def test_sway_is_how_far_rounds_lie_apart_of_their_median(
    rounds: tuple[float, ...], expected: float
) -> None:
    assert sway(rounds) == pytest.approx(expected)


def test_a_third_is_steady_and_more_is_not() -> None:
    assert is_steady((3.0, 3.0, 4.0))
    assert not is_steady((3.0, 3.0, 4.01))

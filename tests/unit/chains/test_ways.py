"""The fastest way to a full version."""

from __future__ import annotations

import math
from random import Random

import pytest

from ckptd.chains.ways import PlannedWay, Rates, Start, Step, Way, ways_to
from ckptd.limits import GIB, MIB
from ckptd.model.ids import Version

FULL = 4 * GIB
SMALL = 40 * MIB
RATES = Rates(
    fetch_bytes_per_s=100 * MIB,
    apply_bytes_per_s=500 * MIB,
    make_bytes_per_s=200 * MIB,
    each_fetch_s=0.5,
    each_apply_s=0.25,
)


def start(way: Way, version: int, fetch_bytes: int = 0) -> Start:
    return Start(way, Version(version), FULL, fetch_bytes)


def steps(
    first: int, last: int, *, fetch_bytes: int = SMALL, apply_bytes: int = FULL
) -> list[Step]:
    return [
        Step(Version(version), Version(version - 1), apply_bytes, fetch_bytes)
        for version in range(first, last + 1)
    ]


def only(version: int, starts: list[Start], line: list[Step]) -> PlannedWay:
    (way,) = ways_to(Version(version), starts, line, RATES)
    return way


def fetched(way: PlannedWay) -> list[Version]:
    """Return of what something is fetched, the start first."""
    steps = [step.version for step in way.steps if step.fetch_bytes]
    return [way.start.version, *steps] if way.start.fetch_bytes else steps


def test_a_chain_from_what_is_here_fetches_its_deltas_and_writes_once() -> None:
    way = only(42, [start(Way.CHAIN, 40)], steps(38, 45, apply_bytes=GIB))
    assert [each.version for each in way.steps] == [41, 42]
    assert fetched(way) == [41, 42]
    assert (way.fetch_bytes, way.apply_bytes, way.make_bytes) == (2 * SMALL, 2 * GIB, FULL)
    assert way.predicted_s == pytest.approx(0.8 + 1.0 + 2048 / 500 + 0.5 + 4096 / 200)


def test_what_is_here_already_is_not_fetched() -> None:
    way = only(42, [start(Way.CHAIN, 40)], steps(41, 42, fetch_bytes=0))
    assert (fetched(way), way.fetch_bytes) == ([], 0)


def test_a_copy_of_the_wanted_version_is_fetched_as_it_is() -> None:
    way = only(42, [start(Way.COPY, 42, FULL)], steps(41, 42))
    assert (way.steps, fetched(way)) == ((), [42])
    assert (way.apply_bytes, way.make_bytes) == (0, 0)
    assert way.predicted_s == pytest.approx(4096 / 100 + 0.5)


def test_what_is_here_in_full_is_only_written_where_it_is_wanted() -> None:
    way = only(42, [start(Way.CHAIN, 42)], [])
    assert (way.fetch_bytes, way.apply_bytes, way.make_bytes) == (0, 0, FULL)


def test_one_version_behind_the_chain_is_fastest_and_sixty_four_behind_a_copy_is() -> None:
    copy = start(Way.COPY, 100, FULL)
    for behind, way in ((1, Way.CHAIN), (64, Way.COPY)):
        held = start(Way.CHAIN, 100 - behind)
        found = ways_to(Version(100), [copy, held], steps(37, 100), RATES)
        assert found[0].start.way is way
        assert len(found) == 2


def test_a_full_version_on_the_way_shortens_the_chain() -> None:
    found = ways_to(
        Version(100),
        [start(Way.CHAIN, 36), start(Way.FULL, 98, FULL)],
        steps(37, 100),
        RATES,
    )
    assert [(way.start.way, len(way.steps)) for way in found] == [(Way.FULL, 2), (Way.CHAIN, 64)]


def test_what_is_not_on_the_line_leads_nowhere() -> None:
    line = [*steps(41, 42), Step(Version(39), Version(38), FULL)]
    for version in (38, 39, 43):
        assert ways_to(Version(42), [start(Way.CHAIN, version)], line, RATES) == ()


def test_a_step_on_itself_ends_the_line() -> None:
    line = [Step(Version(42), Version(42), FULL)]
    assert len(ways_to(Version(42), [start(Way.CHAIN, 42)], line, RATES)) == 1


def test_of_two_as_fast_the_one_that_fetches_less_goes_first() -> None:
    free = Rates(math.inf, math.inf, math.inf, 0, 0)
    found = ways_to(
        Version(42),
        [start(Way.COPY, 42, FULL), start(Way.CHAIN, 41)],
        steps(42, 42),
        free,
    )
    assert [way.start.way for way in found] == [Way.CHAIN, Way.COPY]


def test_ways_are_said_for_people() -> None:
    way = only(42, [start(Way.CHAIN, 40)], steps(41, 42))
    assert way.text == (
        "from 40 that is here and 2 deltas on it: "
        "80 MiB to fetch, 8 GiB to apply, 4 GiB to write, about 39s"
    )
    assert only(42, [start(Way.FULL, 41, 8)], steps(42, 42)).text.startswith(
        "from 41 in full and 1 delta on it: "
    )
    assert only(42, [start(Way.COPY, 42, FULL)], []).text == (
        "from a peer's copy of 42: 4 GiB to fetch, about 41s"
    )


def test_rates_are_learned_from_what_was_measured() -> None:
    rates = RATES.with_fetched(100 * MIB, 1, 1.5).with_applied(500 * MIB, 2, 1.5)
    assert rates.fetch_bytes_per_s == pytest.approx(RATES.fetch_bytes_per_s)
    assert rates.apply_bytes_per_s == pytest.approx(RATES.apply_bytes_per_s)
    for _ in range(20):
        rates = rates.with_fetched(400 * MIB, 1, 1.5).with_made(50 * MIB, 1.0)
    assert rates.fetch_bytes_per_s == pytest.approx(400 * MIB, rel=0.01)
    assert rates.make_bytes_per_s == pytest.approx(50 * MIB, rel=0.01)


@pytest.mark.parametrize(("size_bytes", "took_s"), [(0, 1.0), (MIB - 1, 1.0), (GIB, 0.0)])
def test_what_says_nothing_of_a_rate_changes_none(size_bytes: int, took_s: float) -> None:
    assert RATES.with_fetched(size_bytes, 1, took_s) == RATES
    assert RATES.with_applied(size_bytes, 1, took_s) == RATES
    assert RATES.with_made(size_bytes, took_s) == RATES


def test_what_each_costs_never_makes_a_rate_endless() -> None:
    rates = RATES.with_fetched(100 * MIB, 64, 1.0)
    assert 100 * MIB < rates.fetch_bytes_per_s < 134 * MIB


def _drawn(draw: Random) -> tuple[list[Start], list[Step], Rates]:
    """Draw a follower 1 to 64 versions behind, the line, and how fast everything really is."""
    behind = draw.choice([1, 2, 5, 10, 30, 64])
    size = int(10 ** draw.uniform(8, 11.5))
    ratio, touched = draw.uniform(3, 100), draw.uniform(0.3, 1)
    line = [
        Step(
            Version(n),
            Version(n - 1),
            int(size * touched),
            int(size / ratio * draw.uniform(0.7, 1.4)),
        )
        for n in range(37, 101)
    ]
    starts = [Start(Way.CHAIN, Version(100 - behind), size)]
    if draw.random() < 0.7:
        starts.append(Start(Way.FULL, Version(draw.randint(36, 99)), size, size))
    if draw.random() < 0.7:
        starts.append(Start(Way.COPY, Version(draw.randint(90, 100)), size, size))
    rates = Rates(
        10 ** draw.uniform(7.5, 9.7),
        10 ** draw.uniform(8.3, 9.3),
        10 ** draw.uniform(8, 9.3),
        draw.uniform(0.05, 1),
        draw.uniform(0, 0.05),
    )
    return starts, line, rates


def _with_noise(rates: Rates, draw: Random) -> Rates:
    """Return rates as somebody measured them: most of them within half and double."""
    noisy = [draw.lognormvariate(0, math.log(2) / 2) for _ in range(3)]
    return Rates(
        rates.fetch_bytes_per_s * noisy[0],
        rates.apply_bytes_per_s * noisy[1],
        rates.make_bytes_per_s * noisy[2],
        rates.each_fetch_s * draw.uniform(0.5, 2),
        rates.each_apply_s * draw.uniform(0.5, 2),
    )


def _exact_s(way: PlannedWay, rates: Rates) -> float:
    """Return how long a way really takes, summed up here version by version."""
    seconds = 0.0
    if way.start.fetch_bytes:
        seconds += rates.each_fetch_s + way.start.fetch_bytes / rates.fetch_bytes_per_s
    for step in way.steps:
        seconds += rates.each_fetch_s + step.fetch_bytes / rates.fetch_bytes_per_s
        seconds += rates.each_apply_s + step.apply_bytes / rates.apply_bytes_per_s
    if way.steps or not way.start.fetch_bytes:
        seconds += way.start.size_bytes / rates.make_bytes_per_s
    return seconds


def test_the_fastest_way_is_chosen_in_nine_of_ten_drawn_cases() -> None:
    draw, right, cases = Random(22), 0, 0
    while cases < 1000:
        starts, line, rates = _drawn(draw)
        found = ways_to(Version(100), starts, line, _with_noise(rates, draw))
        if len(found) < 2:
            continue
        cases += 1
        right += min(_exact_s(way, rates) for way in found) == _exact_s(found[0], rates)
    assert right >= 900

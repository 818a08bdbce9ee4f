"""What is expected of sources after blocks of them came coded, or as they are."""

from __future__ import annotations

import pytest

from ckptd.limits import MIB, SECOND
from ckptd.model.ids import CheckpointName, PathId
from ckptd.traffic.coding_outcomes import CameRange, CodingOutcomes

SOURCE, OTHER = PathId("node-b"), PathId("node-c")
NAME, ELSE = CheckpointName("llama"), CheckpointName("else")
SIZE = 16 * MIB


class Outcomes(CodingOutcomes):
    """Of one source: plain blocks come at 16 MiB/s, coded ones at four times that."""

    at_s = 100.0

    def come(
        self,
        name: CheckpointName = NAME,
        *,
        coded: bool,
        base: bool = True,
        chosen: bool | None = None,
        lanes: int = 1,
    ) -> None:
        took_s = 0.25 if coded else 1.0
        sent_bytes = SIZE // 16 if coded else SIZE
        is_chosen = coded if chosen is None else chosen
        self.at_s += took_s
        now, took_ns = int(self.at_s * SECOND), int(took_s * SECOND)
        for _ in range(lanes):
            came = CameRange(coded, SIZE, sent_bytes, took_ns, now, base, is_chosen)
            self.note(SOURCE, name, came)


@pytest.fixture
def outcomes() -> Outcomes:
    found = Outcomes()
    found.come(coded=False)
    found.come(coded=True)
    return found


def test_what_came_coded_comes_so_again_at_the_rate_that_is_known(outcomes: Outcomes) -> None:
    assert outcomes.factors(NAME, {SOURCE}) == {}
    expected = outcomes.expected(SOURCE, NAME, has_base=True)
    assert expected is not None
    assert expected.sentence() == "coded as last time, 4.0 times as fast, 16.0 times shorter"


def test_what_has_no_base_or_is_of_another_checkpoint_comes_as_plain_blocks(
    outcomes: Outcomes,
) -> None:
    assert outcomes.factors(NAME, ()) == {SOURCE: 1 / 4}
    assert outcomes.factors(ELSE, {SOURCE}) == {SOURCE: 1 / 4}
    assert outcomes.expected(SOURCE, ELSE, has_base=True) is None
    assert outcomes.shown_gains() == {SOURCE: 4.0}


def test_what_has_no_base_comes_as_what_had_none_whatever_it_is_of(outcomes: Outcomes) -> None:
    outcomes.come(ELSE, coded=True, base=False)
    assert outcomes.factors(CheckpointName("third"), ()) == {}
    assert outcomes.factors(CheckpointName("third"), {SOURCE}) == {SOURCE: 1 / 4}


def test_a_rate_of_plain_blocks_is_surpassed_by_what_comes_coded_again(outcomes: Outcomes) -> None:
    outcomes.come(ELSE, coded=False)
    assert outcomes.factors(NAME, {SOURCE}) == {SOURCE: 4.0}
    assert outcomes.factors(NAME, {OTHER}) == {}
    outcomes.come(coded=False, chosen=False)  # plain blocks turned out to be faster
    assert outcomes.factors(NAME, {SOURCE}) == {}
    assert outcomes.expected(SOURCE, NAME, has_base=True) is None


def test_measuring_the_other_way_again_does_not_change_what_is_expected(
    outcomes: Outcomes,
) -> None:
    outcomes.come(coded=False, chosen=True, lanes=3)
    assert outcomes.factors(NAME, {SOURCE}) == {}
    assert outcomes.shown_gains() == {SOURCE: 4.0}


def test_several_connections_bring_more_in_the_same_time() -> None:
    outcomes = Outcomes()
    outcomes.come(coded=False)
    outcomes.come(coded=True, lanes=2)
    assert outcomes.shown_gains() == {SOURCE: 8.0}


def test_time_between_recoveries_counts_for_nothing() -> None:
    outcomes = Outcomes()
    outcomes.come(coded=False)
    outcomes.at_s += 3600
    outcomes.come(coded=False)
    outcomes.come(coded=True)
    assert outcomes.shown_gains() == {SOURCE: 4.0}


def test_what_is_remembered_is_bounded(outcomes: Outcomes) -> None:
    for number in range(20):
        outcomes.come(CheckpointName(f"name-{number}"), coded=True)
    assert outcomes.expected(SOURCE, NAME, has_base=True) is None
    assert outcomes.expected(SOURCE, CheckpointName("name-19"), has_base=True) is not None
    came = CameRange(True, SIZE, SIZE, SECOND, SECOND, has_base=True, is_chosen=True)
    for number in range(5000):
        outcomes.note(PathId(f"node-{number}"), NAME, came)
    assert len(outcomes.shown_gains()) < 5000

"""What a node says it has, and how that changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import ProtocolViolation
from ckptd.limits import HOLDING_RUNS_MAX, HOLDINGS_MAX
from ckptd.model import holdings as holdings_module
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import (
    Holding,
    Holdings,
    HoldingsDelta,
    apply_delta,
    delta_between,
    run_count,
)
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version

BLOCK_COUNT = 12
NOTHING = BlockSet()


def holding(number: int, *runs: tuple[int, int], block_count: int = BLOCK_COUNT) -> Holding:
    return Holding(
        checkpoint=CheckpointName("llama/rank-3"),
        version=Version(number),
        digest=Digest(f"{number:064x}"),
        size_bytes=block_count * 1000,
        block_count=block_count,
        blocks=BlockSet(runs),
    )


def at(revision: int, *listed: Holding) -> Holdings:
    return Holdings(NodeId("node-a"), Epoch(5), revision, listed)


def delta(
    *,
    changed: Iterable[Holding] = (),
    grown: Iterable[Holding] = (),
    gone: Iterable[Holding] = (),
) -> HoldingsDelta:
    digests = tuple(each.digest for each in gone)
    return HoldingsDelta(NodeId("node-a"), Epoch(5), 3, 7, tuple(changed), tuple(grown), digests)


@pytest.mark.parametrize(
    ("runs", "is_complete"),
    [
        ((), False),
        (((0, 11),), False),
        (((0, 1), (2, 12)), False),
        (((1, 12),), False),
        (((0, 12),), True),
    ],
)
def test_a_holding_is_complete_with_every_block(
    runs: tuple[tuple[int, int], ...], is_complete: bool
) -> None:
    assert holding(1, *runs).is_complete is is_complete


def test_a_version_without_blocks_is_held_completely() -> None:
    assert holding(1, block_count=0).is_complete


def test_only_partial_holdings_have_runs_to_list() -> None:
    assert run_count([holding(1, (0, 1), (2, 3)), holding(2, (0, 12)), holding(3)]) == 2


class TestDeltaBetween:
    def test_what_is_the_same_is_not_in_it(self) -> None:
        same = holding(1, (0, 3))
        assert delta_between(at(3, same), at(7, replace(same))) == delta()

    @pytest.mark.parametrize("came", [(3, 4), (8, 9), (9, 10), (4, 5)])
    def test_of_what_grew_only_the_new_blocks_are_in_it(self, came: tuple[int, int]) -> None:
        old, new = holding(1, (0, 3), (6, 8)), holding(1, (0, 3), (6, 8), came)
        assert delta_between(at(3, old), at(7, new)) == delta(grown=[holding(1, came)])

    def test_what_became_complete_is_said_in_one_word(self) -> None:
        new = holding(1, (0, 12))
        assert delta_between(at(3, holding(1, (0, 3))), at(7, new)) == delta(changed=[new])

    @pytest.mark.parametrize(
        "new",
        [
            holding(1, (1, 3)),
            holding(1),
            replace(holding(1, (0, 3)), checkpoint=CheckpointName("other")),
            replace(holding(1, (0, 5)), size_bytes=1),
        ],
        ids=["less", "nothing", "another name", "another size"],
    )
    def test_what_changed_otherwise_is_in_it_whole(self, new: Holding) -> None:
        old = holding(1, (0, 3))
        assert delta_between(at(3, old), at(7, new)) == delta(changed=[new])

    def test_filling_many_gaps_is_said_by_what_came_of_it(self) -> None:
        old, new = holding(1, (0, 1), (2, 3), (4, 5)), holding(1, (0, 5))
        assert delta_between(at(3, old), at(7, new)) == delta(changed=[new])

    def test_what_came_and_what_went(self) -> None:
        came, went = holding(1, (0, 12)), holding(2, (0, 3))
        assert delta_between(at(3, went), at(7, came)) == delta(changed=[came], gone=[went])


class TestApplyDelta:
    def test_blocks_are_added_and_the_rest_stays(self) -> None:
        other = holding(2, (0, 12))
        found = apply_delta(
            at(3, holding(1, (0, 3)), other), delta(grown=[holding(1, (3, 4), (8, 9))])
        )
        assert found == at(7, holding(1, (0, 4), (8, 9)), other)

    @pytest.mark.parametrize(
        "known",
        [
            replace(at(3), revision=2),
            replace(at(3), revision=7),
            replace(at(3), epoch=Epoch(6)),
            replace(at(3), node=NodeId("node-b")),
        ],
    )
    def test_a_delta_of_another_state_does_not_fit(self, known: Holdings) -> None:
        with pytest.raises(ProtocolViolation):
            apply_delta(known, delta())

    @pytest.mark.parametrize(
        "change",
        [
            delta(gone=[holding(2)]),
            delta(gone=[holding(1), holding(1)]),
            delta(grown=[holding(2, (3, 4))]),
            delta(grown=[holding(1, (3, 4))], gone=[holding(1)]),
            delta(grown=[replace(holding(1, (3, 4)), version=Version(9))]),
            delta(grown=[replace(holding(1, (3, 4)), size_bytes=1)]),
            delta(grown=[holding(1, (3, 4), block_count=11)]),
        ],
    )
    def test_a_change_of_what_is_not_there_does_not_fit(self, change: HoldingsDelta) -> None:
        with pytest.raises(ProtocolViolation):
            apply_delta(at(3, holding(1, (0, 3))), change)

    def test_nobody_holds_more_than_the_whole_may_say(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert (HOLDINGS_MAX, HOLDING_RUNS_MAX) == (10_000, 65_536)
        monkeypatch.setattr(holdings_module, "HOLDINGS_MAX", 2)
        monkeypatch.setattr(holdings_module, "HOLDING_RUNS_MAX", 3)
        known = at(3, holding(1, (0, 1)), holding(2, (0, 1)))
        for fits in (
            delta(grown=[holding(1, (3, 4))]),
            delta(changed=[holding(3)], gone=[holding(1)]),
        ):
            apply_delta(known, fits)
        for is_too_much in (
            delta(grown=[holding(1, (3, 4), (5, 6))]),
            delta(changed=[holding(3)]),
        ):
            with pytest.raises(ProtocolViolation, match="more than a node may hold"):
                apply_delta(known, is_too_much)


RUNS = st.lists(
    st.integers(0, BLOCK_COUNT - 1).flatmap(
        lambda start: st.tuples(st.just(start), st.integers(start + 1, BLOCK_COUNT))
    ),
    max_size=4,
)
LISTED = st.dictionaries(st.integers(0, 4), RUNS, max_size=4).map(
    lambda found: [holding(number, *runs) for number, runs in found.items()]
)


@given(LISTED, LISTED)
def test_applying_what_lies_between_leads_to_the_later_state(
    old: list[Holding], new: list[Holding]
) -> None:
    jobs = ((CheckpointName("llama"), Version(len(new))),)
    later = replace(at(7, *new), recovering=jobs, placed=jobs, keeps=("llama*",), is_full=bool(old))
    change = delta_between(at(3, *old), later)
    found = apply_delta(at(3, *old), change)
    assert (found.recovering, found.placed) == (jobs, jobs)
    assert (found.keeps, found.is_full) == (("llama*",), bool(old))
    assert found.revision == 7
    assert {each.digest: each for each in found.holdings} == {each.digest: each for each in new}
    assert len(found.holdings) == len(new)
    said = run_count([*change.changed, *change.grown])
    assert said <= run_count(new)


@pytest.mark.parametrize(
    ("runs", "optional", "is_whole"),
    [
        (((0, 12),), (), True),
        (((0, 11),), (), False),
        (((0, 11),), ((11, 12),), True),
        (((0, 10),), ((9, 11),), False),
        (((2, 12),), ((0, 2), (5, 6)), True),
    ],
)
def test_a_holding_is_whole_without_optional_blocks(
    runs: tuple[tuple[int, int], ...], optional: tuple[tuple[int, int], ...], is_whole: bool
) -> None:
    assert replace(holding(1, *runs), optional=BlockSet(optional)).is_whole is is_whole


def test_runs_of_optional_blocks_are_counted_where_they_are_named() -> None:
    optional = BlockSet([(3, 4), (6, 7)])
    assert run_count([replace(holding(1, (0, 2)), optional=optional)]) == 3
    assert run_count([replace(holding(1, (0, BLOCK_COUNT)), optional=optional)]) == 0

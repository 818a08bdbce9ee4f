"""When the claims of an origin count no more."""

from __future__ import annotations

import pytest

from ckptd.core.options import ManifestOptions
from ckptd.core.state.record.search import Claimant, ManifestSearch
from ckptd.model.ids import Digest, NodeId, Origin, PathId

OPTIONS = ManifestOptions(failed_max=2, unsuited_max=3)
D = [Digest(f"{number:064x}") for number in range(4)]


@pytest.mark.parametrize(
    ("failed", "unsuited", "is_spent"),
    [(0, 0, False), (1, 2, False), (2, 0, True), (0, 3, True), (3, 4, True)],
)
def test_an_origin_has_a_few_chances(failed: int, unsuited: int, *, is_spent: bool) -> None:
    claimant = Claimant(set(D[:failed]), set(D[:unsuited]))
    assert claimant.is_spent(OPTIONS) is is_spent


def test_what_it_missed_is_known_by_content() -> None:
    claimant = Claimant({D[0]}, {D[1]})
    assert [claimant.has_missed(digest) for digest in D] == [True, True, False, False]


def test_what_came_of_claims_outlives_the_choice_of_a_version() -> None:
    search = ManifestSearch(give_way_at_ns=1, tried={PathId(NodeId("a"))}, rounds=1, replaced=2)
    search.unsigned_by.add(PathId(NodeId("a")))
    search.claimant(Origin("x")).failed.add(D[0])
    search.given_way = 3
    search.start_over()
    assert search == ManifestSearch(claimants={Origin("x"): Claimant({D[0]})}, given_way=3)
    assert search.claimant(Origin("x")) is search.claimants[Origin("x")]


def test_a_question_that_was_dropped_is_awaited_no_more() -> None:
    a, b = PathId(NodeId("a")), PathId(NodeId("b"))
    search = ManifestSearch(asked={a: D[0], b: D[1]}, dropped={b})
    assert search.is_awaited(D[0])
    assert not search.is_awaited(D[1]), "its end comes, and nobody waits for it"
    assert not search.is_awaited(None)
    search.asked[None] = D[1]
    assert search.is_awaited(D[1])

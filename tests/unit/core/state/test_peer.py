"""What a peer has of a version."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckptd.core.state.peer import Peer, of_version, once_for_each_node
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Epoch, Version
from tests.support.scheduling import LLAMA, A, B, blocks, further_path, holding, saved

VERSION, OTHER = saved(4), saved(5)


def test_it_has_what_it_said_it_has_and_nothing_of_a_version_that_is_not_chosen() -> None:
    held = holding(VERSION)
    peer = Peer(A, Epoch(1), holdings={VERSION.digest: held})
    assert peer.holding_of(VERSION.digest) == held
    assert peer.holding_of(OTHER.digest) is None
    assert peer.holding_of(None) is None


def test_a_node_holds_a_version_once_however_many_paths_lead_to_it() -> None:
    part, other = holding(VERSION, blocks((0, 2))), holding(VERSION, blocks((1, 3)))
    first, further = Peer(A, Epoch(1)), Peer(A, Epoch(1), path=further_path(A, "x"))
    alone, more = Peer(B, Epoch(1)), holding(OTHER)
    said = [(first, part), (alone, part), (further, other), (further, more), (first, more)]
    assert once_for_each_node(said) == [part, holding(VERSION, blocks((0, 3))), more]
    assert once_for_each_node(said[:2]) == [part, part]


def test_a_peer_is_on_the_path_that_has_its_name_unless_it_is_said() -> None:
    first, further = Peer(A, Epoch(1)), Peer(A, Epoch(1), path=further_path(A, "x"))
    assert (first.path, first.origin) == ("a", "a")
    assert (further.node, further.path) == ("a", "a via x")


def versions(holdings: Sequence[Holding]) -> list[int]:
    return [each.version for each in holdings]


def test_what_it_has_of_a_checkpoint_is_known_by_age() -> None:
    said = [holding(saved(1, version=number)) for number in (3, 9, 5)]
    other = holding(saved(1, checkpoint="other"))
    peer = Peer(A, Epoch(1), holdings={each.digest: each for each in (*said, other)})
    assert versions(peer.newest_first(LLAMA)) == [9, 5, 3]
    assert peer.newest_first(LLAMA) is peer.newest_first(LLAMA), "sorted once"
    peer.withdraw(said[2].digest)
    assert versions(peer.newest_first(LLAMA)) == [9, 3]
    peer.withdraw(said[1].digest, BlockSet.single(0))
    assert versions(peer.newest_first(LLAMA)) == [3]
    peer.withdraw(said[1].digest)
    peer.holdings = {said[1].digest: said[1]}
    assert versions(peer.newest_first(LLAMA)) == [9]
    assert peer.newest_first(other.checkpoint) == ()


def test_a_part_that_is_withdrawn_shows_in_that_order_too() -> None:
    held = holding(saved(4))
    peer = Peer(A, Epoch(1), holdings={held.digest: held})
    assert peer.newest_first(LLAMA) == (held,)
    peer.withdraw(held.digest, BlockSet.single(0))
    [left] = peer.newest_first(LLAMA)
    assert list(left.blocks) == [1, 2, 3]


@pytest.mark.parametrize(
    ("version", "behind", "count"),
    [(5, 0, 2), (5, 1, 2), (5, 2, 1), (5, 9, 0), (4, 0, 0), (9, 0, 1)],
)
def test_of_those_some_are_of_a_version(version: int, behind: int, count: int) -> None:
    sizes = ((9, 1), (5, 1), (5, 2), (3, 1))
    held = [holding(saved(size, version=number)) for number, size in sizes]
    found = of_version(held, Version(version), behind=behind)
    assert versions(found) == [version] * count

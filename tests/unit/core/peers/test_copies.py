"""Which claims of peers count when a node wants to let a version go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.options import TrustOptions
from ckptd.core.peers.copies import copies_of, has_all, is_recovered, parts_of
from ckptd.core.state.doubts import DoubtedUnit, Doubts
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import CheckpointName, Epoch, NodeId, Origin, PathId, Version
from tests.support.scheduling import A, B, C, blocks, holding, saved

VERSION, OTHER = saved(8), saved(3)
OWN = holding(VERSION)
NOW = 1000
TRUST = TrustOptions()


def peer(node: NodeId, held: BlockSet | None = None, **fields: object) -> Peer:
    return Peer(node, Epoch(1), holdings={VERSION.digest: holding(VERSION, held)}, **fields)  # type: ignore[arg-type]


def copies(*peers: Peer) -> tuple[str, ...]:
    return copies_of(State(peers={each.path: each for each in peers}), OWN, TRUST, now=NOW)


def test_each_live_node_that_has_all_of_it_counts() -> None:
    without = Peer(C, Epoch(1), holdings={OTHER.digest: holding(OTHER)})
    assert copies(peer(B), peer(A), without) == (A, B)
    assert copies(peer(A, is_live=False)) == ()
    assert copies(peer(A, blocks((0, 7)))) == ()


def test_what_is_optional_is_what_this_node_knows_and_not_what_the_other_one_says() -> None:
    required = replace(OWN, optional=blocks((6, 8)))
    said = holding(VERSION, blocks((0, 6)))
    assert has_all(said, required)
    liar = replace(holding(VERSION, BlockSet()), optional=blocks((0, 8)))
    assert not has_all(liar, OWN)
    assert not has_all(replace(OWN, block_count=9), OWN)


def test_who_is_in_quarantine_or_sent_bad_blocks_too_often_does_not_count() -> None:
    liar = peer(A)
    liar.standing.quarantined_until_ns = NOW + 1
    assert copies(liar, peer(B)) == (B,)
    liar.standing.quarantined_until_ns = NOW
    assert copies(liar, peer(B)) == (A, B)
    liar.standing.doubts[OTHER.digest] = Doubts(strikes=TRUST.strikes_max)
    assert copies(liar, peer(B)) == (B,)


def test_who_sent_a_bad_block_of_it_counts_again_when_that_came_rightly() -> None:
    doubted, unit = peer(A), DoubtedUnit(BlockRun(0, 8), is_critical=False)
    doubted.standing.doubts[VERSION.digest] = Doubts({0: unit})
    assert copies(doubted) == (A,)
    unit.bad = blocks((1, 2))
    assert copies(doubted) == ()
    unit.bad, unit.is_unproven = BlockSet(), True
    assert copies(doubted) == ()


def test_a_node_on_two_paths_and_an_origin_with_two_names_count_once() -> None:
    further = peer(A, path=PathId(f"{A} 2"))
    assert copies(peer(A), further) == (A,)
    one, other = peer(A, origin=Origin("entry")), peer(B, origin=Origin("entry"))
    assert copies(one, other) == (A,)


def test_who_has_a_part_recovers_it() -> None:
    peers = [peer(A, blocks((0, 3))), peer(B), peer(C, blocks((0, 2)), is_live=False)]
    assert parts_of(State(peers={each.path: each for each in peers}), OWN) == {A: 3}


@pytest.mark.parametrize(
    ("is_live", "version", "expected"), [(True, 7, True), (False, 7, False), (True, 8, False)]
)
def test_who_says_that_it_recovers_a_version_of_a_job(
    is_live: bool, version: int, expected: bool
) -> None:
    job = CheckpointName("llama")
    other = Peer(A, Epoch(1), is_live, recovering=((job, Version(7)),))
    assert is_recovered(State(peers={A: other}), job, Version(version)) is expected

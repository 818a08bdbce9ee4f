"""What peers have of a joined version, against a map made of all they say."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.peers.joined_holdings import join_holdings
from ckptd.core.state.peer import Peer
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, Epoch, Version
from ckptd.model.joint import Joint, Member
from tests.support.jobs import JOB, all_shards
from tests.support.scheduling import A, holding

SHARDS = all_shards(3, 2, 3)
JOINT = Joint(JOB, Version(100), [Member(each.digest, each.space.manifest) for each in SHARDS])
J = Digest("f" * 64)


@st.composite
def said(draw: st.DrawFn) -> dict[Digest, Holding]:
    found = {}
    for shard in SHARDS:
        if draw(st.booleans()):
            blocks = draw(st.sets(st.integers(0, shard.space.block_count - 1)))
            if draw(st.booleans()):
                blocks = set(shard.blocks)
            found[shard.digest] = holding(shard, BlockSet((at, at + 1) for at in blocks))
    return found


def expected(holdings: Mapping[Digest, Holding]) -> BlockSet:
    return union(JOINT.from_member(digest, each.blocks) for digest, each in holdings.items())


@given(st.lists(said(), min_size=1, max_size=6))
def test_it_has_what_its_shards_are_however_it_came_to_have_them(
    reports: list[dict[Digest, Holding]],
) -> None:
    peer = Peer(A, Epoch(1))
    for holdings in reports:
        before, peer.holdings = peer.holdings, dict(holdings)
        peer.joined.clear()
        join_holdings(peer, J, JOINT, before)
        joined = peer.holdings.get(J)
        assert (joined is None) == (not holdings)
        if joined is not None:
            assert joined.blocks == expected(holdings)
            assert (joined.checkpoint, joined.version) == (JOB, 100)
            assert (
                joined.is_complete
                == all(
                    each.digest in holdings and holdings[each.digest].is_complete for each in SHARDS
                )
                or len(joined.blocks) == JOINT.space.block_count
            )
        assert list(peer.said) == list(holdings.values())


def test_who_has_whole_shards_fetches_no_more_and_who_has_part_of_one_does() -> None:
    first, second, _ = SHARDS
    peer = Peer(A, Epoch(1))
    for held, is_growing in (
        ([holding(first)], False),
        ([holding(first), holding(second)], False),
        ([holding(first), holding(second, BlockSet.full(1))], True),
        ([holding(first, BlockSet())], True),
        ([holding(each) for each in SHARDS], False),
    ):
        peer.holdings = {each.digest: each for each in held}
        join_holdings(peer, J, JOINT)
        assert peer.holdings[J].is_growing is is_growing


def test_what_says_it_is_complete_and_is_of_another_length_has_what_it_lists() -> None:
    peer = Peer(A, Epoch(1))
    first = SHARDS[0]
    short = Holding(first.checkpoint, first.version, first.digest, 1, 1, BlockSet.full(1))
    peer.holdings = {first.digest: short}
    join_holdings(peer, J, JOINT)
    assert peer.holdings[J].blocks == JOINT.from_member(first.digest, BlockSet.full(1))


def test_what_is_joined_is_no_version_of_a_checkpoint_that_goes_by_the_jobs_name() -> None:
    peer = Peer(A, Epoch(1))
    peer.holdings = {each.digest: holding(each) for each in SHARDS}
    join_holdings(peer, J, JOINT)
    assert peer.holdings[J].is_complete
    assert peer.newest_first(JOB) == ()
    assert len(list(peer.said)) == len(SHARDS)

"""Blocks that lie on this node already come from its own disks, beside the peers."""

from __future__ import annotations

from ckptd.core.effects import CloseLane, CommitBlocks, EndRecovery, FetchRange
from ckptd.core.events import (
    BlocksCommitted,
    HoldingsArrived,
    RateLearned,
    StagingPrepared,
    VersionPlaced,
)
from ckptd.limits import COPIED_PER_FETCHED, KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import OWN_DISKS, NodeId, PathId
from ckptd.model.words import CloseReason, RangeOutcome, RateOrigin, Result, StoryKind, Verdict
from tests.support.scheduling import (
    NO_COMMITS,
    R2,
    A,
    B,
    R,
    Saved,
    Script,
    adjusted,
    blocks,
    holding,
    holds,
    ranges,
    saved,
    whom,
)

AT_ONCE = adjusted(NO_COMMITS, ranges={"disk_patience_ns": 0})
"""Peers of unknown rate are tried wherever the disks have anything left."""


def start(
    script: Script, version: Saved, nearby: BlockSet, *peers: NodeId | HoldingsArrived
) -> list[FetchRange]:
    return ranges(script.start(version, *peers, nearby=nearby))


def take_all(script: Script, *, ms: dict[PathId, int], block_bytes: int = MIB) -> dict[PathId, int]:
    """Let every source deliver each range in so many milliseconds; return the bytes of each."""
    brought: dict[PathId, int] = {}
    while script.in_flight:
        due = {order.transfer: ms[order.source] for order in script.in_flight}
        order = min(script.in_flight, key=lambda each: (due[each.transfer], each.transfer))
        size_bytes = (order.blocks.end - order.blocks.start) * block_bytes
        brought[order.source] = brought.get(order.source, 0) + size_bytes
        script.deliver(order, after_ms=ms[order.source])
    return brought


def test_what_is_nearby_is_asked_of_the_disks_and_the_rest_of_the_peers() -> None:
    orders = start(Script(), saved(16), blocks((0, 12)), A)
    assert {order.source for order in orders} == {OWN_DISKS, A}
    for order in orders:
        is_nearby = BlockSet((order.blocks,)).issubset(blocks((0, 12)))
        assert is_nearby == (order.source == OWN_DISKS)


def test_a_recovery_needs_no_peer_for_what_its_disks_have() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    script.tell(holds(A, holding(version, version.blocks)))
    start(script, version, version.blocks, A)
    assert set(take_all(script, ms={OWN_DISKS: 2, A: 2})) == {OWN_DISKS}
    view = script.view()
    assert (view.reused_bytes, view.local_bytes, view.received_bytes) == (16 * MIB, 16 * MIB, 0)
    assert not any(view.wasted_bytes.values())
    script.wait(5_000)
    script.tell(BlocksCommitted(R))
    [end] = [each for each in script.tell(VersionPlaced(R)) if isinstance(each, EndRecovery)]
    assert (end.result, end.final.reused_bytes) == (Result.COMPLETE, 16 * MIB)
    assert not script.scheduler.inspect().own_disks.holdings, "they are no source any more"


def test_copies_are_committed_in_larger_pieces() -> None:
    options = adjusted(NO_COMMITS, ranges={"bytes_first": 32 * MIB}, commits={"bytes_due": 2 * MIB})
    script, version = Script(options=options), saved(64)
    [order, *_] = start(script, version, version.blocks, A)
    upto = 2 * COPIED_PER_FETCHED
    assert order.blocks.end - order.blocks.start >= upto
    script.arrive(order, 1)
    commits = [each for each in script.arrive(order, upto - 1) if isinstance(each, CommitBlocks)]
    assert commits == []
    assert CommitBlocks(R, blocks((0, upto))) in script.arrive(order, upto)


def test_peers_that_are_not_much_faster_are_not_asked_for_it() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    start(script, version, blocks((0, 60)), A, B)
    brought = take_all(script, ms={OWN_DISKS: 10, A: 10, B: 10})
    assert brought[OWN_DISKS] == 60 * MIB


def test_peers_that_are_much_faster_help_with_it() -> None:
    script, version = Script(options=NO_COMMITS), saved(1024)
    start(script, version, blocks((0, 960)), A, B)
    brought = take_all(script, ms={OWN_DISKS: 400, A: 5, B: 5})
    assert brought[OWN_DISKS] < 480 * MIB
    assert sum(brought.values()) >= 1024 * MIB


def test_peers_that_help_do_so_to_the_end() -> None:
    """Else the last second of the disks' work would be waited for."""
    script, version = Script(options=NO_COMMITS), saved(1024)
    start(script, version, blocks((0, 960)), A, B)
    left_after: list[bool] = []
    while script.in_flight:
        order = min(script.in_flight, key=lambda each: (each.source == OWN_DISKS, each.transfer))
        script.deliver(order, after_ms=400 if order.source == OWN_DISKS else 5)
        left_after.append(bool(script.recovery().coverage.left_to_disks))
    assert False in left_after, "they help"
    assert not any(left_after[left_after.index(False) :])


def test_peers_of_unknown_rate_are_tried_only_where_the_disks_need_long() -> None:
    for options, is_tried in ((NO_COMMITS, False), (AT_ONCE, True)):
        script, version = Script(options=options), saved(256)
        [order] = start(script, version, version.blocks, A)
        script.deliver(order, after_ms=20)
        [order, *_] = script.in_flight
        more = ranges(script.deliver(order, after_ms=100))
        assert (A in {each.source for each in more}) == is_tried


def test_a_block_that_is_wrong_on_the_disks_is_fetched_and_nobody_is_blamed() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    [order] = start(script, version, version.blocks, A)
    more = script.arrive(order, rejected=(order.blocks.start,), after_ms=5)
    bad = (order.blocks.start, order.blocks.start + 1)
    assert (A, bad) in whom(more)
    assert script.view_source(A).trust == 0
    assert script.recovery().story.entries[-1].kind is StoryKind.BAD_BLOCKS
    script.end(order)
    brought = take_all(script, ms={OWN_DISKS: 5, A: 5})
    assert script.recovery().coverage.verified == version.blocks
    assert brought[A] == MIB
    assert script.view().bad_blocks == 0, "none was sent"


def test_what_is_gone_from_the_disks_is_fetched() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    [order] = start(script, version, version.blocks, A)
    script.end(order, RangeOutcome.NOT_HELD, after_ms=5)
    brought = take_all(script, ms={OWN_DISKS: 5, A: 5})
    assert brought[A] == (order.blocks.end - order.blocks.start) * MIB
    assert script.recovery().coverage.verified == version.blocks


def test_what_is_gone_is_fetched_also_if_the_lane_was_closed_meanwhile() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    [order] = start(script, version, version.blocks, A)
    closed = [each for each in script.wait(60_000) if isinstance(each, CloseLane)]
    assert OWN_DISKS in {each.source for each in closed}
    script.end(order, RangeOutcome.NOT_HELD)
    gone = BlockSet.of_run(order.blocks)
    assert not script.recovery().coverage.nearby & gone


def test_a_block_that_only_the_disks_had_and_that_is_wrong_is_not_read_again() -> None:
    script, version = Script(options=NO_COMMITS), saved(4)
    [order] = start(script, version, version.blocks, holds(A, holding(version, blocks((1, 4)))))
    assert order.blocks.start == 0
    script.arrive(order, rejected=(0,), after_ms=5)
    script.end(order)
    take_all(script, ms={OWN_DISKS: 5, A: 5})
    assert ranges(script.wait(10_000)) == []
    assert script.view().missing_blocks == 1


def test_where_the_disks_fall_silent_peers_take_over() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    start(script, version, version.blocks, A)
    effects = script.wait(60_000)
    closed = [(each.source, each.reason) for each in effects if isinstance(each, CloseLane)]
    assert (OWN_DISKS, CloseReason.SILENT) in closed
    assert A in {each.source for each in ranges(effects)}


def test_disks_go_on_after_a_slow_beginning_though_a_peer_is_known_to_be_fast() -> None:
    """Else they would be passed over for the peer, and the peer not be asked."""
    script = Script(options=NO_COMMITS)
    version = saved(11, critical=[1], block_size_bytes=64 * KIB)
    script.tell(RateLearned(A, 1e9, None, 0, RateOrigin.RECOVERY, is_sound=True))
    start(script, version, version.blocks - blocks((6, 7)), A)
    take_all(script, ms={OWN_DISKS: 300, A: 1}, block_bytes=64 * KIB)
    assert script.recovery().coverage.verified == version.blocks


def test_what_is_nearby_is_known_again_after_staging_was_prepared_again() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    start(script, version, blocks((0, 8)), A)
    script.tell(StagingPrepared(R, BlockSet(), nearby=blocks((0, 8))))
    assert script.recovery().coverage.left_to_disks == blocks((0, 8))


def test_a_peer_is_no_source_of_what_is_left_to_the_disks_and_explains_it() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    start(script, version, version.blocks, A)
    explanation = script.scheduler.explain(R, now=script.now)
    assert explanation is not None
    parts = {part.path: part for part in explanation.peers}
    assert parts[A].verdict is Verdict.LEFT_TO_DISKS
    assert OWN_DISKS in parts
    assert script.scheduler.sources(now=script.now) == (script.view_source(A),)


def test_two_recoveries_of_one_version_each_have_their_own_nearby_blocks() -> None:
    """Else what only the other one has nearby would be left to disks that are not asked for it."""
    script, version = Script(options=NO_COMMITS), saved(16)
    start(script, version, blocks((0, 8)), A)
    ranges(script.start(version, A, recovery=R2, nearby=blocks((8, 16))))
    take_all(script, ms={OWN_DISKS: 5, A: 5})
    for recovery in (R, R2):
        assert script.recovery(recovery).coverage.verified == version.blocks


def test_what_is_wrong_for_one_recovery_is_not_left_to_the_disks_by_another() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    start(script, version, version.blocks, A)
    script.start(version, recovery=R2, nearby=version.blocks)
    while owed := [order for order in script.in_flight if order.recovery == R]:
        for order in owed:
            bad = [block for block in range(*order.blocks) if block >= 48]
            script.arrive(order, rejected=tuple(bad) if order.source == OWN_DISKS else ())
            script.end(order, after_ms=5)
    take_all(script, ms={OWN_DISKS: 5, A: 5})
    for recovery in (R, R2):
        assert script.recovery(recovery).coverage.verified == version.blocks


def test_what_only_another_recovery_has_nearby_is_missing() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    start(script, version, version.blocks, holds(A, holding(version, blocks((0, 4)))))
    script.start(version, recovery=R2, nearby=blocks((4, 8)))
    assert script.view(R2).missing_blocks == 8

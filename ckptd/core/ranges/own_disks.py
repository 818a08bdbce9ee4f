"""What lies on this node already is left to its own disks, unless others are much faster.

An older version, another place, a file that is to be replaced: blocks of those need not travel.
So peers are not asked for them. But a recovery does not wait for a disk either where the peers
are much faster together: then both work, as two sources do, and each brings what it can.
"""

from __future__ import annotations

from ckptd.core.state.eligibility import may_be_asked
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import MS, SECOND
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding

_JUDGED_EVERY_NS = 100 * MS
"""It costs a look at every peer, and rates are samples of as long."""


def note_nearby(state: State, recovery: Recovery, blocks: BlockSet) -> None:
    """Know which blocks of a recovery, that are not here yet, this node's disks have."""
    recovery.coverage.nearby = recovery.coverage.left_to_disks = blocks
    _settle_holding(state, recovery)


def note_unusable(state: State, recovery: Recovery, blocks: BlockSet) -> None:
    """Take no more from this node's disks what turned out to be wrong there, or gone.

    A disk is no peer: nobody is blamed, and it is not asked a second time.
    """
    recovery.coverage.nearby -= blocks
    recovery.coverage.left_to_disks -= blocks
    _settle_holding(state, recovery)
    if any(held.digest == recovery.digest and blocks.meets(held.blocks) for held in recovery.own):
        recovery.search.own_missed.add(recovery.chosen_digest)


def _settle_holding(state: State, recovery: Recovery) -> None:
    """Let the disks hold what they have for any recovery of a content; each has its own."""
    content, holdings = recovery.content, state.own_disks.holdings
    blocks = union(
        each.coverage.nearby
        for each in (recovery, *state.recoveries.values())
        if each.digest == content.digest
    )
    if not blocks:
        holdings.pop(content.digest, None)
        return
    holdings[content.digest] = Holding(
        checkpoint=recovery.checkpoint,
        version=content.version,
        digest=content.digest,
        size_bytes=content.space.size_bytes,
        block_count=content.space.block_count,
        blocks=blocks,
    )


def is_left_to(recovery: Recovery, source: Peer) -> bool:
    """Return whether a source is this node's disks, and peers are not asked for what they have.

    Then nobody takes that work from them, and they are passed over for nobody.
    """
    return source.is_own and bool(recovery.coverage.left_to_disks)


def leave_to_disks(step: Step, recovery: Recovery) -> None:
    """Settle whether peers are asked for what this node's disks have.

    Peers whose rates are not known yet are tried if the disks would need long for the rest.
    """
    own = step.state.own_disks
    if not recovery.coverage.nearby or not recovery.is_fetching:
        return
    was_left = bool(recovery.coverage.left_to_disks)
    is_left = may_be_asked(recovery, own, now=step.now)
    if is_left and step.now - recovery.swarm.disks_judged_ns < _JUDGED_EVERY_NS:
        return
    if is_left:
        recovery.swarm.disks_judged_ns = step.now
        ratio = step.options.ranges.disk_ratio if was_left else 1.0
        is_left = not _are_peers_faster(step, recovery, ratio=ratio)
    if was_left == is_left:
        return
    recovery.coverage.left_to_disks = recovery.coverage.nearby if is_left else BlockSet()
    if not is_left:
        step.note_room_everywhere()


def _are_peers_faster(step: Step, recovery: Recovery, *, ratio: float) -> bool:
    """Return whether all peers together bring this many times what the disks do."""
    own, options = step.state.own_disks.link.rate, step.options.ranges
    if not own.is_sound:  # they begin in this moment
        return False
    left = recovery.coverage.nearby & recovery.coverage.unclaimed
    left_ns = recovery.content.space.set_bytes(left) * SECOND / own.bytes_per_s
    if recovery.coverage.left_to_disks and left_ns < options.disk_rest_ns:
        return False
    peers_rate, is_unknown = 0.0, False
    for peer in step.state.peers.values():
        if peer.holding_of(recovery.digest) is not None and may_be_asked(
            recovery, peer, now=step.now
        ):
            known = step.state.learned.of(peer.path, peer.link, now=step.now)
            is_unknown = is_unknown or known is None
            peers_rate += known.bytes_per_s if known else 0.0
    if peers_rate:
        return peers_rate >= ratio * own.bytes_per_s
    return is_unknown and left_ns > options.disk_patience_ns

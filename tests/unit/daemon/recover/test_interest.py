from dataclasses import replace
from typing import Any, cast

import pytest

from ckptd.core.peers.listing import ListedPeer
from ckptd.core.report.views import RecoverySnapshot
from ckptd.daemon.recover.interest import Asking, Interest, interests
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, RecoveryId, Version
from ckptd.model.words import PeerState

ADDRESS = ("10.0.0.2", 7421)
OTHER = ("10.0.0.3", 7421)


def digest_of(version: int) -> Digest:
    return Digest(f"{version:064x}")


def holding(version: int, blocks: BlockSet | None = None, name: str = "llama") -> Holding:
    held = BlockSet() if blocks is None else blocks
    return Holding(CheckpointName(name), Version(version), digest_of(version), 100, 4, held)


def peer(
    *holdings: Holding, address: tuple[str, int] = ADDRESS, state: PeerState = PeerState.LIVE
) -> ListedPeer:
    said = Holdings(NodeId("b"), Epoch(1), 1, holdings)
    return ListedPeer(name="b", address=address, state=state, holdings=said)


def recovery(version: int | None = None, **facts: object) -> RecoverySnapshot:
    nothing: dict[str, Any] = dict.fromkeys(RecoverySnapshot.__slots__, 0)
    nothing |= {
        "recovery": RecoveryId("r"),
        "checkpoint": CheckpointName("llama"),
        "version": None if version is None else Version(version),
        "digest": None if version is None else digest_of(version),
        "is_paused": False,
        "waiting_for": "a peer that has a whole version of llama",
        **facts,
    }
    return RecoverySnapshot(**nothing)


def test_who_lists_a_part_of_what_is_waited_for_is_asked() -> None:
    peers = [
        peer(holding(7), holding(8, BlockSet([(0, 3)]))),
        peer(holding(7, BlockSet.full(4)), address=OTHER),
    ]
    assert interests([recovery(7)], peers) == [Interest(ADDRESS, digest_of(7))]
    assert interests([recovery(8)], peers) == [Interest(ADDRESS, digest_of(8))]


def test_without_a_version_the_newest_ones_are_asked_about() -> None:
    listed = peer(*(holding(version) for version in range(9)))
    assert interests([recovery()], [listed]) == [
        Interest(ADDRESS, digest_of(version)) for version in (5, 6, 7, 8)
    ]


@pytest.mark.parametrize(
    "of", [recovery(7, waiting_for=""), recovery(7, is_paused=True), recovery(9)]
)
def test_nobody_is_asked_for_what_nobody_waits_for(of: RecoverySnapshot) -> None:
    assert interests([of], [peer(holding(7))]) == []


@pytest.mark.parametrize("state", [PeerState.UNREACHABLE, PeerState.SELF, PeerState.CONFLICT])
def test_only_live_peers_are_asked(state: PeerState) -> None:
    assert interests([recovery(7)], [peer(holding(7), state=state)]) == []


def test_other_checkpoints_are_none_of_its_business() -> None:
    assert interests([recovery()], [peer(holding(7, name="other"))]) == []


def test_each_is_asked_once_and_all_together_are_bounded() -> None:
    peers = [peer(holding(7), address=("10.0.0.1", port)) for port in range(1, 100)]
    found = interests([recovery(7), recovery(7)], peers)
    assert len(found) == len(set(found)) == 64


def test_it_is_asked_again_only_after_a_while() -> None:
    now_s = [100.0]
    waiting = [recovery(7)]
    asking = Asking(
        lambda: waiting,
        lambda: [peer(holding(7))],
        cast("Any", None),
        clock=lambda: now_s[0],
    )
    assert asking.due() == [Interest(ADDRESS, digest_of(7))]
    now_s[0] += 29.9
    assert asking.due() == []
    now_s[0] += 0.1
    assert asking.due() == [Interest(ADDRESS, digest_of(7))]
    now_s[0] += 60
    waiting[0] = replace(waiting[0], waiting_for="")
    assert asking.due() == []

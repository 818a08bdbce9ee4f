"""What peers claim of a checkpoint, and what may be chosen of it."""

from __future__ import annotations

from dataclasses import replace

from ckptd.core.events import PeerLost
from ckptd.core.stages.claims_on_content import Claimed, claims_on, contents_among
from ckptd.core.state.peer import Peer
from ckptd.model.ids import Digest, Epoch, NodeId
from tests.support.scenes import Scene
from tests.support.scheduling import (
    A,
    B,
    C,
    Saved,
    Script,
    blocks,
    further_path,
    holding,
    holds,
    saved,
)

ONE, OTHER = saved(4, version=100), saved(5, version=100)
OLD = saved(3, version=90)
D = NodeId("d")


def test_what_is_claimed_is_listed_by_content_without_peers_in_quarantine() -> None:
    script = Script()
    other = saved(4, version=100, checkpoint="another")
    script.tell(holds(A, ONE, other), holds(B, OTHER, OLD), holds(C, ONE), holds(D, OTHER))
    script.tell(PeerLost(C))
    peers = script.scheduler.inspect().peers
    peers[D].standing.quarantined_until_ns = script.now + 1
    contents = script.scheduler.contents(ONE.checkpoint, None, now=script.now)
    assert [(rival.digest, rival.nodes) for rival in contents[2:]] == [(OLD.digest, (B,))]
    assert {(rival.digest, rival.nodes, rival.size_bytes) for rival in contents[:2]} == {
        (ONE.digest, (A,), ONE.space.size_bytes),
        (OTHER.digest, (B,), OTHER.space.size_bytes),
    }
    assert contents[0].digest < contents[1].digest
    named = script.scheduler.contents(ONE.checkpoint, OLD.version, now=script.now)
    assert [rival.digest for rival in named] == [OLD.digest]
    later = script.scheduler.contents(ONE.checkpoint, ONE.version, now=script.now + 1)
    assert {rival.nodes for rival in later} == {(A,), (B, D)}


def test_claims_of_the_peers_that_are_trusted_come_with_what_is_here() -> None:
    scene = Scene()
    recovery = scene.recovery(ONE)
    recovery.request = replace(recovery.request, own=(holding(OLD),))
    for node in (A, B):
        scene.peer(node, ONE if node == A else OTHER)
    scene.state.peers[B].standing.quarantined_until_ns = scene.now + 1
    trusted = claims_on(scene.step, recovery, is_reliable=True)
    assert [(each.peer and each.peer.node, each.holding.digest) for each in trusted] == [
        (A, ONE.digest),
        (None, OLD.digest),
    ]
    assert len(claims_on(scene.step, recovery, is_reliable=False)) == 3
    scene.state.peers[B].standing.quarantined_until_ns = scene.now
    assert len(claims_on(scene.step, recovery, is_reliable=True)) == 3
    assert contents_among(recovery, trusted) == ((100, ONE.digest),)


def test_what_was_withdrawn_here_counts_only_where_nothing_else_does() -> None:
    scene = Scene()
    recovery = scene.recovery(ONE)
    withdrawn = frozenset({OLD.digest})
    recovery.request = replace(recovery.request, own=(holding(OLD),), withdrawn=withdrawn)
    assert claims_on(scene.step, recovery, is_reliable=True) == []
    [claimed] = claims_on(scene.step, recovery, is_reliable=False)
    assert (claimed.peer, claimed.holding.digest) == (None, OLD.digest)


def test_only_what_can_be_completed_may_be_asked_for() -> None:
    scene = Scene()
    recovery = scene.recovery(ONE)
    recovery.request = replace(recovery.request, version=ONE.version)
    scene.peer(A, ONE, has=blocks((0, 3)))
    claims = claims_on(scene.step, recovery, is_reliable=True)
    assert contents_among(recovery, claims) == ((100, ONE.digest),)
    assert contents_among(recovery, claims, is_whole=True) == ()


def test_the_contents_of_what_would_be_chosen_come_with_what_is_here() -> None:
    script = Script()
    script.tell(holds(A, ONE, OLD), holds(B, OTHER), holds(C, OTHER))

    def rivals(*own: Saved, wanted: Saved | None = None) -> list[tuple[Digest, int, bool]]:
        found = script.scheduler.rivals_of_choice(
            ONE.checkpoint,
            None if wanted is None else wanted.version,
            None,
            [holding(each) for each in own],
            now=script.now,
        )
        return [(rival.digest, len(rival.nodes), rival.is_own) for rival in found]

    assert rivals() == [(OTHER.digest, 2, False), (ONE.digest, 1, False)]
    assert rivals(ONE) == [
        (digest, len(nodes), digest == ONE.digest)
        for digest, nodes in sorted([(ONE.digest, "A"), (OTHER.digest, "BC")])
    ]
    assert rivals(wanted=OLD) == [(OLD.digest, 1, False)]
    third = saved(7, version=100)
    assert (third.digest, 0, True) in rivals(third)
    script.scheduler.inspect().peers[A].standing.quarantined_until_ns = script.now + 1
    assert rivals() == [(OTHER.digest, 2, False)]


def test_a_claim_that_was_rejected_counts_no_more_and_others_do() -> None:
    scene = Scene()
    recovery = scene.recovery(ONE)
    for node in (A, B):
        scene.peer(node, ONE, OLD, saved(1, checkpoint="another"))
    recovery.rivalry.rejected.add((A, Epoch(1), ONE.digest))
    recovery.rivalry.rejected.add((B, Epoch(2), ONE.digest))
    claims = claims_on(scene.step, recovery, is_reliable=True)
    assert [(each.peer and each.peer.node, each.holding.digest) for each in claims] == [
        (A, OLD.digest),
        (B, ONE.digest),
        (B, OLD.digest),
    ]


def test_of_the_contents_of_a_node_all_holders_are_listed() -> None:
    scene = Scene()
    recovery = scene.recovery(ONE)
    scene.peer(A, ONE)
    scene.peer(B, OTHER)
    scene.peer(C, ONE, OTHER)
    recovery.request = replace(recovery.request, from_node=A, own=(holding(OLD), holding(ONE)))
    claims = claims_on(scene.step, recovery, is_reliable=True)
    assert [(each.peer and each.peer.node, each.holding.digest) for each in claims] == [
        (A, ONE.digest),
        (C, ONE.digest),
        (None, ONE.digest),
    ]


def test_who_names_a_digest_accepts_that_it_is_older() -> None:
    scene = Scene()
    recovery = scene.recovery(ONE)
    scene.peer(A, OLD)
    claims = claims_on(scene.step, recovery, is_reliable=True)
    recovery.request = replace(recovery.request, not_below=ONE.version)
    assert contents_among(recovery, claims) == ()
    recovery.request = replace(recovery.request, digest_prefix=OLD.digest)
    assert contents_among(recovery, claims) == ((90, OLD.digest),)


def test_a_node_counts_once_for_a_content_however_many_paths_lead_to_it() -> None:
    script = Script()
    script.tell(holds(A, ONE), holds(A, ONE, via="x"), holds(A, ONE, via="y"))
    script.tell(holds(B, OTHER), holds(C, OTHER))
    [most, least] = script.scheduler.rivals_of_choice(
        ONE.checkpoint, None, None, [], now=script.now
    )
    assert (most.digest, most.nodes) == (OTHER.digest, (B, C))
    assert (least.digest, least.nodes) == (ONE.digest, (A,))
    said = script.scheduler.said(now=script.now)
    assert said == [(A, (holding(ONE),)), (B, (holding(OTHER),)), (C, (holding(OTHER),))]


def test_content_that_a_node_has_may_be_chosen_whatever_the_path_to_it_is_called() -> None:
    scene = Scene()
    recovery = scene.recovery(ONE)
    recovery.request = replace(recovery.request, from_node=A)
    scene.peer(B, OTHER)
    further = scene.peer(A, ONE)
    further.path = further_path(A, "x")
    claims = claims_on(scene.step, recovery, is_reliable=True)
    assert [each.holding.digest for each in claims] == [ONE.digest]


def test_of_two_contents_the_one_that_more_nodes_have_is_the_better() -> None:
    scene = Scene()
    recovery = scene.recovery(ONE)
    claims = [Claimed(Peer(A, Epoch(1), path=further_path(A, f"{n}")), holding(ONE)) for n in "xyz"]
    claims += [Claimed(Peer(node, Epoch(1)), holding(OTHER)) for node in (B, C)]
    assert contents_among(recovery, claims) == ((100, OTHER.digest), (100, ONE.digest))

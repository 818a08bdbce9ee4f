"""Peers that claim what nobody has, or never finish an answer, beside an honest one."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ckptd.model.manifest import encode_manifest
from ckptd.model.words import PeerState, Result
from ckptd.store.files.hashing import hexdigest_of
from tests.support.cluster import NAME, Cluster, Node, eventually
from tests.support.hostile_peers import HostilePeer, Reply, claims, hostile_peer, inventions
from tests.support.manifests import make_manifest

pytestmark = pytest.mark.integration

LIARS = 4
CLAIMS = 3_000


def manifest_questions(liar: HostilePeer) -> int:
    return len({target for target in liar.requests if target.startswith("/v1/manifests/")})


def receiver_of(cluster: Cluster, honest: Node, liars: list[HostilePeer]) -> Node:
    """Make a node that has heard of all."""
    addresses = [*(liar.address for liar in liars), honest.address]
    receiver = cluster.node("r", peers=addresses)
    eventually(
        lambda: {row.state for row in receiver.client.peers()} == {PeerState.LIVE},
        "every peer answers",
    )
    return receiver


@pytest.mark.parametrize(
    ("answer", "most"),
    [(Reply(b"lies"), 2), (Reply(status=404), 16)],
    ids=["wrong manifests", "no manifests"],
)
def test_thousands_of_versions_that_nobody_has_keep_nobody_from_one_that_somebody_has(
    cluster: Cluster, answer: Reply, most: int
) -> None:
    [honest] = cluster.sources("honest")
    with ExitStack() as stack:
        liars = [
            stack.enter_context(
                hostile_peer({"/v1/holdings": inventions(f"l{index}", NAME, CLAIMS, first=1000)})
            )
            for index in range(LIARS)
        ]
        for liar in liars:
            liar.any_manifest = answer
        receiver = receiver_of(cluster, honest, liars)
        result = receiver.recover(version=None)
        assert (result.result, result.version) == (Result.COMPLETE, 100)
        assert max(map(manifest_questions, liars)) <= most + 6, "some were under way"
        assert receiver.client.peer("honest").quarantines == 0
        explained = receiver.client.explain(result.recovery)
        assert all(row.why for row in explained.passed_over)
        assert explained.passed_over[0].version >= 1000


def test_a_manifest_of_no_use_excludes_its_content_and_the_choice_goes_on(
    cluster: Cluster,
) -> None:
    [honest] = cluster.sources("honest")
    fake = make_manifest({"model": b"invented"}, checkpoint=NAME, version=999)
    junk = b"junk"
    replies = {
        "/v1/holdings": claims("evil", fake, hexdigest_of(junk)),
        f"/v1/manifests/{hexdigest_of(junk)}": Reply(junk),
    }
    with hostile_peer(replies) as liar:
        receiver = receiver_of(cluster, honest, [liar])
        result = receiver.recover(version=None)
        assert (result.result, result.version) == (Result.COMPLETE, 100)
        assert receiver.client.peer("evil").trust == -2
        [passed_over] = receiver.client.explain(result.recovery).passed_over
        assert (passed_over.version, passed_over.why[:8]) == (999, "refused:")


def test_holders_whose_manifests_drip_do_not_hold_a_recovery_up(cluster: Cluster) -> None:
    [honest] = cluster.sources("honest")
    held = honest.client.checkpoints()[0]
    fake = make_manifest({"model": b"held"}, checkpoint=NAME, version=100)
    with ExitStack() as stack:
        liars: list[HostilePeer] = []
        for index in range(LIARS):
            replies = {"/v1/holdings": claims(f"a{index}", fake, held.digest)}
            liars.append(stack.enter_context(hostile_peer(replies)))
            liars[-1].any_manifest = Reply(encode_manifest(fake), drip_s=1.0)
        receiver = receiver_of(cluster, honest, liars)
        result = receiver.recover(version=None)
        assert result.result is Result.COMPLETE, "it took 270 s, which is not waited for"
        assert [manifest_questions(liar) for liar in liars] == [1] * LIARS

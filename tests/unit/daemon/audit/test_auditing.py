"""What is audited, and what comes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.state.doubts import DoubtedUnit, Doubts
from ckptd.daemon.audit import auditing
from ckptd.daemon.audit.audits_seen import AuditsSeen
from ckptd.errors import InvalidManifest, NotFound, NotSigned, Shortage, VerificationFailed
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest
from ckptd.model.words import AuditResult, RangeOutcome, RefusalReason
from ckptd.net.small_answers import TurnedAway
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.audit_records import AuditRecords
from ckptd.store.records.database import Database
from tests.support.auditing import AuditedPeer, AuditingNode
from tests.support.scheduling import LLAMA, OF_A, OF_B, A, B, C, blocks, holding, saved

VERSION = saved(8)
OTHER = saved(8, checkpoint="other")
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def node(database: Database, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> AuditingNode:
    node = AuditingNode(database, catalog, LLAMA)
    monkeypatch.setattr(auditing, "fetch_run", node.fetch_run)
    return node


def is_proven(node: AuditingNode) -> bool:
    return node.proofs.is_proven(A, VERSION.digest, node.script.now)


async def test_of_each_claim_of_a_listed_name_one_block_is_asked_for(node: AuditingNode) -> None:
    for peer in (A, B, C):
        node.hear(peer, VERSION, OTHER)
    asked = await node.audit_due()
    assert [(each.node, each.version) for each in asked] == [(A, 100), (B, 100), (C, 100)]
    assert is_proven(node)
    assert not node.proofs.is_proven(A, OTHER.digest, node.script.now)
    assert len(node.manifests_asked) == 1, "it is opened once for all"
    assert node.auditing.counts == {AuditResult.RIGHT: 3}
    assert await node.audit_due() == []


async def test_what_retention_would_let_go_is_audited_though_it_is_not_listed(
    node: AuditingNode,
) -> None:
    node.hear(A, OTHER)
    assert await node.audit_due() == []
    going: set[Digest] = {OTHER.digest}
    node.auditing.goes = lambda: going
    assert [each.node for each in await node.audit_due()] == [A]
    going.clear()
    node.script.now_ms += DAY_MS
    assert await node.audit_due() == []


async def test_only_what_is_claimed_is_drawn_and_every_block_of_it_may_be(
    node: AuditingNode,
) -> None:
    seen = set()
    for _ in range(60):
        node.versions[VERSION.digest] = VERSION
        node.hear(A, holding(VERSION, blocks((2, 4), (6, 7))))
        node.script.now_ms += DAY_MS
        seen |= {each.block for each in await node.audit_due()}
    assert seen == {2, 3, 6}


async def test_a_wrong_block_is_blamed_and_is_drawn_again(node: AuditingNode) -> None:
    node.peers[A] = AuditedPeer(RangeOutcome.SPOILED, is_wrong=True)
    node.hear(A, VERSION)
    [asked] = await node.audit_due()
    assert not is_proven(node)
    assert [each.origin for each in node.proofs.false_claims()] == [OF_A]
    standing = node.script.scheduler.inspect().peers[A].standing
    [bad] = standing.evidence.last
    assert (bad.unit, bad.block) == ("normal-0", asked.block)
    assert standing.questioned
    node.peers[A] = AuditedPeer()
    node.script.now_ms += DAY_MS
    assert [each.block for each in await node.audit_due()] == [asked.block]
    assert is_proven(node)
    assert not node.script.scheduler.doubted_blocks(A, VERSION.digest)


@pytest.mark.parametrize(
    "outcome", [RangeOutcome.BUSY, RangeOutcome.TURNED_AWAY, RangeOutcome.STORE_FAILED]
)
async def test_who_is_busy_is_asked_later_and_not_blamed(
    node: AuditingNode, outcome: RangeOutcome
) -> None:
    node.hear(A, VERSION)
    assert len(await node.audit_due()) == 1
    node.script.now_ms += DAY_MS
    node.peers[A] = AuditedPeer(outcome)
    assert len(await node.audit_due()) == 1
    assert not is_proven(node), "the day is over"
    assert node.proofs.false_claims() == []
    assert node.script.scheduler.inspect().peers[A].standing.is_clean
    node.peers[A] = AuditedPeer()
    node.script.now_ms += 60_000
    assert len(await node.audit_due()) == 1
    assert is_proven(node)


@pytest.mark.parametrize(
    "outcome", [RangeOutcome.UNREACHABLE, RangeOutcome.CLOSED, RangeOutcome.DISCONNECTED]
)
async def test_who_does_not_answer_is_not_proven(node: AuditingNode, outcome: RangeOutcome) -> None:
    node.peers[A] = AuditedPeer(outcome)
    node.hear(A, VERSION)
    assert len(await node.audit_due()) == 1
    assert not is_proven(node)
    assert node.auditing.counts == {AuditResult.NO_ANSWER: 1}


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (NotFound("manifest", "is not held"), AuditResult.NOT_HELD),
        (VerificationFailed("manifest", "is another one"), AuditResult.WRONG),
        (NotSigned("manifest", "is signed by nobody", is_lie=True), AuditResult.WRONG),
        (NotSigned("manifest", "has no signature"), AuditResult.UNUSABLE),
        (InvalidManifest("manifest", "has the path '../x'"), AuditResult.UNUSABLE),
        (Shortage("manifest", "no memory"), AuditResult.BUSY),
        (TurnedAway(RefusalReason.ADDRESS, 1), AuditResult.BUSY),
        (ConnectionError("gone"), AuditResult.NO_ANSWER),
        (TimeoutError("too slow"), AuditResult.NO_ANSWER),
    ],
)
async def test_a_manifest_that_does_not_come_says_as_much(
    node: AuditingNode, error: Exception, result: AuditResult
) -> None:
    node.peers[A] = AuditedPeer(manifest=error)
    node.hear(A, VERSION)
    assert await node.audit_due() == []
    assert node.auditing.counts == {result: 1}
    assert not is_proven(node)
    trust = node.script.scheduler.inspect().peers[A].standing.trust
    assert (trust < 0) is (result is AuditResult.WRONG)


async def test_who_claims_more_blocks_than_there_are_lies(node: AuditingNode) -> None:
    node.versions[VERSION.digest] = VERSION
    invented = replace(holding(VERSION), block_count=9, blocks=blocks((0, 9)))
    node.hear(A, invented)
    assert await node.audit_due() == []
    assert node.auditing.counts == {AuditResult.WRONG: 1}


async def test_a_version_without_bytes_is_proven_by_its_manifest(node: AuditingNode) -> None:
    bare = saved()
    node.hear(A, bare)
    assert await node.audit_due() == []
    assert node.proofs.is_proven(A, bare.digest, node.script.now)
    assert node.manifests_asked == [A]


async def test_whoever_waits_for_it_has_a_claim_audited_unless_it_was_within_the_day(
    node: AuditingNode,
) -> None:
    node.hear(A, OTHER)
    assert await node.auditing.is_proven(A, holding(OTHER))
    assert await node.auditing.is_proven(A, holding(OTHER))
    assert len(node.asked) == 1
    node.script.now_ms += DAY_MS
    node.peers[A] = AuditedPeer(RangeOutcome.NOT_HELD)
    assert not await node.auditing.is_proven(A, holding(OTHER))
    assert not await node.auditing.is_proven(B, holding(OTHER)), "it claims nothing"


async def test_a_peer_in_quarantine_is_not_audited(node: AuditingNode) -> None:
    node.hear(A, VERSION)
    standing = node.script.scheduler.inspect().peers[A].standing
    standing.quarantined_until_ns = node.script.now + 1
    assert await node.audit_due() == []


async def test_a_block_in_doubt_is_drawn_first(node: AuditingNode) -> None:
    node.hear(A, VERSION)
    unit = DoubtedUnit(BlockRun(5, 6), is_critical=False, bad=BlockSet.single(5))
    node.script.scheduler.inspect().peers[A].standing.doubts[VERSION.digest] = Doubts({0: unit})
    assert [each.block for each in await node.audit_due()] == [5]


async def test_a_restart_audits_nothing_again_that_was_written_down(
    node: AuditingNode, database: Database, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.hear(A, VERSION)
    await node.audit_due()
    await node.proofs.write()
    assert len(await AuditRecords(database).load()) == 1
    again = AuditingNode(database, catalog, LLAMA)
    monkeypatch.setattr(auditing, "fetch_run", again.fetch_run)
    await again.proofs.load()
    again.hear(A, VERSION)
    assert await again.audit_due() == []
    assert is_proven(again)


async def test_what_a_version_consists_of_is_asked_of_whoever_claims_it(
    node: AuditingNode,
) -> None:
    node.peers[A] = AuditedPeer(manifest=ConnectionError("gone"))
    node.hear(A, VERSION)
    node.hear(B, VERSION)
    assert await node.auditing.space_of(LLAMA, VERSION.digest) is VERSION.space
    assert node.manifests_asked == [A, B]
    assert await node.auditing.space_of(OTHER.checkpoint, VERSION.digest) is None


async def test_what_audits_came_to_is_counted(node: AuditingNode) -> None:
    assert node.auditing.seen() == AuditsSeen({}, {}, None, [])
    node.peers[B] = AuditedPeer(RangeOutcome.NOT_HELD)
    node.peers[C] = AuditedPeer(RangeOutcome.BUSY)
    for peer in (A, B, C):
        node.hear(peer, VERSION)
    await node.audit_due()
    node.script.now_ms += 5000
    seen = node.auditing.seen()
    assert seen.counts == dict.fromkeys(
        (AuditResult.RIGHT, AuditResult.NOT_HELD, AuditResult.BUSY), 1
    )
    assert seen.claims == {"proven": 1, "false": 1, "unproven": 1}
    assert seen.oldest_proof_s == 5.0
    assert [each.origin for each in seen.false_claims] == [OF_B]


async def test_nothing_is_audited_by_itself_where_nobody_asked(
    database: Database, catalog: Catalog
) -> None:
    node = AuditingNode(database, catalog)
    node.hear(A, VERSION)
    assert not node.auditing.is_on
    await node.auditing.run()
    assert node.asked == []

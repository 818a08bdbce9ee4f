"""Which claims count as proven, also after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ckptd.daemon.audit import proofs as proofs_module
from ckptd.daemon.audit.proofs import FalseClaim, Proofs
from ckptd.daemon.audit.timetable import HOUR_NS, Audited
from ckptd.errors import StorageError
from ckptd.limits import DAY_S, SECOND
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId, Origin
from ckptd.store.records.audit_records import AuditRecords
from ckptd.store.records.database import Database
from tests.support.scheduling import OF_A, OF_B, A, B, blocks, holding, saved

VERSION = saved(8)
DIGEST = VERSION.digest
START = 100 * HOUR_NS


def right(at_ns: int = START, block_count: int = 8) -> Audited:
    return Audited(at_ns, is_right=True, block_count=block_count)


def wrong(at_ns: int = START) -> Audited:
    return Audited(at_ns, is_right=False, block_count=8)


@dataclass
class Node:
    """Lives of a daemon, and what it hears."""

    database: Database
    now: int = START
    wall_s: float = 1e9
    boot: str = "first"
    claims: dict[NodeId, list[tuple[Origin, Holding]]] = field(
        default_factory=lambda: {A: [(OF_A, holding(VERSION))], B: [(OF_B, holding(VERSION))]}
    )

    def proofs(self) -> Proofs:
        return Proofs(
            AuditRecords(self.database),
            self.claims_of,
            now=lambda: self.now,
            boot=self.boot,
            wall_clock=lambda: self.wall_s,
        )

    def claims_of(self, node: NodeId, digest: Digest) -> list[tuple[Origin, Holding]]:
        assert digest == DIGEST
        return self.claims.get(node, [])


@pytest.fixture
def node(database: Database) -> Node:
    return Node(database)


def test_a_claim_is_proven_for_a_day_by_a_right_block(node: Node) -> None:
    proofs = node.proofs()
    assert not proofs.is_proven(A, DIGEST, START)
    proofs.note((OF_A, DIGEST), right())
    assert proofs.is_proven(A, DIGEST, START)
    assert not proofs.is_proven(B, DIGEST, START)
    assert proofs.is_proven(A, DIGEST, START + 24 * HOUR_NS - 1)
    assert not proofs.is_proven(A, DIGEST, START + 24 * HOUR_NS)


def test_people_see_the_moment_in_unix_time(node: Node) -> None:
    proofs = node.proofs()
    assert proofs.proven_at_s(A, DIGEST) is None
    proofs.note((OF_A, DIGEST), right())
    node.now += HOUR_NS
    assert proofs.proven_at_s(A, DIGEST) == 1e9 - 3600


def test_a_wrong_block_takes_the_proof_away(node: Node) -> None:
    proofs = node.proofs()
    proofs.note((OF_A, DIGEST), right())
    proofs.note((OF_A, DIGEST), wrong())
    assert not proofs.is_proven(A, DIGEST, START)
    node.now += 2 * SECOND
    assert proofs.false_claims() == [FalseClaim(OF_A, DIGEST, 2.0)]
    node.now += 24 * HOUR_NS
    assert proofs.false_claims() == []


def test_who_states_the_id_of_another_one_has_none_of_its_proofs(node: Node) -> None:
    proofs = node.proofs()
    proofs.note((OF_A, DIGEST), right())
    node.claims[A] = [(Origin("10.0.0.9:7421"), holding(VERSION))]
    assert not proofs.is_proven(A, DIGEST, START)


def test_who_claims_more_than_it_was_audited_of_has_shown_nothing(node: Node) -> None:
    proofs = node.proofs()
    proofs.note((OF_A, DIGEST), right(block_count=1))
    assert not proofs.is_proven(A, DIGEST, START)
    node.claims[A] = [(OF_A, holding(VERSION, blocks((0, 1))))]
    assert proofs.is_proven(A, DIGEST, START)


def test_what_is_not_claimed_any_more_is_not_proven(node: Node) -> None:
    proofs = node.proofs()
    proofs.note((OF_A, DIGEST), right())
    del node.claims[A]
    assert not proofs.is_proven(A, DIGEST, START)


async def test_proofs_outlive_a_restart_and_a_reboot(node: Node) -> None:
    before = node.proofs()
    before.note((OF_A, DIGEST), right())
    before.note((OF_B, DIGEST), wrong())
    await before.write()
    node.now += HOUR_NS
    node.wall_s -= DAY_S  # somebody set the clock: within a boot that is no matter
    again = node.proofs()
    await again.load()
    assert again.last((OF_A, DIGEST)) == right()
    assert [each.origin for each in again.false_claims()] == [OF_B]
    node.boot, node.now, node.wall_s = "second", 5 * SECOND, 1e9 + 3600
    rebooted = node.proofs()
    await rebooted.load()
    assert rebooted.proven_at_ns(A, DIGEST, now=node.now) == node.now - HOUR_NS


async def test_an_audit_whose_age_nobody_knows_proves_nothing(node: Node) -> None:
    before = node.proofs()
    before.note((OF_A, DIGEST), right())
    await before.write()
    node.boot, node.wall_s = "second", 1e9 - 1
    rebooted = node.proofs()
    await rebooted.load()
    assert not rebooted.is_proven(A, DIGEST, node.now)


async def test_what_could_not_be_written_is_written_next_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs = node.proofs()
    proofs.note((OF_A, DIGEST), right())

    async def refuse(self: AuditRecords, records: object, *, not_before_s: float) -> None:
        raise StorageError("database", "is full")

    with monkeypatch.context() as patched:
        patched.setattr(AuditRecords, "write", refuse)
        await proofs.write()
    assert await AuditRecords(node.database).load() == []
    await proofs.write()
    assert len(await AuditRecords(node.database).load()) == 1


def test_the_oldest_audits_make_room(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs_module, "AUDITS_MAX", 1)
    proofs = node.proofs()
    proofs.note((OF_B, DIGEST), right())
    proofs.note((OF_A, DIGEST), right())
    assert not proofs.is_proven(B, DIGEST, START)
    assert proofs.is_proven(A, DIGEST, START)

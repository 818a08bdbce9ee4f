"""Which claim is audited next."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from ckptd.core.peers.audits import AuditableClaim
from ckptd.daemon.audit import timetable
from ckptd.daemon.audit.timetable import HOUR_NS, PROVEN_NS, Audited, Timetable
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, Epoch, NodeId, Origin, PathId
from tests.support.scheduling import A, B, C, Saved, blocks, holding, saved

OLD, NEW = saved(8, version=1), saved(8, version=2)
START = 1000 * SECOND


def claim(node: NodeId, version: Saved, held: BlockSet | None = None) -> AuditableClaim:
    return AuditableClaim(node, node, Origin(node), Epoch(1), holding(version, held))


def right(at_ns: int, block_count: int = 8) -> Audited:
    return Audited(at_ns, is_right=True, block_count=block_count)


def wrong(at_ns: int) -> Audited:
    return Audited(at_ns, is_right=False, block_count=8)


class Table(Timetable):
    """A timetable with a moment."""

    def __init__(self) -> None:
        super().__init__(Random(1))
        self.near: set[str] = set()
        self.is_near = lambda name: name in self.near
        self.now = START

    def claims_are(
        self, path: PathId, *claims: AuditableClaim, last: Audited | None = None
    ) -> None:
        self.take_in(path, [(each, last) for each in claims], now=self.now)

    def next(self, opened: Digest | None = None) -> tuple[str, int] | None:
        taken = self.take_next(now=self.now, opened=opened)
        return None if taken is None else (taken.origin, taken.holding.version)

    def due(self, opened: Digest | None = None) -> Iterator[tuple[str, int]]:
        """Yield what is due by now, each of which turns out to be right."""
        while (taken := self.take_next(now=self.now, opened=opened)) is not None:
            yield (taken.origin, taken.holding.version)
            self.note_audited((taken.origin, taken.holding.digest), right(self.now))


@pytest.fixture
def table() -> Table:
    return Table()


def test_newest_versions_come_first_and_each_once_in_most_of_a_day(table: Table) -> None:
    table.claims_are(A, claim(A, OLD), claim(A, NEW))
    table.claims_are(B, claim(B, OLD), claim(B, NEW))
    assert list(table.due()) == [(A, 2), (B, 2), (A, 1), (B, 1)]
    table.now += 16 * HOUR_NS - 1
    assert list(table.due()) == []
    table.now = START + 20 * HOUR_NS
    assert sorted(table.due()) == [(A, 1), (A, 2), (B, 1), (B, 2)]


def test_who_invents_many_claims_holds_up_one_of_anybody_else(table: Table) -> None:
    invented = [claim(A, saved(8, version=1, checkpoint=f"llama/{number}")) for number in range(50)]
    table.claims_are(A, *invented)
    table.claims_are(B, claim(B, NEW))
    assert [origin for origin, _ in table.due()][:2] == [A, B]


def test_claims_of_one_version_come_together_once_its_manifest_is_open(table: Table) -> None:
    for node in (A, B, C):
        table.claims_are(node, claim(node, NEW), last=right(START))
    table.now = START + 16 * HOUR_NS + 1
    assert sorted(table.due(NEW.digest)) == [(A, 2), (B, 2), (C, 2)]
    table.claims_are(A, claim(A, NEW), claim(A, OLD))
    table.now += SECOND
    assert table.next(NEW.digest) == (A, 1)


def test_a_new_claim_does_not_wait_for_those_of_the_open_version(table: Table) -> None:
    table.claims_are(A, claim(A, OLD), last=right(START - 15 * HOUR_NS))
    table.claims_are(B, claim(B, NEW))
    assert table.next(OLD.digest) == (B, 2)


def test_what_was_proven_before_a_restart_is_not_audited_at_once(table: Table) -> None:
    table.claims_are(A, claim(A, NEW), last=right(START - HOUR_NS))
    assert table.next() is None
    table.now = START + 19 * HOUR_NS
    assert table.next() == (A, 2)


def test_a_proof_is_for_a_day_and_for_no_more_than_was_claimed() -> None:
    proof = right(START, block_count=4)
    assert proof.proves(4, now=START)
    assert not proof.proves(5, now=START)
    assert not proof.proves(4, now=START + PROVEN_NS)
    assert not wrong(START).proves(4, now=START)


def test_who_claims_more_than_before_is_audited_again(table: Table) -> None:
    table.claims_are(A, claim(A, NEW, blocks((0, 1))))
    table.now += 20 * SECOND
    assert table.next() == (A, 2)
    table.note_audited((Origin(A), NEW.digest), right(table.now, 1))
    table.claims_are(A, claim(A, NEW), last=right(table.now, 1))
    assert table.next() == (A, 2)


def test_a_claim_is_not_audited_while_it_grows(table: Table) -> None:
    for count in range(1, 8):
        table.claims_are(A, claim(A, NEW, blocks((0, count))))
        table.now += 19 * SECOND
        assert table.next() is None
    table.now += SECOND
    assert table.next() == (A, 2)


def test_who_does_not_answer_is_left_alone_with_all_it_claims(table: Table) -> None:
    table.claims_are(A, claim(A, OLD), claim(A, NEW))
    for pause_s in (30, 60, 120):
        taken = table.take_next(now=table.now)
        assert taken is not None
        table.note_unanswered((taken.origin, taken.holding.digest), now=table.now)
        table.now += int(0.74 * pause_s) * SECOND
        assert table.next() is None
        table.now += pause_s * SECOND
    assert len(list(table.due())) == 2


def test_a_false_claim_is_looked_at_again_later_and_later(table: Table) -> None:
    table.claims_are(A, claim(A, NEW))
    for pause_s in (300, 600, 1200):
        assert table.next() == (A, 2)
        table.note_audited((Origin(A), NEW.digest), wrong(table.now))
        table.now += int(0.74 * pause_s) * SECOND
        assert table.next() is None
        table.now += pause_s * SECOND
    table.claims_are(A)
    table.claims_are(A, claim(A, NEW), last=wrong(table.now - SECOND))
    assert table.next() is None, "nor at once after it went and came back"


def test_what_is_not_claimed_any_more_is_not_audited(table: Table) -> None:
    table.claims_are(A, claim(A, OLD), claim(A, NEW))
    table.claims_are(A, claim(A, OLD))
    assert list(table.due()) == [(A, 1)]
    table.claims_are(A)
    table.note_audited((Origin(A), OLD.digest), right(table.now))
    assert (len(table.claims), table.paths) == (0, frozenset())
    table.now += 24 * HOUR_NS
    assert table.next() is None


def test_a_peer_on_two_paths_is_audited_once(table: Table) -> None:
    other = PathId("a via 10.0.0.2")
    table.claims_are(A, claim(A, NEW))
    table.claims_are(other, claim(A, NEW)._replace(path=other))
    assert list(table.due()) == [(A, 2)]
    table.claims_are(A)
    assert len(table.claims) == 1, "it is claimed on the other path"
    table.claims_are(other)
    assert len(table.claims) == 0


def test_there_are_never_too_many(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "AUDITS_MAX", 5)
    monkeypatch.setattr(timetable, "_PER_ORIGIN_MAX", 3)
    table.claims_are(A, *(claim(A, saved(8, version=version)) for version in range(4)))
    table.claims_are(B, *(claim(B, saved(8, version=version)) for version in range(4)))
    assert sorted(table.due()) == [(A, 1), (A, 2), (A, 3), (B, 2), (B, 3)]


def test_entries_that_were_replaced_do_not_pile_up(table: Table) -> None:
    for _ in range(1000):
        table.claims_are(A, claim(A, NEW), last=right(START))
        table.claims_are(A)
    assert len(table._heap) < 100


def test_names_whose_copies_may_fall_to_this_node_are_shown_first(table: Table) -> None:
    far, near = saved(8, version=2), saved(8, version=2, checkpoint="near")
    table.near = {"near"}
    table.claims_are(PathId(A), claim(A, far))
    table.claims_are(PathId(B), claim(B, far))
    table.claims_are(PathId(C), claim(C, near))
    assert [origin for origin, _ in table.due()] == [C, A, B]


def test_who_makes_up_names_that_are_near_holds_others_up_for_a_moment_only(table: Table) -> None:
    made_up = [saved(8, version=2, checkpoint=f"near-{number}") for number in range(40)]
    table.near = {each.checkpoint for each in made_up}
    table.claims_are(PathId(A), *(claim(A, each) for each in made_up))
    table.claims_are(PathId(B), claim(B, NEW))
    assert [origin for origin, _ in table.due()].index(B) <= timetable._NEAR_MAX


def test_what_is_not_the_newest_any_more_presses_no_more(table: Table) -> None:
    table.claims_are(PathId(A), claim(A, OLD))
    table.claims_are(PathId(B), claim(B, OLD), claim(B, NEW))
    assert table.next() == (B, 2)

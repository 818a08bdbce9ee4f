from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.limits import GIB, KIB, MIB, MS, SECOND
from ckptd.model.words import Urgency
from ckptd.traffic.buckets import TRICKLE_NS, Ceilings, Flow, Shaper

CRITICAL, NORMAL = Urgency.CRITICAL, Urgency.NORMAL
DEFERRED, BACKGROUND = Urgency.DEFERRED, Urgency.BACKGROUND


@dataclass
class Grant:
    at_ns: int
    flow: Flow
    size_bytes: int


class Link:
    """Some who always have bytes to move, and a clock that nobody waits for."""

    def __init__(self, ceilings: Ceilings, *, trickle_bytes: int = 0) -> None:
        self.shaper = Shaper(trickle_bytes=trickle_bytes)
        self.shaper.change(ceilings, now=0)
        self.now = 0
        self.grants: list[Grant] = []
        self._hungry: Counter[Flow] = Counter()

    def want(self, flow: Flow, count: int = 1) -> None:
        """Let so many connections of a flow ask from now on, each again once it was served."""
        self._hungry[flow] += count
        for _ in range(count):
            self.shaper.ask(flow, MIB, now=self.now)

    def rest(self, flow: Flow) -> None:
        """Let a flow ask for no more."""
        del self._hungry[flow]
        for ticket in [known for known in self.shaper.waiting if known.flow == flow]:
            self.shaper.withdraw(ticket)

    def run(self, duration_ns: int, *, late_ns: int = 0) -> None:
        """Let time pass; who grants wakes up so much later than it wanted."""
        end_ns = self.now + duration_ns
        while True:
            granted, next_ns = self.shaper.grant(now=self.now)
            for ticket in granted:
                self.grants.append(Grant(self.now, ticket.flow, ticket.granted_bytes))
                if ticket.flow in self._hungry:
                    self.shaper.ask(ticket.flow, MIB, now=self.now)
            if not granted:
                self.now += max(next_ns, 1) + late_ns
            if self.now >= end_ns:
                self.now = end_ns
                return

    def moved(self, flow: Flow | None = None, *, since_ns: int = 0) -> int:
        return sum(
            grant.size_bytes
            for grant in self.grants
            if grant.at_ns >= since_ns and flow in {None, grant.flow}
        )

    def most_in(self, window_ns: int) -> tuple[int, int]:
        """Return the fewest and the most bytes in any such window after the first second."""
        starts = [grant.at_ns for grant in self.grants if grant.at_ns >= SECOND]
        sizes = [
            sum(
                grant.size_bytes
                for grant in self.grants
                if start_ns <= grant.at_ns < start_ns + window_ns
            )
            for start_ns in starts[:: max(len(starts) // 100, 1)]
            if start_ns + window_ns <= self.now
        ]
        return min(sizes), max(sizes)


A, B = Flow(NORMAL, "a"), Flow(NORMAL, "b")


@pytest.mark.parametrize("late_ns", [0, 5 * MS])
@pytest.mark.parametrize("rate", [128 * KIB, MIB, 50 * MIB, GIB])
def test_any_second_after_the_first_has_the_limit_within_3_percent(rate: int, late_ns: int) -> None:
    link = Link(Ceilings(total=rate))
    link.want(A, 2)
    link.run(3 * SECOND, late_ns=late_ns)
    fewest, most = link.most_in(SECOND)
    assert 0.97 * rate <= fewest <= most <= 1.03 * rate


def test_without_a_limit_nobody_need_ask() -> None:
    shaper = Shaper()
    assert shaper.limit_of(A) is None
    shaper.change(Ceilings(total=3 * MIB, peers={"b": MIB}), now=0)
    assert shaper.is_limiting
    assert (shaper.limit_of(A), shaper.limit_of(B)) == (3 * MIB, MIB)
    shaper.change(Ceilings(peers={"b": MIB}), now=0)
    assert shaper.limit_of(A) is None


def test_every_level_holds() -> None:
    """A peer in a class in all: the least of them counts, and each for all that belongs to it."""
    link = Link(Ceilings(total=8 * MIB, classes={NORMAL: 4 * MIB}, peers={"a": MIB}))
    deferred = Flow(DEFERRED, "b")
    for flow in (A, B, deferred):
        link.want(flow)
    link.run(4 * SECOND)
    assert link.moved(A) == pytest.approx(4 * MIB, rel=0.03)
    assert link.moved(B) == pytest.approx(12 * MIB, rel=0.03)
    assert link.moved(deferred) == pytest.approx(16 * MIB, rel=0.03)


def test_the_most_urgent_goes_first_and_others_get_what_it_leaves() -> None:
    link = Link(Ceilings(total=10 * MIB, classes={CRITICAL: 4 * MIB}))
    flows = [Flow(urgency, "a") for urgency in Urgency]
    for flow in flows:
        link.want(flow)
    link.run(2 * SECOND)
    critical, normal, deferred, background = (link.moved(flow) for flow in flows)
    assert critical == pytest.approx(8 * MIB, rel=0.03)
    assert normal == pytest.approx(12 * MIB, rel=0.03)
    assert deferred == background == 0


def test_what_is_lent_is_taken_back_at_once() -> None:
    link = Link(Ceilings(total=10 * MIB))
    background, critical = Flow(BACKGROUND, "a"), Flow(CRITICAL, "b")
    link.want(background)
    link.run(SECOND)
    assert link.moved(background) == pytest.approx(10 * MIB, rel=0.03)
    link.want(critical)
    link.run(SECOND)
    assert link.moved(background, since_ns=SECOND) == 0
    link.rest(critical)
    link.run(SECOND)
    assert link.moved(background, since_ns=2 * SECOND) == pytest.approx(10 * MIB, rel=0.03)


def test_peers_of_a_class_get_the_same_however_many_connections_they_have() -> None:
    link = Link(Ceilings(total=10 * MIB))
    link.want(A, 8)
    link.run(SECOND)
    link.want(B)
    link.run(2 * SECOND)
    assert link.moved(A, since_ns=SECOND) == pytest.approx(10 * MIB, rel=0.1)
    assert link.moved(B, since_ns=SECOND) == pytest.approx(10 * MIB, rel=0.1)


def test_a_new_limit_counts_at_once_for_those_who_wait_too() -> None:
    link = Link(Ceilings(total=128 * KIB))
    link.want(A)
    link.run(SECOND)
    link.shaper.change(Ceilings(total=100 * MIB), now=link.now)
    link.run(SECOND)
    assert link.moved(since_ns=SECOND) == pytest.approx(100 * MIB, rel=0.03)
    link.shaper.change(Ceilings(total=MIB), now=link.now)
    link.run(SECOND)
    assert link.moved(since_ns=2 * SECOND) == pytest.approx(MIB, rel=0.03)
    link.shaper.change(Ceilings(), now=link.now)
    granted, _ = link.shaper.grant(now=link.now)
    assert [ticket.granted_bytes for ticket in granted] == [MIB]


def test_a_ticket_that_was_withdrawn_is_not_granted() -> None:
    shaper = Shaper()
    shaper.change(Ceilings(total=MIB), now=0)
    kept, withdrawn = (shaper.ask(A, KIB, now=0) for _ in range(2))
    shaper.withdraw(withdrawn)
    assert shaper.grant(now=0)[0] == [kept]
    assert not shaper.waiting


def test_what_did_not_move_is_given_back() -> None:
    shaper = Shaper()
    shaper.change(Ceilings(total=MIB), now=0)
    first = shaper.ask(A, MIB, now=0)
    shaper.grant(now=0)
    second = shaper.ask(A, MIB, now=0)
    shaper.grant(now=0)
    shaper.ask(A, MIB, now=0)
    assert shaper.grant(now=0)[0] == []
    shaper.give_back(A, first.granted_bytes + second.granted_bytes)
    assert len(shaper.grant(now=0)[0]) == 1


def test_who_waits_long_gets_a_trickle_on_credit() -> None:
    link = Link(Ceilings(total=MIB), trickle_bytes=512)
    link.want(Flow(CRITICAL, "a"))
    link.want(Flow(DEFERRED, "b"))
    link.run(4 * SECOND)
    trickles = [grant for grant in link.grants if grant.flow.urgency is DEFERRED]
    gaps = {later.at_ns - earlier.at_ns for earlier, later in pairwise(trickles)}
    assert {grant.size_bytes for grant in trickles} == {512}
    assert TRICKLE_NS <= min(gaps) <= max(gaps) <= TRICKLE_NS + MS
    assert link.moved() == pytest.approx(4 * MIB, rel=0.03)


def test_no_trickle_is_granted_beyond_a_burst_of_credit() -> None:
    link = Link(Ceilings(total=128 * KIB), trickle_bytes=16 * KIB)
    for number in range(50):
        link.want(Flow(NORMAL, str(number)))
    link.run(10 * SECOND)
    assert link.moved() <= 10 * 128 * KIB + 16 * KIB + 2 * 4 * KIB


def test_classes_that_give_way_share_what_they_are_allowed() -> None:
    link = Link(Ceilings())
    link.shaper.allow("eth0", DEFERRED, 2 * MIB, now=0)
    deferred, background = Flow(DEFERRED, "a"), Flow(BACKGROUND, "b")
    assert link.shaper.limit_of(Flow(NORMAL, "a")) is None
    link.want(background)
    link.run(SECOND)
    assert link.moved(background) == pytest.approx(2 * MIB, rel=0.03)
    link.want(deferred)
    link.run(SECOND)
    assert link.moved(deferred, since_ns=SECOND) == pytest.approx(2 * MIB, rel=0.03)
    link.shaper.allow("eth0", DEFERRED, None, now=link.now)
    assert not link.shaper.is_limiting


FLOWS = st.builds(Flow, st.sampled_from(Urgency), st.sampled_from(["a", "b", "c"]))
RATES = st.integers(128 * KIB, 4 * MIB)
CEILINGS = st.builds(
    Ceilings,
    st.none() | RATES,
    st.dictionaries(st.sampled_from(Urgency), RATES),
    st.dictionaries(st.sampled_from(["a", "b"]), RATES),
)
STEPS = st.lists(st.tuples(FLOWS, st.integers(1, 300), st.integers(0, 40)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(CEILINGS, STEPS)
def test_no_limit_is_ever_exceeded(ceilings: Ceilings, steps: list[tuple[Flow, int, int]]) -> None:
    """In no time t more than limit * t and a burst, whoever asks, however late somebody looks."""
    link = Link(ceilings)
    for flow, duration_ms, late_ms in steps:
        if link.shaper.limit_of(flow):
            link.want(flow)
        if link.shaper.waiting:
            link.run(duration_ms * MS, late_ns=late_ms * MS)
    limits = [
        *([] if ceilings.total is None else [(ceilings.total, link.grants)]),
        *((rate, [g for g in link.grants if g.flow.urgency is urgency])
          for urgency, rate in ceilings.classes.items()),
        *((rate, [g for g in link.grants if g.flow.peer == peer])
          for peer, rate in ceilings.peers.items()),
    ]  # fmt: skip
    for rate, grants in limits:
        burst = max(rate * 25 * MS // SECOND, KIB // 2)
        for index, first in enumerate(grants):
            moved = 0
            for grant in grants[index:]:
                moved += grant.size_bytes
                assert moved <= rate * (grant.at_ns - first.at_ns) // SECOND + burst + 1


@settings(max_examples=60, deadline=None)
@given(RATES, st.lists(FLOWS, min_size=1, max_size=6, unique=True))
def test_nothing_is_left_unused_while_somebody_waits(rate: int, flows: list[Flow]) -> None:
    link = Link(Ceilings(total=rate))
    for flow in flows:
        link.want(flow)
    link.run(SECOND)
    assert link.moved() >= 0.99 * rate
    most_urgent = min(flow.urgency for flow in flows)
    assert {grant.flow.urgency for grant in link.grants} == {most_urgent}

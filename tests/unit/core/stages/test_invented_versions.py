"""Peers that claim versions which nobody has: what that costs is by peer, not by claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from blake3 import blake3

from ckptd.core.effects import DiscardStaging, DropManifest, Effect, FetchManifest
from ckptd.core.events import (
    DiscoverySettled,
    Event,
    HoldingsArrived,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    PeerLost,
    RecoveryRequested,
    Refusal,
    StagingDiscarded,
)
from ckptd.core.options import ManifestOptions
from ckptd.core.report.story import sentence
from ckptd.core.stages.claims_on_content import claims_on
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId, PathId, Version
from ckptd.model.words import FailureCause, Result, Stage
from tests.support.scheduling import (
    HARMFUL,
    LLAMA,
    A,
    B,
    R,
    Script,
    ended,
    holding,
    holds,
    saved,
    wanted,
)

HONEST = NodeId("honest")
REAL = saved(4, version=100)
UNSIGNED = "manifest for llama/rank-0: is unsigned"
OPTIONS = ManifestOptions()

Answer = Callable[[FetchManifest], Event]


def wrong(order: FetchManifest) -> Event:
    return ManifestMissed(R, order.source, is_lie=True)


def unsigned(order: FetchManifest) -> Event:
    return ManifestMissed(R, order.source, is_lie=False, refusal=UNSIGNED)


def denied(order: FetchManifest) -> Event:
    return ManifestMissed(R, order.source, is_lie=False, is_denied=True)


def junk(order: FetchManifest) -> Event:
    return ManifestRefused(R, order.source, HARMFUL)


def too_new(order: FetchManifest) -> Event:
    return ManifestRefused(R, order.source, replace(HARMFUL, is_junk=False))


def contradictory(order: FetchManifest) -> Event:
    refusal = Refusal("x", "contradicts itself", is_retryable=False, is_contradiction=True)
    return ManifestRefused(R, order.source, refusal)


def inventions(liar: str, count: int, *, first: int = 1000) -> list[Holding]:
    """Invent versions that nobody has, all newer than any that somebody has."""
    return [
        replace(
            holding(REAL),
            version=Version(first + index),
            digest=Digest(blake3(f"{liar} {index}".encode()).hexdigest()),
        )
        for index in range(count)
    ]


def invents(liar: str, count: int, *, first: int = 1000) -> HoldingsArrived:
    return holds(NodeId(liar), *inventions(liar, count, first=first))


def questions(effects: Iterable[Effect]) -> list[FetchManifest]:
    return [effect for effect in effects if isinstance(effect, FetchManifest)]


def asked_until_honest(script: Script, answer: Answer, effects: list[Effect]) -> Counter[PathId]:
    """Answer each question for an invented manifest; return whom was asked how often."""
    asked: Counter[PathId] = Counter()
    while True:
        [question] = questions(effects)
        assert question.source is not None
        if question.source == HONEST:
            return asked
        asked[question.source] += 1
        assert asked.total() < 1000, "it goes on and on"
        effects = script.tell(answer(question))


@pytest.mark.parametrize(
    ("answer", "most"),
    [
        (wrong, OPTIONS.failed_max),
        (junk, OPTIONS.failed_max),
        (unsigned, OPTIONS.unsuited_max),
        (denied, OPTIONS.unsuited_max),
        (too_new, OPTIONS.unsuited_max),
        (contradictory, OPTIONS.unsuited_max),
    ],
)
def test_ten_thousand_inventions_cost_no_more_than_a_few(answer: Answer, most: int) -> None:
    script = Script()
    script.tell(invents("l0", 10_000), invents("l1", 200, first=9_000), holds(HONEST, REAL))
    effects = script.tell(DiscoverySettled(), wanted(REAL))
    asked = asked_until_honest(script, answer, effects)
    assert set(asked) == {"l0", "l1"}
    assert max(asked.values()) <= most
    assert script.tell(ManifestArrived(R, HONEST, REAL.space))
    assert script.view().stage is Stage.PREPARING
    assert script.view_source(HONEST).trust == 0


def test_claims_that_are_made_again_meanwhile_change_nothing() -> None:
    script = Script()
    script.tell(invents("l0", 500), holds(HONEST, REAL), DiscoverySettled())

    def wrong_and_again(order: FetchManifest) -> Event:
        script.tell(invents("l0", 500, first=2000))
        return wrong(order)

    asked = asked_until_honest(script, wrong_and_again, script.tell(wanted(REAL)))
    assert asked == {"l0": OPTIONS.failed_max}


def test_what_nobody_can_recover_is_remembered_for_the_next_recovery() -> None:
    script = Script()
    script.tell(invents("l0", 1), holds(HONEST, REAL), DiscoverySettled())
    [question] = questions(script.tell(wanted(REAL)))
    [next_one] = questions(script.tell(junk(question)))
    assert next_one.source == HONEST
    assert question.digest in script.scheduler.inspect().refused_contents


def test_of_a_named_version_a_manifest_of_no_use_does_not_end_the_recovery() -> None:
    script = Script()
    [fake] = inventions("l0", 1, first=100)
    script.tell(holds(NodeId("l0"), fake))  # the honest one was not heard yet
    [question] = questions(script.tell(wanted(REAL, is_named=True, patience_ms=1000)))
    assert script.tell(junk(question)) == []
    assert script.view().stage is Stage.SEEKING
    effects = script.tell(holds(HONEST, REAL), DiscoverySettled())
    assert [each.source for each in questions(effects)] == [HONEST]


def test_while_who_had_it_is_lost_for_the_moment_it_is_waited_for() -> None:
    script = Script()
    [fake] = inventions("l0", 1)
    script.tell(holds(HONEST, REAL), holds(NodeId("l0"), fake), DiscoverySettled())
    script.tell(PeerLost(PathId(HONEST)))
    [question] = questions(script.tell(wanted(REAL, patience_ms=60_000)))
    assert script.tell(junk(question)) == []
    assert script.wait(59_999) == []
    assert script.wait(1) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, HARMFUL.message)
    ]


def test_where_nobody_else_has_anything_such_a_peer_is_asked_now_and_then() -> None:
    script = Script()
    script.tell(invents("l0", 100), DiscoverySettled())
    effects = script.tell(wanted(REAL))
    for _ in range(OPTIONS.unsuited_max):
        [question] = questions(effects)
        effects = script.tell(unsigned(question))
    [question] = questions(effects)
    assert questions(script.tell(unsigned(question))) == []
    assert questions(script.wait(4_999)) == []
    [question] = questions(script.wait(1))
    assert questions(script.tell(unsigned(question))) == []
    [question] = questions(script.wait(5_000))
    effects = script.tell(holds(HONEST, REAL), unsigned(question))
    effects += script.wait(5_000)
    assert [each.source for each in questions(effects)] == [HONEST]


def test_a_peer_in_quarantine_is_asked_for_no_manifest() -> None:
    script = Script()
    script.tell(holds(A, REAL), DiscoverySettled())
    standing = script.scheduler.inspect().peers[PathId(A)].standing
    standing.blame(20, script.options, now=script.now)
    assert questions(script.tell(wanted(REAL))) == []
    assert questions(script.wait(59_999)) == []
    effects = script.wait(5_000)
    assert [each.source for each in questions(effects)] == [A]
    other = Script()
    other.tell(holds(A, REAL), holds(B, REAL), DiscoverySettled())
    other.scheduler.inspect().peers[PathId(A)].standing.blame(20, other.options, now=other.now)
    assert [each.source for each in questions(other.tell(wanted(REAL)))] == [B]
    assert questions(other.wait(10_000)) == [], "nor while the other one is silent"


def test_a_version_whose_manifest_does_not_come_gives_way_each_time_sooner() -> None:
    script = Script()
    liars = [f"l{number}" for number in range(5)]
    script.tell(*(invents(liar, 1, first=1000 + index) for index, liar in enumerate(liars)))
    script.tell(holds(HONEST, REAL), DiscoverySettled())
    effects = script.tell(wanted(REAL))
    moments: list[int] = []
    while questions(effects)[-1].source != HONEST:
        late = questions(effects)[-1]
        effects = []
        while not questions(effects):
            effects = script.wake_at_deadline()
        moments.append(round(script.now_ms, -1))
        assert DropManifest(R, PathId(late.source or ""), late.digest) in effects
        script.tell(ManifestMissed(R, late.source, is_lie=False))
        assert script.view_source(NodeId(late.source or "")).trust == 0
    assert moments == [10_000, 15_000, 17_500, 18_750, 19_750], "half the time, a second at least"
    told = [sentence(entry) for entry in script.recovery().story.entries]
    assert "version 1004 given up for another: its manifest did not come within 10s" in told


def test_the_only_version_is_waited_for_however_long_its_manifest_takes() -> None:
    script = Script()
    script.tell(holds(A, REAL), DiscoverySettled())
    script.tell(wanted(REAL))
    assert questions(script.wait(300_000)) == []
    assert script.view().stage is Stage.DESCRIBING
    assert script.tell(ManifestArrived(R, A, REAL.space))


def test_a_large_manifest_has_longer() -> None:
    script = Script()
    count = 2**17
    large = replace(inventions("l0", 1)[0], block_count=count, blocks=BlockSet.full(count))
    script.tell(holds(A, large), holds(HONEST, REAL), DiscoverySettled())
    script.tell(wanted(REAL))
    assert questions(script.wait(33_999)) == []
    assert [each.source for each in questions(script.wait(1))] == [HONEST]


def test_of_each_peer_only_the_newest_versions_are_looked_at() -> None:
    script = Script()
    script.tell(invents("l0", 5_000), holds(HONEST, REAL), DiscoverySettled(), wanted(REAL))
    state = script.scheduler.inspect()
    step = Step(state, script.options, script.scheduler._rng, script.now)
    claims = claims_on(step, script.recovery(), is_reliable=True)
    assert len(claims) == OPTIONS.claims_max + 1
    assert len(list(state.claimed(LLAMA, None, at_most=5))) == 6
    script.recovery().request = RecoveryRequested(R, LLAMA, version=Version(1001))
    claims = claims_on(step, script.recovery(), is_reliable=True)
    assert [each.holding.version for each in claims] == [1001]
    assert 1001 in {each.version for each in state.claimed(LLAMA, Version(1001), at_most=5)}


def test_an_explanation_says_why_a_newer_version_was_not_taken() -> None:
    script = Script()
    script.tell(
        holds(NodeId("l0"), *inventions("l0", 3)),
        invents("l1", 1, first=900),
        holds(HONEST, REAL),
        DiscoverySettled(),
    )
    [first] = questions(script.tell(wanted(REAL)))
    [second] = questions(script.tell(wrong(first)))
    [third] = questions(script.tell(junk(second)))
    [fourth] = questions(script.tell(unsigned(third)))
    assert fourth.source == HONEST
    choice = script.recovery().story.choice
    assert choice is not None
    why = {other.version: other.why for other in choice.passed_over}
    assert why == {
        1001: f"refused: {HARMFUL.message}",
        1000: "only peers have it whose other manifests were wrong, or did not come",
        900: "no peer delivered it with signatures that suffice",
    }

"""Why nothing comes of sources that answer is said until something comes."""

import pytest

from ckptd.core.events import (
    DiscoverySettled,
    IdentityJudged,
    ManifestMissed,
    SourceTroubled,
)
from ckptd.core.peers.troubles import TROUBLE_CHARS_MAX
from ckptd.core.report.verdicts import Explanation
from ckptd.model.ids import PathId
from ckptd.model.words import RangeOutcome, StoryReason, Verdict
from tests.support.scheduling import A, R, Script, holds, ranges, saved, wanted

EXPIRED = "its certificate has expired"
OWN = "this node's certificate is not valid yet (is the clock right?)"


def waiting_for(script: Script) -> str:
    return script.view().waiting_for


def explained(script: Script) -> Explanation:
    known = script.scheduler.explain(R, now=script.now)
    assert known is not None
    return known


def resting(trouble: str) -> Script:
    """Return a script in which the only source failed, and why."""
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.tell(SourceTroubled(PathId(A), trouble))
    script.end(order, RangeOutcome.UNREACHABLE)
    return script


def test_a_recovery_says_why_its_source_rests() -> None:
    script = resting(EXPIRED)
    assert waiting_for(script).startswith(f"{A}: {EXPIRED}; tried again in ")
    [verdict] = explained(script).peers
    assert verdict.verdict is Verdict.RESTING
    assert verdict.sentence.endswith(f"({EXPIRED})")
    [source] = script.scheduler.sources(now=script.now)
    assert source.trouble == EXPIRED


def test_it_is_forgotten_when_something_comes() -> None:
    script = resting(EXPIRED)
    script.now_ms += 5000
    [order] = ranges(script.wake())
    script.arrive(order)
    [source] = script.scheduler.sources(now=script.now)
    assert source.trouble == ""


def test_it_is_not_said_for_ever_where_nobody_asks_for_anything() -> None:
    script = resting(EXPIRED)
    later = script.now + 300_000_000_000
    [source] = script.scheduler.sources(now=later - 1)
    assert source.trouble == EXPIRED
    [source] = script.scheduler.sources(now=later)
    assert source.trouble == ""


def test_what_a_peer_may_have_said_is_cut_short() -> None:
    script = resting("x" * 5000)
    [source] = script.scheduler.sources(now=script.now)
    assert len(source.trouble) == TROUBLE_CHARS_MAX


def test_a_source_that_nobody_knows_is_none() -> None:
    script = Script()
    script.tell(SourceTroubled(PathId("nobody"), EXPIRED))
    assert script.scheduler.sources(now=script.now) == ()


def test_a_holder_that_cannot_be_asked_for_the_manifest_is_named() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    script.tell(SourceTroubled(PathId(A), EXPIRED), ManifestMissed(R, A, is_lie=False))
    assert waiting_for(script).startswith(f"a peer that has the manifest ({A}: {EXPIRED}); tried")


def test_this_nodes_own_certificate_is_named_before_all_others() -> None:
    script = resting(EXPIRED)
    script.tell(IdentityJudged(OWN))
    assert waiting_for(script) == OWN
    script.tell(IdentityJudged(""))
    assert waiting_for(script).startswith(f"{A}: {EXPIRED}")


@pytest.mark.parametrize("is_settled", [False, True])
def test_it_is_named_also_where_no_peer_is_left(is_settled: bool) -> None:
    script, version = Script(), saved(8)
    script.tell(IdentityJudged(OWN))
    if is_settled:
        script.tell(DiscoverySettled())
    script.tell(wanted(version, patience_ms=60_000))
    assert waiting_for(script).startswith(OWN)
    script.now_ms += 1000
    script.wake()
    assert StoryReason.CERTIFICATE in {entry.reason for entry in explained(script).entries}


def test_a_recovery_that_moves_waits_for_no_certificate() -> None:
    script = Script()
    script.start(saved(8), A)
    script.tell(IdentityJudged(OWN))
    assert waiting_for(script) == ""

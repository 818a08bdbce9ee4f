"""Names and versions that nobody has: how long they are waited for, and what is said."""

from __future__ import annotations

import pytest

from ckptd.core.effects import DiscardStaging
from ckptd.core.events import DiscoverySettled, Event, PeerLost, RecoveryRequested
from ckptd.limits import MS
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.words import FailureCause
from tests.support.scheduling import LLAMA, A, B, R, Script, blocks, holding, holds, saved, wanted

LLAMA_100 = saved(2)
OTHER = saved(2, checkpoint="llama/other")
MISTYPED = saved(2, checkpoint=f"{LLAMA}x")


def how_it_fails(script: Script) -> tuple[FailureCause | None, str]:
    ending = script.recovery().ending
    assert ending is not None
    return ending.cause, ending.message


def test_a_name_that_nobody_has_fails_at_once_when_everybody_was_heard() -> None:
    script = Script()
    script.tell(holds(A, LLAMA_100, OTHER), holds(B))
    script.tell(wanted(MISTYPED, patience_ms=300_000))
    assert script.recovery().ending is None, "others may be asked still"
    assert script.tell(DiscoverySettled()) == [DiscardStaging(R)]
    said = f"nobody has {LLAMA}x; known: {LLAMA}, llama/other"
    assert how_it_fails(script) == (FailureCause.UNKNOWN, said)


def test_names_of_this_node_are_known_too() -> None:
    script = Script()
    script.tell(
        holds(A, OTHER),
        DiscoverySettled(),
        RecoveryRequested(R, CheckpointName("opt-1"), own_names=(CheckpointName("opt-2"),)),
    )
    assert how_it_fails(script)[1] == "nobody has opt-1; known: opt-2, llama/other"


def test_while_an_address_does_not_answer_a_name_is_waited_for_a_little() -> None:
    script = Script()
    script.tell(holds(A, LLAMA_100), DiscoverySettled(is_everybody_heard=False))
    script.tell(wanted(MISTYPED, patience_ms=300_000))
    assert script.scheduler.next_deadline() == script.now + 15_000 * MS
    assert script.wait(14_999) == []
    assert script.wait(1) == [DiscardStaging(R)]


def test_the_last_address_that_answers_ends_the_wait() -> None:
    script = Script()
    script.tell(holds(A, LLAMA_100), DiscoverySettled(is_everybody_heard=False))
    script.tell(wanted(MISTYPED))
    assert script.tell(holds(B)) == []
    assert script.tell(DiscoverySettled()) == [DiscardStaging(R)]


def test_patience_may_be_shorter_than_that_wait() -> None:
    script = Script()
    script.tell(holds(A, LLAMA_100), DiscoverySettled(is_everybody_heard=False))
    script.tell(wanted(MISTYPED, patience_ms=1000))
    assert script.wait(999) == []
    assert script.wait(1) == [DiscardStaging(R)]


@pytest.mark.parametrize("reason", ["nobody answers", "asked to", "had it", "somebody had it"])
def test_a_name_is_waited_for_as_long_as_patience_lasts(reason: str) -> None:
    script = Script()
    peers: dict[str, list[Event]] = {
        "nobody answers": [holds(A, LLAMA_100), PeerLost(A)],
        "somebody had it": [holds(A), holds(B, MISTYPED), PeerLost(B)],
    }
    script.tell(*peers.get(reason, [holds(A, LLAMA_100)]), DiscoverySettled())
    script.tell(
        RecoveryRequested(
            R,
            MISTYPED.checkpoint,
            patience_ns=60_000 * MS,
            is_name_awaited=reason == "asked to",
            not_below=Version(7) if reason == "had it" else None,
        )
    )
    assert script.wait(59_999) == []
    assert script.wait(1) == [DiscardStaging(R)]


def test_a_version_that_nobody_has_of_a_known_name_is_waited_for() -> None:
    script = Script()
    script.tell(
        holds(A, *(saved(2, version=version) for version in (90, 100, 110, 300))),
        DiscoverySettled(),
        wanted(saved(2, version=104), is_named=True, patience_ms=60_000),
    )
    assert script.wait(59_999) == []
    assert script.wait(1) == [DiscardStaging(R)]
    near = f"{LLAMA}@100, {LLAMA}@110, {LLAMA}@90"
    said = f"nobody has {LLAMA}@104; known: {near}"
    assert how_it_fails(script) == (FailureCause.UNKNOWN, said)


def test_versions_that_are_not_whole_are_no_unknown_ones() -> None:
    script = Script()
    script.tell(
        holds(A, holding(LLAMA_100, blocks((0, 1)))),
        DiscoverySettled(),
        wanted(LLAMA_100, patience_ms=1000),
    )
    assert script.wait(1000) == [DiscardStaging(R)]
    said = f"no version of {LLAMA} is whole; known: {LLAMA}@100"
    assert how_it_fails(script) == (FailureCause.REQUIRED_MISSING, said)

"""Rules of the scheduler, each broken on purpose, and a seed of chaos in which that is noticed.

They show that the checkers bite. What a safeguard is worth is shown by ``ablations``: that is
left out here, while a rule that is broken gives an order which must never be given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from ckptd.core.effects import CommitBlocks, DiscardStaging
from ckptd.core.events import RangeEnded
from ckptd.core.options import Options
from ckptd.core.peers import blame
from ckptd.core.ranges import picker, transfers
from ckptd.core.stages import advance
from ckptd.core.state.doubts import DoubtedUnit
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest
from ckptd.model.words import CloseReason, LocalOrder, RangeOutcome
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.chaos import draw_chaos


@dataclass(frozen=True, slots=True)
class Breakage:
    """A rule and how to break it.

    Attributes:
        rule: Which.
        seed: One of chaos that breaks it.
        problem: What a checker says then.
        replaced: What is put in the place of which function of the core.
    """

    rule: str
    seed: int
    problem: str
    replaced: Mapping[str, Callable[..., Any]]

    def notice(self, seed: int) -> str:
        """Run a seed with the rule broken; say what a checker says, or nothing."""
        with ExitStack() as stack:
            for name, function in self.replaced.items():
                stack.enter_context(mock.patch(f"ckptd.core.{name}", function))
            try:
                Cluster(draw_chaos(seed)).run()
            except AssertionError as failed:
                return str(failed)
        return ""


_close_lane: Final = Step.close_lane
_commit: Final = advance._commit
_judge: Final = transfers._judge
_preferred_run: Final = picker.preferred_run
_accuse: Final = blame.accuse


def _nothing(*_: object, **__: object) -> None:
    return None


def _always(*_: object, **__: object) -> bool:
    return True


def _never(*_: object, **__: object) -> bool:
    return False


def _discard_at_once(step: Step, recovery: Recovery) -> None:
    if recovery.local.pending_order is not LocalOrder.DISCARD:
        recovery.local.pending_order = LocalOrder.DISCARD
        step.order(DiscardStaging(recovery.id))


def _commit_nothing(step: Step, recovery: Recovery, *, at_once: bool) -> None:
    step.order(CommitBlocks(recovery.id, BlockSet()))
    _commit(step, recovery, at_once=at_once)


def _close_again(step: Step, lane: Lane, reason: CloseReason) -> None:
    lane.is_closing = False
    _close_lane(step, lane, reason)


def _hedge_anything(state: object, lane: Lane, options: Options) -> int | None:
    del state
    is_hedged = not lane.transfers or lane.transfers[0].is_hedged
    return None if is_hedged else options.hedging.floor_ns


def _from_the_middle(recovery: Recovery, peer: Peer) -> BlockRun | None:
    run = _preferred_run(recovery, peer)
    return run and BlockRun((run.start + run.end) // 2, run.end)


def _accuse_all(
    step: Step, peer: Peer, recovery: Recovery, bad: BlockSet, *, is_proof: bool
) -> None:
    del peer
    for other in step.state.peers.values():
        _accuse(step, other, recovery, bad, is_proof=is_proof)


def _excuse_nobody(step: Step, peer: Peer, digest: Digest, unit: DoubtedUnit) -> None:
    del digest
    blame._blame(step, peer, [unit])


def _fail_and_blame(step: Step, lane: Lane, transfer: Transfer, event: RangeEnded) -> None:
    _judge(step, lane, transfer, event)
    if event.outcome is RangeOutcome.DISCONNECTED:
        step.state.peers[lane.source].standing.trust -= 2


BREAKAGES: Final = (
    Breakage(
        "a source with room is looked at",
        0,
        "stands idle",
        {"state.step.Step.note_room": _nothing, "state.step.Step.note_room_everywhere": _nothing},
    ),
    Breakage(
        "a source that rests is looked at again", 0, "overslept", {"state.step.Step.rest": _nothing}
    ),
    Breakage(
        "staging is removed when nothing writes there",
        19,
        "DiscardStaging while",
        {"stages.advance.discard_when_quiet": _discard_at_once},
    ),
    Breakage(
        "required units are missing only where that is permitted",
        1457,
        "places without required",
        {"stages.advance.why_not_without": _nothing},
    ),
    Breakage(
        "a manifest is asked of who has it",
        31,
        "does not have what",
        {"stages.manifest_search._claims": _always},
    ),
    Breakage(
        "a commit has blocks", 0, "commits nothing", {"stages.advance._commit": _commit_nothing}
    ),
    Breakage(
        "only critical ranges are asked for twice",
        3,
        "twice and not critical",
        {
            "ranges.transfers.hedge_after_ns": _hedge_anything,
            "ranges.lanes.hedge_after_ns": _hedge_anything,
        },
    ),
    Breakage(
        "a class goes in order",
        14,
        "which comes before",
        {"ranges.picker.preferred_run": _from_the_middle},
    ),
    Breakage(
        "a lane is closed once", 0, "is closed twice", {"state.step.Step.close_lane": _close_again}
    ),
    Breakage(
        "who sent bad blocks is questioned",
        0,
        "is questioned and sent no bad block",
        {"ranges.transfers.accuse": _accuse_all},
    ),
    Breakage("a denial is no lie", 11, "is honest and", {"peers.blame._excuse": _excuse_nobody}),
    Breakage(
        "a unit is right again once a block of it is",
        27,
        "has not shown that its bad units are right",
        {"ranges.picker.must_prove": _never},
    ),
    Breakage(
        "every byte is accounted for", 0, "it used", {"state.record.tally.Waste.add": _nothing}
    ),
    Breakage(
        "a failure costs no trust",
        23,
        "is honest and not trusted",
        {"ranges.transfers._judge": _fail_and_blame},
    ),
)

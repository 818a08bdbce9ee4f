"""Safeguards of the scheduler, each with a way to do without it, and seeds that miss it.

``make ablations`` does without one after the other and looks for the first seed that goes red.
A safeguard that no seed misses is superfluous, or nobody watches.

Numbers are switched off through ``Options``. Rules are replaced in the modules of the core, from
here and for the time of a run: the core has no switches.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from unittest import mock

from ckptd.core import scheduler
from ckptd.core.events import HoldingsArrived
from ckptd.core.options import Options
from ckptd.core.peers import claims
from ckptd.core.ranges import picker, transfers
from ckptd.core.stages import restaging
from ckptd.core.state import eligibility
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.link import Link
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import NodeHandler, Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.shards import split_shard
from ckptd.model.words import Criticality
from ckptd.sim.cases.case import Case
from ckptd.sim.cases.close_calls import draw_close_call
from ckptd.sim.cases.coded import draw_neighbours
from ckptd.sim.cluster import Cluster
from ckptd.sim.node.node import Node
from ckptd.sim.node.simulated_coding import SimulatedCoding
from ckptd.sim.node.source_side import Server
from ckptd.sim.script.coding import draw_coded
from ckptd.sim.script.drawing import draw_scenario
from ckptd.sim.script.job_drawing import draw_jobs
from ckptd.sim.script.scenario import Scenario
from ckptd.traffic.coding_choice import CodingChoice
from tests.simulation.fleet_ablations import FLEET_ABLATIONS, FleetAblation

NEVER_NS: Final = 24 * 3600 * SECOND

SEEDS_MAX: Final = 1000
"""One of so many seeds has to miss a safeguard."""


_COMPARED: Final[dict[Callable[[int], Scenario], Callable[[int], Case]]] = {
    draw_scenario: draw_close_call,
    draw_coded: draw_neighbours,
}
"""What is measured besides, with the same seed."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """A safeguard and how to do without it.

    Attributes:
        safeguard: Which.
        seeds: Some that miss it.
        problem: What is said where it is missed.
        numbers: Options that switch it off, ``group.name``.
        rules: What is put in the place of which function of the core, the simulator or traffic.
        draw: Which clusters miss it.
    """

    safeguard: str
    seeds: tuple[int, ...]
    problem: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, object] = field(default_factory=dict)
    draw: Callable[[int], Scenario] = draw_scenario

    def miss(self, seed: int) -> str:
        """Run the clusters of a seed without it; say what went wrong, or nothing."""
        with self._in_force():
            try:
                Cluster(self._without(self.draw(seed))).run()
                if self.draw in _COMPARED:
                    case = _COMPARED[self.draw](seed)
                    replace(case, scenario=self._without(case.scenario)).hold()
            except AssertionError as failed:
                return str(failed)
        return ""

    @contextmanager
    def _in_force(self) -> Iterator[None]:
        with ExitStack() as stack:
            for name, rule in self.rules.items():
                room = "" if name.startswith(("sim.", "traffic.")) else "core."
                stack.enter_context(mock.patch(f"ckptd.{room}{name}", rule))
            yield

    def _without(self, scenario: Scenario) -> Scenario:
        scheduler = scenario.options.scheduler
        for name, number in self.numbers.items():
            group, _, field_name = name.partition(".")
            changed = replace(getattr(scheduler, group), **{field_name: number})
            scheduler = replace(scheduler, **{group: changed})
        return replace(scenario, options=replace(scenario.options, scheduler=scheduler))


# What is put in the place of rules.

_on_holdings_arrived: Final = claims.on_holdings_arrived
_preferred_run: Final = picker.preferred_run
_credit: Final = transfers._credit
_order_staging: Final = restaging.order_staging


def _never(*_: object, **__: object) -> bool:
    return False


def _nothing(*_: object, **__: object) -> None:
    return None


def _leave_nothing(step: Step, recovery: Recovery) -> None:
    del step
    recovery.coverage.left_to_disks = BlockSet()


def _stage_all(step: Step, recovery: Recovery) -> None:
    recovery.coverage.unchosen = BlockSet()
    _order_staging(step, recovery)


def _as_it_is(_: Recovery, holding: Holding) -> Holding:
    return holding


def _take_for_the_old_one(step: Step, event: HoldingsArrived) -> None:
    known = step.state.peers.get(event.node)
    _on_holdings_arrived(step, event if known is None else replace(event, epoch=known.epoch))


def _blame_at_once(
    step: Step, peer: Peer, recovery: Recovery, bad: BlockSet, *, is_proof: bool
) -> None:
    del is_proof
    options = step.options
    is_critical = bool(bad & recovery.content.critical)
    everything = options.trust.most - options.trust.quarantine_at
    trust_lost = everything if is_critical else len(bad) * options.trust.per_bad_block
    peer.standing.blame(trust_lost, options, now=step.now)


def _in_order(recovery: Recovery, peer: Peer) -> BlockRun | None:
    if peer.link.failures:
        return _preferred_run(recovery, peer)
    blocks = eligibility.servable(recovery, peer)
    return (blocks & recovery.coverage.prioritized or blocks).first_run()


def _by_criticality(recovery: Recovery, peer: Peer) -> BlockRun | None:
    """Take what is critical of all phases first."""
    blocks, space = eligibility.servable(recovery, peer), recovery.content.space
    classes = (blocks & space.of_criticality(each) for each in Criticality)
    urgent = next((found for found in classes if found), None)
    if len(space.phases) == 1 or urgent is None or eligibility.must_prove(recovery, peer):
        return _preferred_run(recovery, peer)
    return urgent.first_run()


def _whatever_phase(recovery: Recovery, block: int) -> Criticality:
    coverage, space = recovery.coverage, recovery.content.space
    if block in coverage.needed or block in coverage.prioritized:
        return Criticality.CRITICAL
    criticality = space.manifest.units[space.unit_of(block)].criticality
    return min(criticality, Criticality.NORMAL) if block in coverage.ahead else criticality


def _without_needs(recovery: Recovery, blocks: BlockSet) -> BlockSet:
    return blocks & recovery.coverage.prioritized or blocks


def _credit_and_forget(
    step: Step,
    recovery: Recovery,
    lane: Lane,
    transfer: Transfer,
    run: BlockRun,
    rejected: tuple[int, ...],
) -> None:
    _credit(step, recovery, lane, transfer, run, rejected)
    recovery.refused.clear()


def _same_patience(link: Link, options: Options) -> int:
    del link
    return options.silence.first_byte_floor_ns


def _nobody_announced(*_: object, **__: object) -> dict[Version, list[NodeId]]:
    return {}


def _newest_shard_here(node: Node, job: CheckpointName) -> Version | None:
    shards = (version for version, _ in node.places.values())
    splits = ((version.version, split_shard(version.checkpoint)) for version in shards)
    return max((version for version, split in splits if split and split[0] == job), default=None)


def _coded_if_it_codes(choice: CodingChoice, size_bytes: int, *, now: int, lanes: int = 1) -> bool:
    del size_bytes, now, lanes
    return choice._source.codes


def _held_base(node: Server | SimulatedCoding, base: Digest, block: int) -> bool:
    return block in node.held_blocks(base)


ABLATIONS: Final = (
    Ablation(
        "nodes say which version of a job they recover",
        (2, 7),
        "ended with",
        rules={
            "jobs.choosing.announced": _nobody_announced,
            "jobs.agreeing.announced": _nobody_announced,
        },
        draw=draw_jobs,
    ),
    Ablation(
        "a shard alone is no mark",
        (5, 20),
        "has not ended, and",
        rules={"sim.node.node.Node.mark_of": _newest_shard_here},
        draw=draw_jobs,
    ),
    Ablation(
        "another epoch is another peer",
        (70,),
        "has not shown",
        rules={
            "scheduler._HANDLERS": {
                **scheduler._HANDLERS,
                HoldingsArrived: NodeHandler(HoldingsArrived, _take_for_the_old_one),
            }
        },
    ),
    Ablation("silence is noticed", (38, 101, 119), "silent", {"silence.floor_ns": NEVER_NS}),
    Ablation(
        "time between two reports",
        (1,),
        "has not ended",
        {"silence.floor_ns": 1, "silence.gaps": 1},
    ),
    Ablation(
        "patience for first bytes ends",
        (82,),
        "has not ended",
        {"silence.first_byte_floor_ns": NEVER_NS, "silence.first_byte_ceiling_ns": NEVER_NS},
    ),
    Ablation("time to answer", (0,), "has not ended", {"silence.first_byte_floor_ns": 1}),
    Ablation(
        "patience for first bytes grows",
        (31, 40),
        "distant",
        rules={"state.link.Link.first_byte_timeout_ns": _same_patience},
    ),
    Ablation("bad blocks cost trust", (458, 491), "bad blocks", {"trust.per_bad_block": 0}),
    Ablation(
        "a question before blame",
        (272, 334),
        "is honest and in quarantine",
        rules={"ranges.transfers.accuse": _blame_at_once},
    ),
    Ablation(
        "a block is not asked of who sent it wrongly",
        (1,),
        "cannot serve",
        rules={"ranges.transfers._credit": _credit_and_forget},
    ),
    Ablation(
        "own place and rarest first",
        (4,),
        "swarm",
        rules={"ranges.picker.preferred_run": _in_order},
    ),
    Ablation("hedges", (7, 10), "late", {"hedging.floor_ns": NEVER_NS}),
    Ablation("stealing", (15, 20), "seconds", rules={"ranges.stealing.steal": _nothing}),
    Ablation(
        "a pause after a failure", (112,), "failed in a minute", {"silence.back_off_first_ns": 0}
    ),
    Ablation("pauses end", (32,), "has stood still", {"silence.back_off_max_ns": 60 * SECOND}),
    Ablation(
        "waiting for what is more urgent",
        (3, 9),
        "lacks more urgent",
        rules={"ranges.ordering.has_to_wait": _never},
    ),
    Ablation(
        "a phase goes before the next one",
        (44, 58),
        "of an earlier phase",
        rules={"ranges.picker.preferred_run": _by_criticality},
    ),
    Ablation(
        "critical is what is so in the phase under way",
        (44, 101),
        "are not all critical",
        rules={"state.recovery.Recovery.criticality_of": _whatever_phase},
    ),
    Ablation(
        "what is waited for goes first",
        (29, 130),
        "while BlockSet",
        rules={"state.recovery.Recovery.most_urgent": _without_needs},
    ),
    Ablation(
        "what is waited for jumps the queue",
        (10, 27),
        "is waited for behind",
        rules={"ranges.picker.has_express_room": _never},
    ),
    Ablation(
        "giving up what is less urgent",
        (145,),
        "interrupted",
        rules={"ranges.ordering.preempt": _nothing},
    ),
    Ablation(
        "commits in time",
        (0, 2),
        "this disk is slow",
        {"commits.age_ns": NEVER_NS, "commits.bytes_due": 2**60},
    ),
    Ablation(
        "a slow disk is no silent source",
        (14,),
        "this disk is slow",
        rules={"ranges.transfers.is_held_up_here": _never},
    ),
    Ablation(
        "what lies here does not travel",
        (6, 12),
        "lies here",
        rules={"ranges.ordering.leave_to_disks": _leave_nothing},
    ),
    Ablation(
        "slow disks are not waited for",
        (2,),
        "nearby: seconds",
        rules={"ranges.ordering.leave_to_disks": _nothing},
    ),
    Ablation(
        "what is wrong here is fetched",
        (4,),
        "cannot serve",
        rules={"ranges.transfers.note_unusable": _nothing},
    ),
    Ablation(
        "what nobody asked for does not travel",
        (4, 32),
        "what nobody asked for",
        rules={"stages.manifest_search.order_staging": _stage_all},
    ),
    Ablation(
        "the newest version needs only what is chosen of it",
        (8, 22),
        "chosen: versions",
        rules={"stages.claims_on_content.as_chosen": _as_it_is},
    ),
    Ablation("lanes without work are closed", (1, 3), "has been idle", {"lanes.idle_ns": NEVER_NS}),
    Ablation(
        "coded blocks where they are faster",
        (36, 37),
        "time of blocks as they are",
        rules={"traffic.coding_choice.CodingChoice.is_coded": _coded_if_it_codes},
        draw=draw_coded,
    ),
    Ablation(
        "who decodes hashes the base",
        (18, 35),
        "is honest and",
        rules={"sim.node.simulated_coding.SimulatedCoding.reads_base": _held_base},
        draw=draw_coded,
    ),
    Ablation(
        "who codes hashes the base",
        (35, 54),
        "is honest and",
        rules={"sim.node.source_side.Server.reads_base": _held_base},
        draw=draw_coded,
    ),
    Ablation(
        "local orders are tried again", (25,), "has not ended", {"commits.retry_ns": NEVER_NS}
    ),
)


_ALL: Final[tuple[Ablation | FleetAblation, ...]] = (*ABLATIONS, *FLEET_ABLATIONS)


def _miss(index: int, seed: int) -> str:
    return _ALL[index].miss(seed)


def main() -> int:
    """Look for the first seed that misses each safeguard; fail if one is not missed."""
    is_missed = True
    for index, ablation in enumerate(_ALL):
        with multiprocessing.Pool(os.cpu_count()) as pool:  # what is left of it ends with it
            problems = pool.imap(partial(_miss, index), range(SEEDS_MAX))
            found = next((each for each in enumerate(problems) if each[1]), None)
        if found is None:
            is_missed = False
            line = f"GREEN after {SEEDS_MAX} seeds"
        else:
            line = f"seed {found[0]:>3}, {found[0] + 1} tried: {found[1][:100]}"
        print(f"{ablation.safeguard:<44} {line}", flush=True)
    return 0 if is_missed else 1


if __name__ == "__main__":
    sys.exit(main())

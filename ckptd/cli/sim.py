"""``python -m ckptd.cli.sim``: run simulated clusters, on all cores.

Without a name it draws clusters from seeds; with one it measures a named scenario. A failure
prints what failed and the command that replays it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from ckptd.errors import ExitCode
from ckptd.sim.cases.case import Measure
from ckptd.sim.cases.close_calls import draw_close_call
from ckptd.sim.cases.coded import draw_neighbours
from ckptd.sim.cases.named import CASES
from ckptd.sim.cluster import Cluster
from ckptd.sim.fleet.drawing import draw_fleet
from ckptd.sim.fleet.watched_fleet import WatchedFleet
from ckptd.sim.script.chaos import draw_chaos
from ckptd.sim.script.coding import draw_coded
from ckptd.sim.script.drawing import draw_scenario
from ckptd.sim.script.job_drawing import draw_jobs
from ckptd.sim.script.rivaling import draw_rivals
from ckptd.sim.script.scenario import Scenario

USUAL: Final = "drawn"
CODED: Final = "coded"
"""The profile whose nodes code. Of each seed a cluster that is compared with itself as well."""
PROFILES: Final[dict[str, Callable[[int], Scenario]]] = {
    USUAL: draw_scenario,
    "chaos": draw_chaos,
    "rivals": draw_rivals,
    "jobs": draw_jobs,
    CODED: draw_coded,
}
"""How seeds draw clusters, by name."""
COPIES: Final = "copies"
"""The profile whose seeds draw whole fleets that keep copies; coarser, around another decider."""

_FAILURES_SHOWN_MAX: Final = 20
_STORY_LINES: Final = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed.

    Attributes:
        seed: Which.
        problem: What failed; empty if nothing did.
        event_count: Events that were handled.
        digest: Of the story of the first cluster.
        moved_bytes: What fleets moved for copies.
        planned_bytes: What a planner with full knowledge would have.
    """

    seed: int
    problem: str
    event_count: int
    digest: str
    moved_bytes: int = 0
    planned_bytes: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.scenario:
            names = list(CASES) if options.scenario == "all" else [options.scenario]
            return _measure_all(names, options.seed or 0)
        if options.seed is not None:
            return _replay(
                options.seed, options.profile, story_lines=options.story, node=options.node
            )
        seeds = range(options.first, options.first + options.seeds)
        return _run_seeds(seeds, options.jobs, options.profile)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ckptd.cli.sim", description="Runs simulated clusters in virtual time."
    )
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="so many seeds")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="beginning with this one")
    parser.add_argument("--seed", type=int, metavar="N", help="only this seed, with its report")
    parser.add_argument(
        "--story",
        type=int,
        nargs="?",
        const=_STORY_LINES,
        default=0,
        metavar="LINES",
        help=f"with --seed: print the end of the story ({_STORY_LINES} lines)",
    )
    parser.add_argument(
        "--profile",
        choices=(*PROFILES, COPIES),
        default=USUAL,
        help="how clusters are drawn; chaos: small ones in which nearly everything goes wrong;"
        " copies: fleets that keep copies; coded: nodes that have the version before",
    )
    parser.add_argument("--node", metavar="NAME", help="with --story: of this node only")
    parser.add_argument(
        "--scenario",
        choices=(*CASES, "all"),
        metavar="NAME",
        help=f"measure a named scenario: {', '.join(CASES)}, all",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (%(default)s)"
    )
    return parser


def _run_seeds(seeds: range, jobs: int, profile: str) -> int:
    """Run many seeds; say how far it is, and what failed."""
    begun = time.monotonic()
    failed: list[Outcome] = []
    event_count = moved_bytes = planned_bytes = 0
    with multiprocessing.Pool(jobs) as pool:
        outcomes = pool.imap_unordered(partial(run_seed, profile=profile), seeds, chunksize=4)
        for count, outcome in enumerate(outcomes, 1):
            event_count += outcome.event_count
            moved_bytes += outcome.moved_bytes
            planned_bytes += outcome.planned_bytes
            if outcome.problem:
                failed.append(outcome)
                if len(failed) <= _FAILURES_SHOWN_MAX:
                    _show_failure(outcome, profile)
            if sys.stdout.isatty() or count % max(len(seeds) // 10, 1) == 0:
                end = "\r" if sys.stdout.isatty() and count < len(seeds) else "\n"
                print(f"{count} of {len(seeds)} seeds, {len(failed)} failed", end=end, flush=True)
    took_s = time.monotonic() - begun
    print(f"{event_count} events in {took_s:.1f} s, {took_s * jobs / len(seeds):.3f} s per seed")
    if profile == COPIES:
        print(_moved(moved_bytes, planned_bytes))
    return ExitCode.FAILED if failed else ExitCode.DONE


def _moved(moved_bytes: int, planned_bytes: int) -> str:
    times = moved_bytes / max(planned_bytes, 1)
    return f"moved {times:.2f} times what a planner with full knowledge moves"


def run_seed(seed: int, profile: str = USUAL) -> Outcome:
    """Run the clusters that a seed draws: usually one of any kind, and a close call."""
    if profile == COPIES:
        return _run_fleet(seed)
    cluster = Cluster(PROFILES[profile](seed))
    problem, more_events = "", 0
    try:
        cluster.run()
        if profile == USUAL:
            more_events = draw_close_call(seed).hold().event_count
        elif profile == CODED:
            more_events = draw_neighbours(seed).hold().event_count
    except Exception as error:  # noqa: BLE001 -- edge: a bug → what is printed
        problem = _tell(error)
    event_count = cluster.books.event_count + more_events
    return Outcome(seed, problem, event_count, cluster.chronicle.digest())


def _run_fleet(seed: int) -> Outcome:
    """Run the fleet that a seed draws."""
    fleet = WatchedFleet(draw_fleet(seed))
    problem = ""
    try:
        fleet.run()
    except Exception as error:  # noqa: BLE001 -- edge: a bug → what is printed
        problem = _tell(error)
    return Outcome(
        seed,
        problem,
        fleet.event_count,
        fleet.digest(),
        moved_bytes=fleet.moved_bytes,
        planned_bytes=fleet.planned_bytes,
    )


def _tell(error: Exception) -> str:
    """Say what failed, and where in the code if that is not where it was checked."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = "" if isinstance(error, AssertionError) else f" ({where.filename}:{where.lineno})"
    return f"{type(error).__name__}: {error}{place}"


def _show_failure(outcome: Outcome, profile: str) -> None:
    print(f"seed {outcome.seed} failed at commit {_commit()}: {outcome.problem}")
    print(f"  make sim SEED={outcome.seed}" + (f" PROFILE={profile}" if profile != USUAL else ""))


def _replay(seed: int, profile: str, *, story_lines: int, node: str | None) -> int:
    """Run one seed and print what came out, and the end of the story if that is wanted."""
    if profile == COPIES:
        return _replay_fleet(seed, story_lines=story_lines, node=node)
    cluster = Cluster(PROFILES[profile](seed), keeps_story=story_lines > 0)
    problem = ""
    try:
        report = cluster.run()
        for recovery in report.recoveries:
            print(recovery)
        if profile == USUAL:
            call = draw_close_call(seed).hold()
            print(f"close call, {call.scenario}: {call.seconds:.1f} s")
        elif profile == CODED:
            print(f"neighbours: {draw_neighbours(seed).hold().seconds:.1f} s")
    except Exception as error:  # noqa: BLE001 -- edge: a bug → what is printed
        problem = _tell(error)
    lines = [line for line in cluster.chronicle.lines if node in {None, line.split()[1]}]
    for line in lines[-story_lines:] if story_lines else []:
        print(line)
    print(f"seed {seed}, commit {_commit()}, story {cluster.chronicle.digest()}")
    print(problem or "nothing failed")
    return ExitCode.FAILED if problem else ExitCode.DONE


def _replay_fleet(seed: int, *, story_lines: int, node: str | None) -> int:
    """Run a drawn fleet and print how much it moved, and the end of its story if that is wanted."""
    fleet = WatchedFleet(draw_fleet(seed))
    problem = ""
    try:
        fleet.run()
    except Exception as error:  # noqa: BLE001 -- edge: a bug → what is printed
        problem = _tell(error)
    lines = [line for line in fleet.lines if node in {None, line.split()[1]}]
    for line in lines[-story_lines:] if story_lines else []:
        print(line)
    print(_moved(fleet.moved_bytes, fleet.planned_bytes))
    print(f"seed {seed}, commit {_commit()}, story {fleet.digest()}")
    print(problem or "nothing failed")
    return ExitCode.FAILED if problem else ExitCode.DONE


def _measure_all(names: Sequence[str], seed: int) -> int:
    """Run named scenarios and print their numbers."""
    is_reached = True
    for name in names:
        begun = time.monotonic()
        report, measures = CASES[name](seed).run()
        took_s = time.monotonic() - begun
        print(f"{name}: {report.seconds:.1f} s, {report.event_count} events, in {took_s:.1f} s")
        for measure in measures:
            print(_line(measure))
            is_reached = is_reached and measure.is_reached
    return ExitCode.DONE if is_reached else ExitCode.FAILED


def _line(measure: Measure) -> str:
    mark = "ok " if measure.is_reached else "NOT"
    return f"  {mark} {measure.name}: {measure.value:.4g} (to reach: {measure.to_reach:.4g})"


def _commit() -> str:
    """Return which commit this is, as far as git knows."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        cwd=os.path.dirname(os.path.abspath(__file__)),
    )
    return asked.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())

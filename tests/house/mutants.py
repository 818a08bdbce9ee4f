"""``make mutants``: does a test fail where a line of the source is wrong?

    python -m tests.house.mutants --count 60 --seed 1 --under net/source

Draws small mutations of ``core``, ``net``, ``store`` and ``wire`` by operator and seed, those of
``named_mutants`` always among them. Each is made in a copy of the project, and the tests of its
module alone (``mirror``) are run there. One that they fail on, or do not end on, is caught; the
others are listed with what they changed. What no test can see is code to remove.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

from tests.house.mirror import mirror_of
from tests.house.mutant_runs import PACKAGE, PROJECT, Bench, Job, Outcome, copies, preload
from tests.house.mutations import Mutation, draw, mutations_of
from tests.house.named_mutants import NAMED
from tests.house.source_tree import Module, read_package

ROOMS: Final = ("core/", "net/", "store/", "wire/")
COUNT: Final = 60
CAUGHT_MIN_SHARE: Final = 56 / 60
LIMIT_S: Final = 20.0
"""A run may take so long …"""
LIMIT_FACTOR: Final = 5
"""… or so many times what the same tests take without a mutation."""
UNMUTATED_LIMIT_S: Final = 300.0


def choose(modules: Sequence[Module], count: int, seed: int) -> list[Mutation]:
    """Return the named mutants of these modules and as many drawn ones as are left to count."""
    by_path = {module.path: module for module in modules}
    named = [each.in_module(by_path[each.path]) for each in NAMED if each.path in by_path]
    candidates = [mutation for module in modules for mutation in mutations_of(module)]
    return [*named, *draw(candidates, max(count - len(named), 0), seed)]


def run(mutations: Sequence[Mutation], bench: Bench) -> Iterator[Outcome]:
    """Run the tests of each module as it is, then with each of its mutations.

    Raises:
        RuntimeError: Tests fail without a mutation: they would say nothing.
    """
    paths = sorted({mutation.path for mutation in mutations})
    clean_s = {}
    for outcome in bench.run([Job(path, None, UNMUTATED_LIMIT_S) for path in paths]):
        if outcome.is_red:
            raise RuntimeError(
                f"tests of {outcome.job.path} fail without a mutation:\n{outcome.output}"
            )
        clean_s[outcome.job.path] = outcome.seconds
    longest_first = sorted(mutations, key=lambda mutation: -clean_s[mutation.path])
    yield from bench.run([
        Job(each.path, each, max(LIMIT_S, LIMIT_FACTOR * clean_s[each.path]))
        for each in longest_first
    ])  # fmt: skip


def difference(mutation: Mutation, source: str) -> Iterator[str]:
    """Yield what a mutation changes, as a diff of its lines."""
    lines = difflib.unified_diff(
        source.splitlines(), mutation.of(source).splitlines(), n=1, lineterm=""
    )
    yield from (f"    {line}" for line in list(lines)[3:])


def main() -> None:
    """Run them, list the survivors, and exit with 1 if too many survived."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="how many (60)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--under", default="", help="only of modules whose path begins so")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()

    began = time.monotonic()
    modules = [
        module
        for module in read_package(PROJECT / PACKAGE)
        if module.path.startswith(ROOMS) and module.path.startswith(options.under)
    ]
    sources = {module.path: module.source for module in modules}
    chosen = choose(modules, options.count, options.seed)
    unit_tests = PROJECT / "tests" / "unit"
    unseen = [each for each in chosen if not mirror_of(each.path, unit_tests)]
    seen = [each for each in chosen if each not in unseen]

    survivors: list[Mutation] = []
    preload()
    with copies(options.jobs) as places:
        for outcome in run(seen, Bench(places, options.seed)):
            mutation = outcome.job.mutation
            assert mutation is not None
            if not outcome.is_red:
                survivors.append(mutation)
            word = "caught" if outcome.is_red else "SURVIVED"
            say(f"{word:<9} {outcome.seconds:5.1f} s  {place_of(mutation)}  {mutation.operator}")
    for mutation in survivors:
        say(f"\nsurvived: {place_of(mutation)}  {mutation.operator}")
        for line in difference(mutation, sources[mutation.path]):
            say(line)
    for mutation in unseen:
        say(f"\nno tests: {place_of(mutation)}  {mutation.operator}")
    caught = len(chosen) - len(survivors) - len(unseen)
    say(
        f"\n{caught} of {len(chosen)} mutants caught (seed {options.seed}) "
        f"in {time.monotonic() - began:.0f} s on {options.jobs} cores"
    )
    sys.exit(0 if caught >= CAUGHT_MIN_SHARE * len(chosen) else 1)


def place_of(mutation: Mutation) -> str:
    """Return where a mutation is, as editors open it."""
    return f"{PACKAGE}/{mutation.path}:{mutation.line}"


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

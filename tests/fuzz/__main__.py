"""``python -m tests.fuzz``: every parser, or one, on many drawn inputs, on all processors.

The target ``dialogues`` is a receiver, and its inputs are conversations.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz.judging import Finding, Tally, fuzz
from tests.fuzz.targets import TARGETS

_DIALOGUES = "dialogues"
_EXECUTIONS = 100_000
_DIALOGUES_COUNT = 1_000
"""A dialogue takes as long as a thousand inputs of a parser."""


def main() -> int:
    """Run; print a line for each target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--executions", type=int, help="for each target")
    parser.add_argument("--target", choices=(*TARGETS, _DIALOGUES), help="only this one")
    parser.add_argument("--seed", type=int, help="draw what an earlier run drew")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    names = [options.target] if options.target else list(TARGETS)
    is_found = False
    if options.target in {None, _DIALOGUES}:
        is_found = _converse(options.executions or _DIALOGUES_COUNT, options.seed)
        if options.target is not None:
            return int(is_found)
    cores = os.cpu_count() or 1
    print(f"seed {seed}, {cores} processes")
    print(
        f"{'target':14} {'executions':>10} {'per second':>10} {'accepted':>8} {'places':>6}"
        f" {'worst':>9} {'allocated':>10}"
    )
    with ProcessPoolExecutor(cores) as pool:
        for name in names:
            start_s = time.monotonic()
            share = -(-(options.executions or _EXECUTIONS) // cores)
            jobs = [pool.submit(_fuzz, name, share, seed + core) for core in range(cores)]
            tallies = [job.result() for job in jobs]
            failed = [each for each in tallies if isinstance(each, str)]
            if failed:
                print(*failed, sep="\n", file=sys.stderr)
                is_found = True
                continue
            done = [each for each in tallies if isinstance(each, Tally)]
            _print(name, done, time.monotonic() - start_s)
    return int(is_found)


def _converse(count: int, seed: int | None) -> bool:
    """Play dialogues, each in the time of its process; return whether one found something."""
    first = secrets.randbits(32) if seed is None else seed
    cores = min(os.cpu_count() or 1, count)
    share = -(-count // cores)
    start_s = time.monotonic()
    print(f"dialogues from seed {first}: {share * cores} in {cores} processes", flush=True)
    runs = []
    for core in range(cores):
        seeds = "--seeds", str(first + core * share), "--count", str(share)
        runs.append(subprocess.Popen([sys.executable, "-m", "tests.fuzz.dialogues", *seeds]))
    codes = [run.wait() for run in runs]
    print(f"dialogues: {share * cores / (time.monotonic() - start_s):.1f} per second", flush=True)
    return any(codes)


def _fuzz(name: str, executions: int, seed: int) -> Tally | str:
    try:
        return fuzz(TARGETS[name], executions, seed)
    except Finding as finding:
        return f"FOUND {finding}"


def _print(name: str, tallies: list[Tally], taken_s: float) -> None:
    executions = sum(tally.executions for tally in tallies)
    accepted = sum(tally.accepted for tally in tallies) / executions
    print(
        f"{name:14} {executions:>10} {executions / taken_s:>10.0f} {accepted:>8.1%}"
        f" {max(tally.places for tally in tallies):>6}"
        f" {max(tally.worst_ns for tally in tallies) / 1e6:>6.2f} ms"
        f" {max(tally.allocated_bytes for tally in tallies) / 1024:>6.0f} KiB",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

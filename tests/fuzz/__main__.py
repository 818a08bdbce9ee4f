"""``python -m tests.fuzz``: every parser, or one, on many drawn inputs, on all processors."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz.judging import Finding, Tally, fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run; print a line for each target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--executions", type=int, default=100_000, help="for each target")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--seed", type=int, help="draw what an earlier run drew")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    names = [options.target] if options.target else list(TARGETS)
    cores = os.cpu_count() or 1
    print(f"seed {seed}, {cores} processes")
    print(
        f"{'target':14} {'executions':>10} {'per second':>10} {'accepted':>8} {'places':>6}"
        f" {'worst':>9} {'allocated':>10}"
    )
    is_found = False
    with ProcessPoolExecutor(cores) as pool:
        for name in names:
            start_s = time.monotonic()
            share = -(-options.executions // cores)
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

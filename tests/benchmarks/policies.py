"""What it costs to say what each of many files is: python -m tests.benchmarks.policies."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from ckptd.model.policy.assignment import assign
from ckptd.model.policy.folding import summary_of_assignment
from ckptd.model.policy.rules import Policy, Rule
from ckptd.model.words import Criticality
from ckptd.store.files.packed_paths import PackedPaths

_AFTER = Rule(("*",), after=("layers/0000/shard-000000[01].bin",), origin="after")
"""Two for each of half a million files: no manifest has many more."""


def cases() -> Iterator[tuple[str, list[Policy]]]:
    """Yield policies, each with what they are called."""
    ten = [Rule((f"*/{number:04}/*", f"x{number}*"), phase="core") for number in range(10)]
    others = [Rule((f"dir{number:04}/*.safetensors",), phase="core") for number in range(1000)]
    yield "no rule", []
    yield "one rule", [Policy((), (Rule(("layers/0001/*",), criticality=Criticality.CRITICAL),))]
    yield "ten rules", [Policy((), tuple(ten))]
    yield "ten rules and one with prerequisites", [Policy((), (*ten, _AFTER))]
    yield "a thousand rules for other directories", [Policy((), tuple(others))]


def main() -> None:
    """Measure each case once and print how long it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=500_000, metavar="N")
    count = parser.parse_args().files
    paths = PackedPaths(f"layers/{each // 1000:04}/shard-{each:07}.bin" for each in range(count))
    for name, policies in cases():
        begun = time.perf_counter()
        assignment = assign(paths, policies)
        assigned = time.perf_counter()
        summary = summary_of_assignment(assignment, paths, [1] * count)
        ended = time.perf_counter()
        print(
            f"{name}: {assigned - begun:.2f} s, and {ended - assigned:.2f} s to show them in "
            f"{len(summary.folds)} rows",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""``make bench-ceilings``: ckptd beside the most that this machine can do.

    python -m tests.benchmarks.instruments --size 2GiB --rounds 5 --against v0.1.0

One file from four sources to one receiver over loopback, plain and with TLS, in turns with a
program in C that receives, hashes and writes as many bytes over as many lanes, sent with the same
congestion control, and does nothing else. ``--against`` lets ckptd of another commit take turns.
Then what a gigabyte costs either side, and what a model of that predicts: for this machine with one
core and with all, which is checked, and for bigger ones. Kinds of work need perf, and mostly root.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.cli.render.text import table
from ckptd.model.quantities import format_size, parse_size
from tests.benchmarks import rows
from tests.benchmarks.__main__ import (
    MARGIN_BYTES,
    Part,
    Told,
    end_politely,
    keep_result,
    measure_parts,
    print_facts,
    small_files,
)
from tests.benchmarks.ceilings import Iperf
from tests.benchmarks.competitors import SOURCES, Competitor
from tests.benchmarks.conversing import SINGLE_FILE
from tests.benchmarks.daemons import Ckptd
from tests.benchmarks.instruments.c_ceiling import Ceiling
from tests.benchmarks.instruments.earlier import Earlier, take_packages
from tests.benchmarks.instruments.reporting import (
    LANES,
    bigger_machines,
    check,
    cost_table,
    document,
)
from tests.benchmarks.instruments.spending import Load, Spent, cores_only, costs_of, spend
from tests.benchmarks.places import choose_place
from tests.benchmarks.turns import Case

PARTS = ("ceilings", "large", "small")


def main() -> int:
    """Measure, print one table, write one JSON file."""
    parser = argparse.ArgumentParser(
        prog="make bench-ceilings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", type=parse_size, default="2GiB", metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {min(unknown)}; there are {', '.join(PARTS)}")
    end_politely()
    told = Told(arguments.size, arguments.rounds)
    if "ceilings" in parts:
        _compare(told, arguments.against)
    if "large" in parts:
        _model(told, _large(told))
    if "small" in parts:
        _spend(told, [Load("small", small_files(), False), Load("small, TLS", small_files(), True)])
    return 0


def _compare(told: Told, against: str | None) -> None:
    """Measure beside the ceiling, and beside an earlier ckptd."""
    with tempfile.TemporaryDirectory("-earlier") as directory:
        if against:
            take_packages(against, Path(directory))
        earlier = Path(directory) if against else None
        measure_parts(told, [_ceilings(told, earlier)], 3 * told.size_bytes + MARGIN_BYTES)


def _large(told: Told) -> list[Load]:
    files = [PlannedFile(SINGLE_FILE, told.size_bytes)]
    return [Load("large", files, False), Load("large, TLS", files, True)]


def _spend(told: Told, loads: Sequence[Load]) -> dict[str, Spent]:
    """Measure what a gigabyte costs, print one table, write one JSON file."""
    place = choose_place(3 * told.size_bytes + MARGIN_BYTES)
    facts = print_facts(told, place)
    measured = {load.name: spend(load, place, told.rounds) for load in loads}
    print(f"\n{cost_table(measured)}", flush=True)
    found = {
        "machine": facts,
        "loads": [document(load, measured[load.name]) for load in loads],
    }
    print(f"\n{keep_result(found, '-costs')}", flush=True)
    return measured


def _model(told: Told, loads: Sequence[Load]) -> None:
    """Measure what a gigabyte costs; print what that predicts, here and on bigger machines."""
    models = {name: costs_of(spent) for name, spent in _spend(told, loads).items()}
    place = choose_place(3 * told.size_bytes + MARGIN_BYTES)
    checks = []
    cores = sorted(os.sched_getaffinity(0))
    for load in loads:
        for count in sorted({1, len(cores)}):
            with cores_only(cores[:count]):
                rates = spend(load, place, told.rounds, with_instruments=False)
            checks.append((load.name, *check(models[load.name], count, SOURCES, rates)))
    head = ("LOAD", "CORES", "PREDICTED", "BINDS", "MEASURED", "OFF BY")
    print("\n" + "\n".join(table(head, checks)))
    print(f"\nsources elsewhere, {LANES} lanes:\n{bigger_machines(models)}")


def _ceilings(told: Told, earlier: Path | None) -> Part:
    plain, tls = Ckptd(rows.PLAIN), Ckptd(rows.TLS, uses_tls=True)
    competitors: list[Competitor] = [
        plain,
        Ceiling(rows.CEILING, beside=plain),
        tls,
        Ceiling(rows.TLS_CEILING, beside=tls, uses_tls=True),
        Iperf(),
    ]
    wanted: Sequence[rows.Row] = rows.CEILINGS
    if earlier is not None:
        wanted = (*rows.CEILINGS, *rows.AGAINST_EARLIER)
        competitors += [
            Earlier(rows.EARLIER, earlier),
            Earlier(rows.TLS_EARLIER, earlier, uses_tls=True),
        ]
    case = Case(
        f"one file of {format_size(told.size_bytes)} from four sources, in memory",
        [PlannedFile(SINGLE_FILE, told.size_bytes)],
        competitors,
    )
    return Part("ceilings", case, wanted)


if __name__ == "__main__":
    sys.exit(main())

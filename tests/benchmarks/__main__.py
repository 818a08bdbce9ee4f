"""``make bench``: ckptd beside tools that people use for the same, on this machine.

    python -m tests.benchmarks --size 2GiB --rounds 5 large disk

Four sources, one receiver, all over loopback. Competitors take turns, so that a slow minute of
the machine hits all of them; memory is touched just before each turn and kept from the host,
because first touch can cost more than the transfer. What is not installed is named and left out:
``make bench-peers``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.cli.render.text import table
from ckptd.limits import BLOCKS_PER_UNIT_AIM, KIB, MIB
from ckptd.model.quantities import format_rate, format_size, parse_size
from tests.benchmarks import rows
from tests.benchmarks.ceilings import SYNC_BYTES, Fio, Iperf
from tests.benchmarks.conversing import SINGLE_FILE, Libtorrent, Prototype, Torchft
from tests.benchmarks.daemons import Ckptd, CkptdOfSmallBlocks
from tests.benchmarks.instruments.c_ceiling import Ceiling
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.peers.small_blocks import BLOCK_BYTES
from tests.benchmarks.places import RESULTS, choose_disk, choose_place
from tests.benchmarks.sway import sway
from tests.benchmarks.tools import Aria2, Curl, Rclone, Rsync
from tests.benchmarks.turns import Case, Measured, measure

SHAPING = "tests.benchmarks.shaping"
GROUPS = {
    "reuse": "tests.benchmarks.reuse",
    "jobs": "tests.benchmarks.jobs",
    "lazy": "tests.benchmarks.lazy",
    "phases": "tests.benchmarks.phases",
    "delta": "tests.benchmarks.deltas",
    "chains": "tests.benchmarks.chains",
}
"""Rows of a module of their own, which are measured where they are named."""
SMALL_UNIT_BYTES = 16 * KIB
SMALL_UNITS = 20_000
MANY_BLOCKS = 2**20
MARGIN_BYTES = 512 * MIB


class Told(NamedTuple):
    """What the command line says."""

    size_bytes: int
    rounds: int


def _large(told: Told) -> Case:
    plain, tls = Ckptd(), Ckptd(rows.TLS, uses_tls=True)
    return Case(
        f"one file of {format_size(told.size_bytes)} from four sources, in memory",
        [PlannedFile(SINGLE_FILE, told.size_bytes)],
        (
            plain,
            Ceiling(rows.CEILING, beside=plain),
            Iperf(),
            tls,
            Ceiling(rows.TLS_CEILING, beside=tls, uses_tls=True),
            Prototype(),
            Curl(),
            Aria2(),
            Rsync("-aW"),
            Rclone(),
            Libtorrent(),
        ),
    )


def _one(told: Told) -> Case:
    return Case(
        f"one file of {format_size(told.size_bytes)} from one source, in memory",
        [PlannedFile(SINGLE_FILE, told.size_bytes)],
        (Ckptd("ckptd from one", sources=1), Torchft()),
    )


def _disk(told: Told) -> Case:
    return Case(
        f"one file of {format_size(told.size_bytes)} from four sources to the disk, synced",
        [PlannedFile(SINGLE_FILE, told.size_bytes)],
        (
            Ckptd(),
            Fio("fio", sync_bytes=SYNC_BYTES),
            Fio("fio, one sync", sync_bytes=0),
        ),
        choose_disk(2 * told.size_bytes + MARGIN_BYTES),
    )


def small_files() -> list[PlannedFile]:
    """Return those of a version of many small files."""
    return [PlannedFile(f"{n % 100:02}/{n:06}", SMALL_UNIT_BYTES) for n in range(SMALL_UNITS)]


def _small(_: Told) -> Case:
    return Case(
        f"{SMALL_UNITS} files of {format_size(SMALL_UNIT_BYTES)} from four sources, in memory",
        small_files(),
        (Ckptd(), Rsync("-a")),
    )


def _million(_: Told) -> Case:
    size_bytes = BLOCK_BYTES * BLOCKS_PER_UNIT_AIM
    return Case(
        f"{MANY_BLOCKS} blocks of {format_size(BLOCK_BYTES)} from one source, in memory",
        [PlannedFile(f"{n:03}", size_bytes) for n in range(MANY_BLOCKS // BLOCKS_PER_UNIT_AIM)],
        (CkptdOfSmallBlocks(),),
        rounds_max=1,
    )


CASES: Mapping[str, tuple[Callable[[Told], Case], Sequence[rows.Row]]] = {
    "large": (_large, rows.LARGE),
    "one": (_one, rows.ONE),
    "disk": (_disk, rows.DISK),
    "small": (_small, rows.SMALL),
    "million": (_million, rows.MILLION),
}


class Line(NamedTuple):
    """One row, measured."""

    case: str
    row: rows.Row
    number: rows.Number


class Part(NamedTuple):
    """A case and what is wanted of it.

    Attributes:
        name: Of the case, in one word.
        case: What is measured.
        wanted: Lines of the table.
    """

    name: str
    case: Case
    wanted: Sequence[rows.Row]


def main() -> int:
    """Measure every case, print one table, write one JSON file."""
    arguments = _parse()
    end_politely()
    told = Told(arguments.size, arguments.rounds)
    parts = []
    for name in arguments.rows or CASES:
        if name in GROUPS:
            _measure_group(name, told)
            continue
        plan, wanted = CASES[name]
        parts.append(Part(name, plan(told), wanted))
    if parts:
        measure_parts(told, parts, 3 * told.size_bytes + MARGIN_BYTES)
    if not arguments.rows:
        _shape()
    return 0


def end_politely() -> None:
    """Make SIGTERM leave no daemons behind: what runs is ended on the way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))


def print_facts(told: Told, place: str) -> dict[str, object]:
    """Print and return what the machine is that numbers belong to."""
    facts = machine_facts(place)
    print(f"medians of {told.rounds} rounds, on")
    rows = [(name, str(fact)) for name, fact in facts.items()]
    print("\n".join(table(("FACT", ""), rows)), flush=True)
    return facts


def measure_parts(told: Told, parts: Sequence[Part], needed_bytes: int) -> None:
    """Measure, print one table with the machine's facts, write one JSON file."""
    place = choose_place(needed_bytes)
    facts = print_facts(told, place)
    lines: list[Line] = []
    cases: list[dict[str, object]] = []
    for name, case, wanted in parts:
        print(f"\n{name}: {case.name}", flush=True)
        results = measure(case, place, told.rounds, print)
        for measured in sorted(results.values(), key=lambda each: each.seconds):
            print(_told_of(measured), flush=True)
        lines += [Line(name, row, row.number(results)) for row in wanted]
        cases.append(_document(name, case, results))
    report(lines)
    document = {
        "machine": facts,
        "size_bytes": told.size_bytes,
        "rounds": told.rounds,
        "rows": [row_document(line) for line in lines],
        "cases": cases,
    }
    print(f"\n{keep_result(document)}")


def keep_result(document: Mapping[str, object], kind: str = "") -> Path:
    """Write what was measured to a file of its own and return its path."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}{kind}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def _measure_group(name: str, told: Told) -> None:
    sizes = ("--size", format_size(told.size_bytes).replace(" ", ""))
    command = (sys.executable, "-m", GROUPS[name], *sizes, "--rounds", str(told.rounds))
    subprocess.run(command, check=True)


def _shape() -> None:
    """Measure limits and classes too, with a table and a file of their own, where that can be."""
    if find_spec(SHAPING) is None:
        return
    lacking = [name for name in ("ip", "tc") if shutil.which(name) is None]
    if os.geteuid() != 0 or lacking:
        print(f"without shaped links: they need root, {' and '.join(lacking) or 'ip and tc'}")
        return
    print("\nshaping: limits, classes and yielding, in network namespaces", flush=True)
    subprocess.run((sys.executable, "-m", SHAPING), check=False)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=_RAW)
    parser.add_argument("--size", type=parse_size, default="2GiB", metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join((*CASES, *GROUPS)))
    arguments = parser.parse_args()
    for name in arguments.rows:
        if name not in CASES and name not in GROUPS:
            parser.error(f"there is no row {name}; there are {', '.join((*CASES, *GROUPS))}")
    if arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    return arguments


def _told_of(measured: Measured) -> str:
    seconds = [turn.seconds for turn in measured.turns]
    return (
        f"  {measured.competitor.name:14} {measured.seconds:6.2f}s"
        f" ({min(seconds):.2f}-{max(seconds):.2f})"
        f" {format_rate(measured.rate_bytes_per_s):>12}  {measured.competitor.what}"
    )


def report(lines: Sequence[Line]) -> None:
    """Print the table."""
    print()
    print("\n".join(table(
        ("CASE", "ROW", "MEASURED", "TO REACH", "", ""),
        [
            (
                line.case,
                line.row.name,
                "-" if line.number.value is None else f"{line.number.value:.2f}",
                _bound(line.row),
                line.row.verdict(line.number),
                line.number.detail,
            )
            for line in lines
        ],
    )))  # fmt: skip


def _bound(row: rows.Row) -> str:
    if row.to_reach is None:
        return ""
    return f"{'>=' if row.is_least else '<='} {row.to_reach:g}"


def row_document(line: Line) -> dict[str, object]:
    """Return a row for the JSON file."""
    return {
        "case": line.case,
        "row": line.row.name,
        "measured": line.number.value,
        "to_reach": line.row.to_reach,
        "is_least": line.row.is_least,
        "verdict": line.row.verdict(line.number),
        "detail": line.number.detail,
        "rounds": [round(each, 4) for each in line.number.rounds],
        "sway": round(sway(line.number.rounds), 4),
    }


def _document(name: str, case: Case, results: Mapping[str, Measured]) -> dict[str, object]:
    return {
        "case": name,
        "what": case.name,
        "size_bytes": case.size_bytes,
        "results": [
            {
                "name": measured.competitor.name,
                "version": measured.competitor.version(),
                "what": measured.competitor.what,
                "verifies": measured.competitor.verifies,
                "congestion": getattr(measured.competitor, "congestion", ""),
                "seconds": [round(turn.seconds, 4) for turn in measured.turns],
                "median_s": round(measured.seconds, 4),
                "median_rate_bytes_per_s": round(measured.rate_bytes_per_s),
                "facts": {
                    fact: [turn.facts[fact] for turn in measured.turns]
                    for fact in measured.turns[0].facts
                },
            }
            for measured in results.values()
        ],
    }


_RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())

"""``make bench``: ckptd beside tools that people use for the same, on this machine.

    python -m tests.benchmarks --size 2GiB --rounds 5

Four servers, one receiver, all over loopback. Competitors take turns, so that a slow minute of
the machine hits all of them; memory is touched just before each turn, because first touch can
cost more than the transfer. What is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo_checkpoint import PlannedFile, compare, write_checkpoint
from ckptd.cli.render import table
from ckptd.limits import KIB, MIB
from ckptd.model.quantities import format_rate, format_size, parse_size
from tests.benchmarks.competitors import Competitor, installed_competitors
from tests.benchmarks.machine import machine_facts

RESULTS = Path("bench-results")
SMALL_UNIT_BYTES = 16 * KIB
MARGIN_BYTES = 512 * MIB


class Case(NamedTuple):
    """What is fetched."""

    name: str
    files: Sequence[PlannedFile]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def main() -> int:
    """Measure every case, print a table for each, write one JSON file."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=_RAW)
    parser.add_argument("--size", type=parse_size, default="2GiB", metavar="SIZE")
    parser.add_argument("--units", type=int, default=20_000, metavar="N", help="small ones")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    arguments = parser.parse_args()
    cases = (
        Case(f"one unit of {format_size(arguments.size)}", [PlannedFile("shard", arguments.size)]),
        Case(
            f"{arguments.units} units of {format_size(SMALL_UNIT_BYTES)}",
            [PlannedFile(f"{n % 100:02}/{n:06}", SMALL_UNIT_BYTES) for n in range(arguments.units)],
        ),
    )
    competitors, missing = installed_competitors()
    for line in missing:
        print(line)
    needed_bytes = 2 * max(case.size_bytes for case in cases) + MARGIN_BYTES
    place = choose_place(needed_bytes)
    measured = []
    for case in cases:
        print(f"\n{case.name}, four sources, {arguments.rounds} rounds, files in {place}")
        with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as directory:
            seconds = measure(Path(directory), case, competitors, arguments.rounds)
        measured.append(report(case, competitors, seconds))
    document = {"machine": machine_facts(place), "missing": missing, "cases": measured}
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\n{path}")
    return 0


def choose_place(needed_bytes: int) -> str:
    """Return /dev/shm if there is room for it in memory, else the place for temporary files."""
    available = next(
        int(line.split()[1]) * KIB
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    if min(shutil.disk_usage("/dev/shm").free, available) >= needed_bytes:
        return "/dev/shm"
    place = tempfile.gettempdir()
    print(f"/dev/shm has no room for {format_size(needed_bytes)}: the disk is measured, too.")
    if shutil.disk_usage(place).free < needed_bytes:
        sys.exit(f"{place} has no room for {format_size(needed_bytes)} either; use --size")
    return place


def measure(
    directory: Path, case: Case, competitors: Sequence[Competitor], rounds: int
) -> dict[str, list[float]]:
    """Let everybody fetch in turns; check what the first round brought, byte by byte."""
    source = directory / "source"
    write_checkpoint(str(source), case.files, seed=1)
    seconds: dict[str, list[float]] = {competitor.name: [] for competitor in competitors}
    with contextlib.ExitStack() as serving:
        for competitor in competitors:
            own = directory / competitor.name
            own.mkdir()
            serving.enter_context(competitor.serve(own, source))
        for number in range(rounds):
            first = number % len(competitors)
            for competitor in (*competitors[first:], *competitors[:first]):
                target = directory / competitor.name / "received" / str(number)
                touch_memory(directory, case.size_bytes)
                started_s = time.perf_counter()
                competitor.fetch(target)
                seconds[competitor.name].append(time.perf_counter() - started_s)
                if number == 0:
                    seen = compare(str(source), str(target))
                    assert not seen.differences, f"{competitor.name}: {seen.differences[:3]}"
                shutil.rmtree(target)
    return seconds


def touch_memory(directory: Path, size_bytes: int) -> None:
    """Make the machine give us the memory that the next transfer will fill."""
    path = directory / "touched"
    piece = bytes(MIB)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, MIB):
            file.write(piece)
    path.unlink()


def report(
    case: Case, competitors: Sequence[Competitor], seconds: dict[str, list[float]]
) -> dict[str, object]:
    """Print a table, fastest first, and return the same for the JSON file."""
    rows = []
    for competitor in competitors:
        took = seconds[competitor.name]
        median_s = statistics.median(took)
        rows.append({
            "name": competitor.name,
            "version": competitor.version,
            "what": competitor.what,
            "verifies": competitor.verifies,
            "seconds": [round(each, 4) for each in took],
            "median_s": round(median_s, 4),
            "median_rate_bytes_per_s": round(case.size_bytes / median_s),
        })  # fmt: skip
    lines = table(
        ("", "MEDIAN", "RATE", "FASTEST", "SLOWEST", "VERIFIED", ""),
        [
            (
                competitor.name,
                f"{statistics.median(took):.2f}s",
                format_rate(case.size_bytes / statistics.median(took)),
                f"{min(took):.2f}s",
                f"{max(took):.2f}s",
                "yes" if competitor.verifies else "no",
                competitor.what,
            )
            for competitor in sorted(
                competitors, key=lambda each: statistics.median(seconds[each.name])
            )
            for took in (seconds[competitor.name],)
        ],
    )
    print("\n".join(lines))
    return {"case": case.name, "size_bytes": case.size_bytes, "results": rows}


_RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())

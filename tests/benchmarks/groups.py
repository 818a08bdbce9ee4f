"""What the modules share that measure a group of rows each: ``make bench ROWS=GROUP``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.model.quantities import format_size, parse_size
from ckptd.model.words import Result
from tests.benchmarks.__main__ import (
    Line,
    Told,
    end_politely,
    keep_result,
    print_facts,
    report,
    row_document,
)
from tests.benchmarks.memory import kept_warm
from tests.benchmarks.places import choose_place
from tests.benchmarks.rows import Number, Row
from tests.support.cluster import Cluster, Node
from tests.support.namespaces import Switch

PATIENCE_S = 200.0

Cases = Mapping[str, Callable[..., list[Line]]]
"""What a group measures, by the names that its command line takes."""


def parse(description: str | None, cases: Cases, *, rounds: int = 3) -> tuple[Told, list[str]]:
    """Return what the command line of a group says: how much, and which of its cases."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=parse_size, default="2GiB", metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(cases))
    arguments = parser.parse_args()
    end_politely()
    for name in arguments.cases:
        if name not in cases:
            parser.error(f"there is no case {name}; there are {', '.join(cases)}")
    return Told(arguments.size, arguments.rounds), arguments.cases or list(cases)


def measure(
    group: str, told: Told, names: Sequence[str], cases: Cases, play: Callable[[str], list[Line]]
) -> None:
    """Measure, print one table, write one JSON file.

    Args:
        group: Its name.
        told: How much.
        names: Of the cases that are measured.
        cases: All that there are; what each says of itself is printed.
        play: Measures one.
    """
    facts = print_facts(told, tempfile.gettempdir())
    lines: list[Line] = []
    for name in names:
        print(f"{name}: {cases[name].__doc__} ({format_size(told.size_bytes)})", flush=True)
        lines += play(name)
    report(lines)
    document = {
        "machine": facts,
        "size_bytes": told.size_bytes,
        "rounds": told.rounds,
        "rows": [row_document(line) for line in lines],
    }
    print(f"\n{keep_result(document, f'-{group}')}")


def measure_on_hosts(
    group: str,
    description: str | None,
    cases: Cases,
    copies: int,
    stage: Callable[[Path, Told, Cluster, Switch], object],
) -> int:
    """Measure what needs hosts of their own, with files in memory; return the exit code.

    Args:
        group: Its name.
        description: For its command line.
        cases: What it measures; each takes a stage.
        copies: How many times the size of a version is in memory at once.
        stage: Makes one: in a directory in memory, of so much, of these daemons on these hosts.
    """
    told, names = parse(description, cases)
    if os.geteuid() != 0 or shutil.which("tc") is None:
        print("left out: network namespaces need root, ip and tc")
        return 0
    size_bytes = copies * told.size_bytes

    def play(name: str) -> list[Line]:
        with (
            tempfile.TemporaryDirectory(f"-{group}", dir=choose_place(size_bytes)) as memory,
            contextlib.redirect_stdout(sys.stderr),
            Switch() as switch,
            Cluster(Path(memory)) as cluster,
        ):
            return cases[name](stage(Path(memory), told, cluster, switch))

    with kept_warm(size_bytes):
        measure(group, told, names, cases, play)
    return 0


def line_of(
    case: str,
    name: str,
    rounds: Sequence[float],
    to_reach: float | None,
    detail: str = "",
    *,
    is_least: bool = False,
) -> Line:
    """Return the row of what was measured round by round: the median has to be this at most."""
    number = Number(statistics.median(rounds), detail, rounds)
    return Line(case, Row(name, lambda _: number, to_reach, is_least=is_least), number)


def left_out(case: str, why: str, name: str = "left out") -> Line:
    """Return the row of what cannot be measured here."""
    number = Number(None, why)
    return Line(case, Row(name, lambda _: number), number)


def finish(node: Node, recovery: str) -> RecoveryResult:
    """Wait until all that a recovery is for is here."""
    *_, last = node.client.until(time.monotonic() + PATIENCE_S).watch(recovery)
    assert isinstance(last, RecoveryResult)
    assert last.result in {Result.COMPLETE, Result.CHOSEN}, last
    return last

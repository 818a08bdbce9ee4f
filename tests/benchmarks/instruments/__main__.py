"""``make bench-ceilings``: ckptd beside the most that this machine can do.

    python -m tests.benchmarks.instruments --size 2GiB --rounds 5 --against v0.1.0

One file from four sources to one receiver over loopback, plain and with TLS, in turns with a
program in C that receives, hashes and writes as many bytes over as many lanes, sent with the same
congestion control, and does nothing else. ``--against`` lets ckptd of another commit take turns.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.model.quantities import format_size, parse_size
from tests.benchmarks import rows
from tests.benchmarks.__main__ import MARGIN_BYTES, Part, Told, end_politely, measure_parts
from tests.benchmarks.ceilings import Iperf
from tests.benchmarks.competitors import Competitor
from tests.benchmarks.conversing import SINGLE_FILE
from tests.benchmarks.daemons import Ckptd
from tests.benchmarks.instruments.c_ceiling import Ceiling
from tests.benchmarks.turns import Case


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
    arguments = parser.parse_args()
    end_politely()
    told = Told(arguments.size, arguments.rounds)
    with tempfile.TemporaryDirectory("-earlier") as directory:
        if arguments.against:
            _take_package(arguments.against, Path(directory))
        earlier = Path(directory) if arguments.against else None
        measure_parts(told, [_ceilings(told, earlier)], 3 * told.size_bytes + MARGIN_BYTES)
    return 0


def _take_package(commit: str, directory: Path) -> None:
    """Put the package of a commit into a directory."""
    packed = subprocess.run(
        ("git", "archive", commit, "ckptd"), capture_output=True, check=True
    ).stdout
    subprocess.run(("tar", "-x", "-C", directory), input=packed, check=True)


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
            Ckptd(rows.EARLIER, package=earlier),
            Ckptd(rows.TLS_EARLIER, uses_tls=True, package=earlier),
        ]
    case = Case(
        f"one file of {format_size(told.size_bytes)} from four sources, in memory",
        [PlannedFile(SINGLE_FILE, told.size_bytes)],
        competitors,
    )
    return Part("ceilings", case, wanted)


if __name__ == "__main__":
    sys.exit(main())

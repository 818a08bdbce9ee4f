"""``make profile``: where the time of a recovery goes, on the receiving and the serving side.

    python -m tests.benchmarks.profiling --rounds 3 large small

Daemons as ``make bench`` has them recover one after another while py-spy looks at the receiver and
at one source a few hundred times a second. The stacks go to ``bench-results/``, collapsed, one a
line, as flame graphs are made of; the functions that took most are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_checkpoint import write_checkpoint
from ckptd.model.quantities import parse_size
from tests.benchmarks.__main__ import CASES, Told
from tests.benchmarks.competitors import PEERS_PYTHON, Place
from tests.benchmarks.daemons import Ckptd
from tests.benchmarks.memory import touch_memory
from tests.benchmarks.needs import missing
from tests.benchmarks.places import RESULTS, choose_place

LOOKS_PER_S = 250
LINES = 22
ROUNDS = 3


class Share(NamedTuple):
    """A function and what part of the looks found it."""

    function: str
    itself: float
    within: float


def main() -> int:
    """Profile, write the stacks, print the shares."""
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__, formatter_class=_RAW)
    parser.add_argument("--size", type=parse_size, default="2GiB", metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(CASES))
    arguments = parser.parse_args()
    if missing(["py-spy"]):
        sys.exit("py-spy is not installed; make bench-peers says how to get it")
    told = Told(arguments.size, arguments.rounds)
    RESULTS.mkdir(exist_ok=True)
    for name in arguments.rows or ["large", "small"]:
        for side, path in _profile(name, told).items():
            print(f"\n{name}, {side}: {path}\n  SELF WITHIN")
            for share in shares(path.read_text()):
                print(f"  {share.itself:4.0%} {share.within:5.0%}   {share.function}")
    return 0


def _profile(name: str, told: Told) -> dict[str, Path]:
    plan, _ = CASES[name]
    case = plan(told)
    ckptd = next(each for each in case.competitors if isinstance(each, Ckptd))
    paths = {side: RESULTS / f"profile-{name}-{side}.txt" for side in ("receiver", "source")}
    with tempfile.TemporaryDirectory("-profile", dir=choose_place(3 * case.size_bytes)) as base:
        directory = Path(base)
        place = Place(directory / "source", directory / "own", directory / "received")
        write_checkpoint(str(place.source), case.files, seed=1)
        place.own.mkdir()
        place.received.mkdir()
        with ckptd.serve(place):
            touch_memory(directory, case.size_bytes)
            ckptd.fetch(place.received / "warm")
            shutil.rmtree(place.received / "warm")
            daemons = {"receiver": ckptd.receiver, "source": ckptd.sources[0]}
            with contextlib.ExitStack() as looking:
                for side, daemon in daemons.items():
                    looking.enter_context(_watching(daemon.pid, paths[side]))
                for number in range(told.rounds):
                    target = place.received / f"{number}"
                    ckptd.fetch(target)
                    shutil.rmtree(target)
    return paths


@contextlib.contextmanager
def _watching(pid: int, path: Path) -> Iterator[None]:
    command = (
        *(PEERS_PYTHON.with_name("py-spy"), "record", "--pid", str(pid), "--format", "raw"),
        *("--rate", str(LOOKS_PER_S), "--output", path, "--threads", "--nonblocking"),
        *("--duration", "unlimited"),
    )
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
        try:
            yield
        finally:
            spy.send_signal(signal.SIGINT)


def shares(stacks: str) -> list[Share]:
    """Return the functions that were seen most, from collapsed stacks."""
    itself: Counter[str] = Counter()
    within: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        functions = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        total += int(count)
        itself[functions[-1]] += int(count)
        within.update(dict.fromkeys(functions, int(count)))
    found = [Share(name, itself[name] / total, seen / total) for name, seen in within.items()]
    return sorted(found, key=lambda share: (-share.itself, -share.within))[:LINES]


_RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())

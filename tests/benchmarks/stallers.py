"""What stallers cost those who are honest: recoveries beside them and without, in turn.

An attack is measured while it goes on, not where it begins: all thousand connect at once then, in
the first second, and a recovery that takes hardly longer would show little else. So each time the
stallers are given the time to be cut off and to come again before anything is measured, and
several recoveries are measured together.

The stallers run on the cores that source and receiver have; in life they would not. What their own
process takes is printed beside the result, which nothing is taken off of.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.limits import GIB, MIB
from ckptd.model.quantities import parse_size
from tests.support.cluster import Cluster, Node, make_checkpoint
from tests.support.stallers import stalling

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Measured(NamedTuple):
    """Some recoveries in a row.

    Attributes:
        rate_bytes_per_s: Of all of them together.
        source_cpu_s: Processor time of the source, for each GiB.
        staller_cpu_share: Of one core, what the stallers took themselves.
    """

    rate_bytes_per_s: float
    source_cpu_s: float
    staller_cpu_share: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times each (%(default)s)")
    parser.add_argument("--batch", type=int, default=3, help="recoveries in a row (%(default)s)")
    parser.add_argument("--size", default="1GiB", help="of the checkpoint (%(default)s)")
    parser.add_argument("--count", type=int, default=1000, help="stallers (%(default)s)")
    parser.add_argument(
        "--again",
        type=float,
        default=5,
        help="seconds after which one that was cut comes again (%(default)s: what it would have"
        " lasted if nobody had needed its place)",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as base, Cluster(Path(base)) as cluster:
        _run(cluster, parse_size(options.size), options)


def _run(cluster: Cluster, size_bytes: int, options: argparse.Namespace) -> None:
    source = cluster.node("a")
    files = [PlannedFile(f"shard-{number}", size_bytes // 4) for number in range(4)]
    source.publish(make_checkpoint(source.path("100"), files=files), critical=(), deferred=())
    receiver = cluster.node("b", peers=[source.address])
    _recover(source, receiver, size_bytes, count=1)  # warms up
    alone: list[Measured] = []
    beside: list[Measured] = []
    for number in range(options.rounds):
        for is_stalled in (False, True) if number % 2 else (True, False):
            found = _measure(source, receiver, size_bytes, options, is_stalled=is_stalled)
            (beside if is_stalled else alone).append(found)
            print(
                f"{'beside stallers' if is_stalled else 'alone':16}"
                f"{found.rate_bytes_per_s / MIB:7.0f} MiB/s{found.source_cpu_s:8.3f} CPU-s per GiB"
            )
    slower = [
        1 - b.rate_bytes_per_s / a.rate_bytes_per_s for a, b in zip(alone, beside, strict=True)
    ]
    dearer = [b.source_cpu_s / a.source_cpu_s - 1 for a, b in zip(alone, beside, strict=True)]
    print(
        f"medians of {options.rounds} pairs: {statistics.median(slower):+.1%} slower beside"
        f" {options.count} stallers, {statistics.median(dearer):+.1%} processor time of the source;"
    )
    own_share = statistics.median(each.staller_cpu_share for each in beside)
    print(
        f"the stallers took {own_share:.1%} of a core, the source {_peak_mib(source)} MiB at most"
    )


def _measure(
    source: Node, receiver: Node, size_bytes: int, options: argparse.Namespace, *, is_stalled: bool
) -> Measured:
    with ExitStack() as stack:
        pid = None
        if is_stalled:
            host, port = source.address.rsplit(":", 1)
            attack = stalling((host, int(port)), options.count, again_s=options.again)
            pid = stack.enter_context(attack)
            time.sleep(options.again + 1)  # until those who were cut off at the beginning are back
        began_s, began_cpu_s = time.monotonic(), _cpu_s(pid)
        rate, cpu_s = _recover(source, receiver, size_bytes, count=options.batch)
        own_share = (_cpu_s(pid) - began_cpu_s) / (time.monotonic() - began_s)
        return Measured(rate, cpu_s, own_share)


def _recover(source: Node, receiver: Node, size_bytes: int, *, count: int) -> tuple[float, float]:
    """Return the rate of some recoveries, and the processor time of the source for each GiB."""
    began_cpu_s, duration_s = _cpu_s(source.pid), 0.0
    for number in range(count):
        target = receiver.path(str(number))
        duration_s += receiver.recover(to=target).duration_s
        shutil.rmtree(target)
    total_bytes = count * size_bytes
    return total_bytes / duration_s, (_cpu_s(source.pid) - began_cpu_s) * GIB / total_bytes


def _cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # utime, stime: proc(5)


def _peak_mib(node: Node) -> int:
    status = Path(f"/proc/{node.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()

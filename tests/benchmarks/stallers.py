"""What stallers cost those who are honest: recoveries beside them and without, in turn."""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from ckptd.cli.demo_checkpoint import PlannedFile
from ckptd.limits import MIB
from ckptd.model.quantities import parse_size
from tests.support.cluster import Cluster, make_checkpoint
from tests.support.stallers import stalling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="recoveries each (%(default)s)")
    parser.add_argument("--size", default="1GiB", help="of the checkpoint (%(default)s)")
    parser.add_argument("--count", type=int, default=1000, help="stallers (%(default)s)")
    parser.add_argument(
        "--again", type=float, default=5, help="seconds after which one that was cut comes again"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as base, Cluster(Path(base)) as cluster:
        _run(cluster, parse_size(options.size), options)


def _run(cluster: Cluster, size_bytes: int, options: argparse.Namespace) -> None:
    rounds, count = options.rounds, options.count
    source = cluster.node("a")
    files = [PlannedFile(f"shard-{number}", size_bytes // 4) for number in range(4)]
    source.publish(make_checkpoint(source.path("100"), files=files), critical=(), deferred=())
    receiver = cluster.node("b", peers=[source.address])
    host, port = source.address.rsplit(":", 1)
    rates: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds + 1):
        for is_stalled in (False, True) if number % 2 else (True, False):
            target = receiver.path(f"{number}-{is_stalled}")
            with ExitStack() as stack:
                if is_stalled:
                    stack.enter_context(stalling((host, int(port)), count, again_s=options.again))
                duration_s = receiver.recover(to=target).duration_s
            rate = size_bytes / duration_s / MIB
            shutil.rmtree(target)
            print(f"{'beside stallers' if is_stalled else 'alone':16} {rate:7.0f} MiB/s")
            if number:  # the first round warms up
                rates[is_stalled].append(rate)
    alone, beside = statistics.median(rates[False]), statistics.median(rates[True])
    print(f"medians of {rounds}: {alone:.0f} MiB/s alone, {beside:.0f} beside {count} stallers,")
    print(f"{1 - beside / alone:.1%} slower")


if __name__ == "__main__":
    main()

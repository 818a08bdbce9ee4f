"""``make bench ROWS=phases``: how soon what is useful first is there, with all else behind it.

    python -m tests.benchmarks.phases --size 1GiB --rounds 3 first

One source on a host of its own at 1 Gbit/s. A version of two phases, of which the first one has an
eleventh of the bytes, is recovered progressively; in turns with one of the first phase alone. It
needs root, for network namespaces.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.checkpoints import PublishRequest, PublishResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.messages.waiting import WaitRequest, WaitResult
from ckptd.limits import MIB
from ckptd.model.quantities import format_size
from tests.benchmarks.__main__ import Line, Told
from tests.benchmarks.groups import finish, line_of, measure_on_hosts
from tests.benchmarks.shaping import INSECURE, knows
from tests.support.cluster import Cluster, Node, make_checkpoint
from tests.support.namespaces import Switch

LINK_MBIT = 1000
LINK_BYTES_PER_S = LINK_MBIT * 125_000
SHARE = 11
"""The first phase has one of so many parts: what is behind it is ten times as much."""
FILE_BYTES = 8 * MIB
VERSION = 1
WITH_REST, ALONE = "bench/with-rest", "bench/alone"
COPIES = 4


class Stage:
    """A source that has both versions, and a node that has neither.

    Args:
        memory: A directory in memory.
        told: How many bytes, and how many turns.
        cluster: What they belong to.
        switch: Connects them.
    """

    def __init__(self, memory: Path, told: Told, cluster: Cluster, switch: Switch) -> None:
        self.rounds = told.rounds
        count = max(told.size_bytes // SHARE // FILE_BYTES, 2)
        core = [
            PlannedFile(f"{'critical' if n < count // 2 else 'core'}/{n:04}", FILE_BYTES)
            for n in range(count)
        ]
        rest = [PlannedFile(f"rest/{n:04}", FILE_BYTES) for n in range(count * (SHARE - 1))]
        self.core_bytes = count * FILE_BYTES
        self._cluster, self._switch, self._memory = cluster, switch, memory
        self._source = self._start("s", LINK_MBIT)
        phases = (("core", "critical/*"), ("core", "core/*"), ("rest", "rest/*"))
        for name, files, said in ((WITH_REST, core + rest, phases), (ALONE, core, phases[:2])):
            directory = make_checkpoint(self._source.path(name), files=files)
            request = PublishRequest(
                directory=str(directory),
                checkpoint=name,
                version=VERSION,
                critical=("critical/*",),
                phases=said,
            )
            *_, last = self._source.client.publish(request)
            assert isinstance(last, PublishResult)
        self.node = self._start("r", None)
        for name in (WITH_REST, ALONE):
            knows(self.node, name)

    def _start(self, name: str, rate_mbit: int | None) -> Node:
        root = self._memory / f"{name}-root"
        root.mkdir()
        peers = [] if rate_mbit else [self._source.address]
        node = self._cluster.prepare(name, peers=peers, root=root, metrics="", sections=INSECURE)
        host = self._switch.add(name, rate_mbit=rate_mbit)
        node.host, node.prefix = host.address, host.enter
        node.start()
        node.wait_ready()
        return node

    @contextlib.contextmanager
    def recovering(self, name: str) -> Iterator[None]:
        """Begin to recover a version progressively; at the end wait for the rest and remove it."""
        request = RecoverRequest(checkpoint=name, version=VERSION, place="progressive")
        recovery = self.node.client.recover(request).recovery
        yield
        finish(self.node, recovery)
        shutil.rmtree(self.node.path(name))

    def wait(self, name: str, goal: str) -> None:
        """Wait until something of a version is placed."""
        request = WaitRequest(checkpoint=name, version=VERSION, goal=goal)
        *_, last = self.node.client.wait(request)
        assert isinstance(last, WaitResult)
        assert last.is_reached, last


def first(stage: Stage) -> list[Line]:
    """The first phase placed, from the request on."""
    least_s = 1.1 * stage.core_bytes / LINK_BYTES_PER_S
    taken_s: dict[str, list[float]] = {WITH_REST: [], ALONE: []}
    for _ in range(stage.rounds):
        for name, found in taken_s.items():
            begun_s = time.perf_counter()
            with stage.recovering(name):
                stage.wait(name, "phase=core")
                found.append(time.perf_counter() - begun_s)
    over = [each - least_s for each in taken_s[WITH_REST]]
    ratios = [one / other for one, other in zip(taken_s[WITH_REST], taken_s[ALONE], strict=True)]
    detail = f"{format_size(stage.core_bytes)}: {least_s:.2f} s"
    return [
        line_of("first", "s beyond 1.1 times its bytes / rate", over, 0.3, detail),
        line_of("first", "ten times as much behind it, to nothing behind it", ratios, 1.02),
    ]


CASES: dict[str, Callable[[Stage], list[Line]]] = {"first": first}


def main() -> int:
    """Measure, print one table, write one JSON file."""
    return measure_on_hosts("phases", __doc__, CASES, COPIES, Stage)


if __name__ == "__main__":
    sys.exit(main())

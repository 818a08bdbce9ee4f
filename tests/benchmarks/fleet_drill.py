"""``make drill-fleet``: lose any node and any zone of a fleet that keeps copies, and wipe nodes.

    python -m tests.benchmarks.fleet_drill --size 64MiB --rate 8MiB/s --wiped 4

Eight daemons in four zones, two copies of each shard of a job, published and copied by what the
configuration says. Each node in turn is killed, and then each zone; every time a node that has
nothing recovers what the fleet keeps, and each file is compared. Then nodes are wiped and started:
it is measured from the start until their shard is placed. What a node of the fleet receives is
limited to a rate, so that how long that must take is known. It ends with 1 if something is not as
it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ckptd.cli.demo.demo_daemon import LocalDaemon, pause
from ckptd.cli.demo.demo_place import choose_place, places
from ckptd.cli.demo.demo_workspace import daemon_in, signals_as_ctrl_c, start, workspace_in
from ckptd.cli.demo.fleet.expected import Expected
from ckptd.cli.demo.fleet.fleet_nodes import save_directory, start_fleet, wipe
from ckptd.cli.demo.fleet.onlooking import Onlooker
from ckptd.cli.demo.fleet.samples import EIGHT, JOB, Fleet, Sample
from ckptd.cli.demo.fleet.toy_job import advance, begin_with, save, save_name
from ckptd.cli.pki.authority import Authority
from ckptd.cli.render.text import table
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.messages.waiting import WaitRequest, WaitResult
from ckptd.errors import CkptdError
from ckptd.model.quantities import format_rate, format_size, parse_rate, parse_size
from ckptd.model.words import Result

VERSIONS: Final = (1, 2)
"""So many as copies are kept of."""
GRACE_S: Final = 3600.0
"""Nothing is to be moved because a node is killed: it comes back."""
FACTOR: Final = 1.2
SPARE_S: Final = 5.0
"""A wiped node has its shard back within the factor of what the bytes take, and so much more."""
PATIENCE_S: Final = 120.0
_SHARES: Final = 8
"""So many times a version fits where it runs: saves and copies of two, staging, a fresh node's."""


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        what: What was done.
        measured: What came of it.
        aim: What should.
        is_met: It did.
    """

    what: str
    measured: str
    aim: str
    is_met: bool


@dataclass
class Drill:
    """A fleet whose copies are whole, to be damaged.

    Attributes:
        fleet: Which nodes there are.
        workspace: Where all of it is.
        nodes: Their daemons.
        processes: End them.
        onlooker: Asks all of them.
        expected: Knows what the ranks saved.
        authority: Issues certificates; ``None``: they talk in plaintext.
        fresh: How many nodes that had nothing have recovered.
    """

    fleet: Fleet
    workspace: str
    nodes: Sequence[LocalDaemon]
    processes: contextlib.ExitStack
    onlooker: Onlooker
    expected: Expected
    authority: Authority | None
    fresh: int = field(default=0)

    def until(self, look: Callable[[Sample], bool], what: str) -> None:
        """Wait until something is seen.

        Raises:
            CkptdError: It does not come.
        """
        deadline_s = time.monotonic() + PATIENCE_S
        while not look(self.onlooker.look()):
            if time.monotonic() > deadline_s:
                raise CkptdError(what, f"did not come true within {PATIENCE_S:.0f}s")
            pause()

    def wait_for_copies(self, versions: Sequence[int] = VERSIONS) -> None:
        """Wait until versions have all of their copies."""

        def look(sample: Sample) -> bool:
            return not any(self.fleet.lacking_copies(sample, version) for version in versions)

        self.until(look, f"copies of {JOB}@{' and '.join(map(str, versions))}")

    def lose(self, what: str, lost: Sequence[LocalDaemon]) -> Row:
        """Kill nodes, recover everything on one that has nothing, and start them again."""
        for node in lost:
            node.kill()
        found = [self._recover_all(version) for version in VERSIONS]
        for node in lost:
            node.start()
        for node in lost:
            node.wait_ready()
        self.wait_for_copies()
        wrong = [text for each in found for text in each]
        return Row(
            f"{what} killed",
            wrong[0] if wrong else f"{len(VERSIONS)} versions of {self.fleet.ranks} shards, right",
            "everything, bit for bit",
            not wrong,
        )

    def _recover_all(self, version: int) -> list[str]:
        """Recover a version on a node that has nothing; return what is not as it was saved."""
        self.fresh += 1
        root = os.path.join(self.workspace, "fresh")
        os.mkdir(root)
        addresses = [node.address for node in self.nodes]
        node = daemon_in(self.workspace, f"fresh-{self.fresh}", root, self.authority, addresses)
        try:
            start([node], self.processes)
            result = _recover(node, version)
            if result.result is not Result.COMPLETE:
                return [result.message]
            return self.expected.differences(result.target, range(self.fleet.ranks), version)
        finally:
            node.kill()
            shutil.rmtree(root)

    def wipe(self, node: LocalDaemon, size_bytes: int, rate_bytes_per_s: float) -> Row:
        """Wipe a node, start it, and measure until its shard is placed."""
        rank = self.nodes.index(node)
        node.kill()
        began_s = time.monotonic()
        wipe(self.fleet, node, self.processes)
        result = _wait(node)
        took_s = time.monotonic() - began_s
        wrong = self.expected.differences(result.directory, [rank], result.version or 0)
        # Before the next one is wiped.
        self.wait_for_copies([max(VERSIONS)])
        bound_s = FACTOR * size_bytes / rate_bytes_per_s + SPARE_S
        measured = wrong[0] if wrong else f"{took_s:.1f}s, {JOB}@{result.version}"
        is_met = not wrong and took_s <= bound_s and result.version == max(VERSIONS)
        return Row(f"{node.node} wiped", measured, f"<= {bound_s:.1f}s", is_met)


def _recover(node: LocalDaemon, version: int) -> RecoveryResult:
    request = RecoverRequest(checkpoint=JOB, version=version, shards="all", patience_s=PATIENCE_S)
    for event in node.client.watch(node.client.recover(request).recovery):
        if isinstance(event, RecoveryResult):
            return event
    raise AssertionError("a watch ends with a result or raises")


def _wait(node: LocalDaemon) -> WaitResult:
    client = node.client.until(time.monotonic() + PATIENCE_S)
    for event in client.wait(WaitRequest(checkpoint=JOB, through_failures=True)):
        if isinstance(event, WaitResult):
            return event
    raise AssertionError("a wait ends with a result or raises")


def save_versions(fleet: Fleet, nodes: Sequence[LocalDaemon], shard_bytes: int) -> None:
    """Let each rank save all versions, as a job would."""
    for rank, node in zip(range(fleet.ranks), nodes, strict=True):
        state = begin_with(shard_bytes)
        for version in VERSIONS:
            state = advance(state, rank)
            save(os.path.join(save_directory(node, rank), save_name(version)), rank, state)


def drill(arguments: argparse.Namespace, workspace: str) -> Iterator[Row]:
    """Do all of it, and yield what came of each part."""
    fleet = EIGHT
    shard_bytes = arguments.size // fleet.ranks
    more = f'[limits]\ningress = "{arguments.rate / 2**20:g}MiB/s"\n'
    with contextlib.ExitStack() as processes:
        authority = None
        if arguments.tls:
            authority = Authority(os.path.join(workspace, "ca"))
            authority.create()
        nodes = start_fleet(
            fleet, workspace, processes, authority=authority, grace_s=GRACE_S, more=more
        )
        expected = Expected(shard_bytes)
        onlooker = Onlooker(nodes)
        ready = Drill(fleet, workspace, nodes, processes, onlooker, expected, authority)
        began_s = time.monotonic()
        save_versions(fleet, nodes, shard_bytes)
        ready.wait_for_copies()
        yield Row("saved", f"copies whole after {time.monotonic() - began_s:.1f}s", "whole", True)
        for node in nodes:
            yield ready.lose(node.node, [node])
        for zone, members in fleet.zones.items():
            yield ready.lose(zone, [node for node in nodes if node.node in members])
        for number in range(arguments.wiped):  # of different zones, as far as there are
            node = nodes[number * len(nodes) // arguments.wiped]
            yield ready.wipe(node, shard_bytes, arguments.rate)


def main() -> int:
    """Drill, and print the table."""
    parser = argparse.ArgumentParser(
        prog="make drill-fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", type=parse_size, default="64MiB", help="of a version")
    parser.add_argument(
        "--rate", type=parse_rate, default="8MiB/s", help="at which a node receives"
    )
    parser.add_argument(
        "--wiped", type=int, default=4, choices=range(9), help="how many nodes are wiped, 0 to 8"
    )
    parser.add_argument("--tls", action="store_true", help="nodes know each other by certificates")
    arguments = parser.parse_args()
    place, size_bytes = choose_place(places(), arguments.size, copies=_SHARES)
    if size_bytes < arguments.size:
        sys.exit(f"{place} has no room; use --size")
    print(
        f"8 daemons in 4 zones, {format_size(arguments.size)} in 8 shards, each with 2 nodes, "
        f"at {format_rate(arguments.rate)} each"
    )
    rows = []
    with (
        signals_as_ctrl_c(),
        workspace_in(place, "Eight daemons in four zones", keep=False) as workspace,
    ):
        try:
            for row in drill(arguments, workspace):
                rows.append(row)
                print(f"  {row.what}: {row.measured}", flush=True)
        except CkptdError as error:
            rows.append(Row("the drill", str(error), "goes on", is_met=False))
    print()
    verdicts = ["ok" if row.is_met else "NOT MET" for row in rows]
    cells = [
        (row.what, row.measured, row.aim, verdict)
        for row, verdict in zip(rows, verdicts, strict=True)
    ]
    print("\n".join(table(("WHAT", "MEASURED", "AIM", ""), cells)))
    return int("NOT MET" in verdicts)


if __name__ == "__main__":
    sys.exit(main())

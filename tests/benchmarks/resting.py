"""What daemons use that watch directories and know each other, while nobody saves anything.

    python -m tests.benchmarks.watching rest --daemons 64

Each daemon watches ten directories, in each of which the newest of a few saves are on offer, and
asks all others. Once all of them know each other nothing happens any more, for a minute.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.limits import MIB
from ckptd.model.words import PeerState
from tests.benchmarks.processes import cpu_s, peak_bytes, reset_peak, shared_out_bytes
from tests.support.cluster import eventually

CPU_SHARE_MAX = 0.005
MEMORY_BYTES_MAX = 70 * MIB
REST_S = 60.0
CALM_S = 30.0
"""Until the last question of the start was answered."""
SAVES = 3
NEWEST = 2
"""Of them are taken."""
WATCH = """
[[watch]]
directory = "{directory}"
checkpoint = "{checkpoint}"
pattern = "step_{{version}}"
quiet = "1s"
newest = 2
"""


class Rested(NamedTuple):
    """What one daemon has used.

    Attributes:
        node: Its name.
        share: Of a core.
        peak_bytes: Memory that it had resident at most.
        shared_out_bytes: Memory that it takes, pages that several have by share.
    """

    node: str
    share: float
    peak_bytes: int
    shared_out_bytes: int


def measure_rest(place: Path, *, daemons: int, watches: int, rest_s: float) -> list[Rested]:
    """Return what each of some daemons uses at rest.

    Args:
        place: A directory for their files.
        daemons: How many; each asks all others.
        watches: Directories that each of them watches.
        rest_s: For how long nothing happens.
    """
    with _running(place, daemons, watches) as running:
        wanted = daemons * watches * NEWEST
        for daemon in running:
            eventually(lambda: _is_settled(daemon, daemons - 1, wanted), f"{daemon.node} rests")  # noqa: B023 (called at once)
        time.sleep(CALM_S)
        for daemon in running:
            reset_peak(daemon.pid)
        began_s = {daemon.node: (time.monotonic(), cpu_s(daemon.pid)) for daemon in running}
        time.sleep(rest_s)
        rested = []
        for daemon in running:
            since_s, used_s = began_s[daemon.node]
            share = (cpu_s(daemon.pid) - used_s) / (time.monotonic() - since_s)
            rested.append(
                Rested(daemon.node, share, peak_bytes(daemon.pid), shared_out_bytes(daemon.pid))
            )
        return rested


def rows_of(rested: list[Rested]) -> list[tuple[str, str, bool]]:
    """Return what was reached, as rows of a table."""
    worst = max(each.share for each in rested)
    middle = statistics.median(each.share for each in rested)
    resident = max(each.peak_bytes for each in rested)
    memory = max(each.shared_out_bytes for each in rested)
    count = len(rested)
    return [
        (
            f"{count} daemons at rest: of a core",
            f"{worst:.2%} at most, {middle:.2%} in the middle",
            worst <= CPU_SHARE_MAX,
        ),
        (
            f"{count} daemons at rest: memory",
            f"{memory / MIB:.0f} MiB at most, {resident / MIB:.0f} with all that they share",
            memory <= MEMORY_BYTES_MAX,
        ),
    ]


@contextlib.contextmanager
def _running(place: Path, count: int, watches: int) -> Iterator[list[LocalDaemon]]:
    with contextlib.ExitStack() as stack:
        running = []
        for number in range(count):
            directory = place / f"node-{number}"
            root = directory / "root"
            root.mkdir(parents=True)
            sections = []
            for watch in range(watches):
                run = root / f"run-{watch}"
                _save(run)
                checkpoint = f"job-{number}-{watch}"
                sections.append(WATCH.format(directory=run, checkpoint=checkpoint))
            daemon = LocalDaemon(str(directory), node=directory.name, root=str(root))
            daemon.sections = "".join(sections)
            stack.callback(daemon.kill)
            daemon.start()
            running.append(daemon)
        for daemon in running:
            daemon.wait_ready()
        for daemon in running:
            daemon.follow([other.address for other in running if other is not daemon])
        yield running


def _save(run: Path) -> None:
    for version in range(SAVES):
        save = run / f"step_{version}"
        save.mkdir(parents=True)
        for name in ("model", "optimizer", "state"):
            (save / name).write_bytes(f"{run}/{version}/{name}".encode() * 100)


def _is_settled(daemon: LocalDaemon, peers: int, versions: int) -> bool:
    client = daemon.client
    live = [row for row in client.peers() if row.state is PeerState.LIVE]
    return len(live) == peers and len(client.checkpoints()) >= versions

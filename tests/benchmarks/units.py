"""What very many small files cost a daemon: make bench-units.

    python -m tests.benchmarks.units --units 480000

Real daemons publish so many files of a few bytes in memory, plan, recover, verify and remove them,
and start with them on offer. For each step: how long it took, how much memory the daemon had at
most above its rest, and how late its event loop was at most.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.control.messages.life_cycle import RemoveRequest
from ckptd.control.messages.plans import PlanRequest
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.messages.verifications import VerifyRequest, VerifyResult
from ckptd.limits import KIB, MIB
from ckptd.model.words import PlaceState, Result
from tests.benchmarks.daemons import CHECKPOINT, Cost, publish, wait_for_holders
from tests.benchmarks.places import choose_place
from tests.benchmarks.processes import peak_bytes, reset_peak
from tests.support.cluster import STOP_S

UNITS = 480_000
"""So many with short names have a manifest of 64 MiB, which is the longest."""
FILES_PER_DIRECTORY = 1000
FILE_BYTES = 5 * KIB
"""What one takes in memory, with its inode."""
PEAK_MAX_BYTES = 400 * MIB
LAG_MAX_S = 0.1
START_MAX_S = 1.0
REST_S = 2.0
LOOK_S = 0.05


class Row(NamedTuple):
    """What one step has cost the daemon that did it."""

    step: str
    seconds: float
    cpu_s: float
    peak_bytes: int
    lag_s: float


def make_files(directory: Path, count: int) -> None:
    """Write so many files, each with other content."""
    for number in range(count):
        parent = directory / f"{number // FILES_PER_DIRECTORY:03x}"
        if number % FILES_PER_DIRECTORY == 0:
            parent.mkdir(parents=True)
        fd = os.open(
            f"{parent}/{number % FILES_PER_DIRECTORY:03x}", os.O_WRONLY | os.O_CREAT, 0o644
        )
        os.write(fd, b"%d" % number)
        os.close(fd)


class Steps:
    """Steps that were measured, printed as they end.

    Attributes:
        rows: What they have cost.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._rests: dict[str, int] = {}
        print(
            f"{'':24}{'s':>8}{'CPU s':>8}{'MiB':>7}{'above rest':>12}{'lag ms <=':>11}", flush=True
        )

    def rest(self, daemon: LocalDaemon) -> None:
        """Note what a daemon has that has nothing to do and nothing on offer."""
        time.sleep(REST_S)
        reset_peak(daemon.pid)
        self._rests[daemon.node] = peak_bytes(daemon.pid)

    def take(self, step: str, daemon: LocalDaemon, act: Callable[[], object]) -> None:
        """Do something and note what that has cost a daemon."""
        reset_peak(daemon.pid)
        before, start_s = Cost.of(daemon), time.perf_counter()
        act()
        seconds = time.perf_counter() - start_s
        self._note(step, daemon, seconds, Cost.of(daemon).since(before))

    def start(self, step: str, daemon: LocalDaemon) -> None:
        """Start a daemon that was ended, until it is ready; then let it look at what it has."""
        start_s = time.perf_counter()
        daemon.start()
        daemon.wait_ready()
        self._note(step, daemon, time.perf_counter() - start_s, Cost.of(daemon))
        while daemon.client.status().places[PlaceState.UNSEEN.value]:
            time.sleep(LOOK_S)
        seconds = time.perf_counter() - start_s
        time.sleep(REST_S)
        self._note("… until all is seen", daemon, seconds, Cost.of(daemon))

    def _note(self, step: str, daemon: LocalDaemon, seconds: float, cost: Cost) -> None:
        above_bytes = cost.peak_bytes - self._rests[daemon.node]
        row = Row(step, seconds, cost.cpu_s, above_bytes, cost.lags.quantile(1.0))
        self.rows.append(row)
        print(
            f"{step:24}{seconds:8.2f}{row.cpu_s:8.2f}{cost.peak_bytes / MIB:7.0f}"
            f"{row.peak_bytes / MIB:12.0f}{row.lag_s * 1000:11.0f}",
            flush=True,
        )


def last(messages: Iterable[object], kind: type) -> None:
    """Take a stream to its end, which must be a result."""
    *_, result = messages
    assert isinstance(result, kind), result


def measure(place: Path, units: int, steps: Steps) -> None:
    """Take a version of so many units through its life."""
    published, target = place / "root-a" / "1", place / "root-b" / "1"
    target.parent.mkdir()
    make_files(published, units)
    source = _daemon(place, "a", published.parent)
    source.start()
    receiver = None
    try:
        source.wait_ready()
        steps.rest(source)
        steps.take("publish", source, lambda: publish(source, published))
        steps.take("publish again", source, lambda: publish(source, published))
        receiver = _daemon(place, "b", target.parent, source.address)
        receiver.start()
        receiver.wait_ready()
        wait_for_holders(receiver, 1)
        steps.rest(receiver)
        _take_receiver(steps, receiver, target)
        _take_source(steps, source)
    finally:
        for daemon in (source, receiver):
            if daemon is not None:
                daemon.kill()


def _take_receiver(steps: Steps, receiver: LocalDaemon, target: Path) -> None:
    client = receiver.client
    plan = PlanRequest(checkpoint=CHECKPOINT, version=1)
    request = RecoverRequest(checkpoint=CHECKPOINT, version=1, to=str(target))
    view = None

    def recover() -> None:
        nonlocal view
        view = client.recover(request)
        *_, result = client.watch(view.recovery)
        assert isinstance(result, RecoveryResult), result
        assert result.result is Result.COMPLETE, result.message

    steps.take("plan, of a peer's", receiver, lambda: client.plan(plan))
    steps.take("recover", receiver, recover)
    assert view is not None
    ended = view.recovery
    steps.take("explain", receiver, lambda: client.explain(ended))
    steps.take("plan, of what is here", receiver, lambda: client.plan(plan))
    steps.take("recover again", receiver, recover)
    steps.take("checkpoints", receiver, client.checkpoints)
    steps.take("doctor", receiver, lambda: list(client.examine()))
    _restart(steps, receiver, "receiver starts")


def _take_source(steps: Steps, source: LocalDaemon) -> None:
    client = source.client
    _restart(steps, source, "source starts")
    verify = VerifyRequest(checkpoint=CHECKPOINT, version=1)
    steps.take("verify", source, lambda: last(client.verify(verify), VerifyResult))
    steps.take("idle for a minute", source, lambda: time.sleep(65.0))
    remove = RemoveRequest(checkpoint=CHECKPOINT, version=1)
    steps.take("remove", source, lambda: list(client.remove(remove)))


def _restart(steps: Steps, daemon: LocalDaemon, step: str) -> None:
    daemon.terminate()
    daemon.wait_ended(STOP_S)
    steps.start(step, daemon)


def _daemon(place: Path, node: str, root: Path, *peers: str) -> LocalDaemon:
    directory = place / node
    directory.mkdir()
    daemon = LocalDaemon(
        str(directory),
        node=node,
        root=str(root),
        peers=peers,
        buffers="64MiB",
        metrics="127.0.0.1:0",
    )
    daemon.sections = '[scrub]\nevery = ""\n'
    return daemon


def main() -> int:
    """Measure, and say whether everything is reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=UNITS)
    chosen = parser.parse_args()
    steps = Steps()
    with tempfile.TemporaryDirectory(dir=choose_place(2 * chosen.units * FILE_BYTES)) as directory:
        measure(Path(directory), chosen.units, steps)
    print(
        f"to reach, with {UNITS} units: {PEAK_MAX_BYTES // MIB} MiB above rest, "
        f"{LAG_MAX_S * 1000:.0f} ms, {START_MAX_S:.0f} s until ready"
    )
    is_met = all(
        row.peak_bytes <= PEAK_MAX_BYTES
        and row.lag_s <= LAG_MAX_S
        and (row.seconds <= START_MAX_S or not row.step.endswith("starts"))
        for row in steps.rows
    )
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())

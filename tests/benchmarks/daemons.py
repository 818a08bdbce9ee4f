"""ckptd as a competitor: daemons that are up, and what a recovery costs them."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ckptd import __version__
from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.cli.pki.authority import Authority
from ckptd.control.messages.checkpoints import PublishRequest, PublishResult
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.model.words import Result
from tests.benchmarks.competitors import SOURCES, Fetched, Place
from tests.benchmarks.instruments.congestion import seen_congestion
from tests.benchmarks.processes import cpu_s, peak_bytes, reset_peak
from tests.support.cluster import STOP_S, eventually

CHECKPOINT = "bench"
GB = 1e9
LAG_SHARE = 0.99
LOOK_S = 0.1
"""Bodies are on their way by then."""


class Ckptd:
    """Some daemons publish the directory, one more recovers it, again and again.

    Args:
        name: In tables and rows.
        sources: How many publish.
        uses_tls: They know each other by certificates.

    Attributes:
        receiver: The daemon that recovers, while it serves.
        sources: The others.
        congestion: What the first turn's bodies were sent with; empty until then, and if it cannot
            be seen.
    """

    verifies = True
    makes_files = True
    programs: Sequence[str] = ()
    _module = "ckptd.cli.daemon"

    def __init__(
        self,
        name: str = "ckptd",
        *,
        sources: int = SOURCES,
        uses_tls: bool = False,
    ) -> None:
        self.name = name
        self.congestion = ""
        self._source_count = sources
        self._uses_tls = uses_tls

    @property
    def what(self) -> str:
        """What it does."""
        tls = "mutual TLS, " if self._uses_tls else ""
        sent = f" ({self.congestion})" if self.congestion else ""
        return f"{self._source_count} to 1{sent}, {tls}verified, synced, renamed"

    def version(self) -> str:
        return __version__

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        authority = Authority(str(place.own / "ca")) if self._uses_tls else None
        if authority is not None:
            authority.create()
        with contextlib.ExitStack() as running:

            def daemon(directory: Path, root: Path, peers: Sequence[str]) -> LocalDaemon:
                directory.mkdir()
                started = LocalDaemon(
                    str(directory),
                    node=directory.name,
                    root=str(root),
                    peers=peers,
                    buffers="256MiB" if peers else "32MiB",
                    metrics="127.0.0.1:0",
                    authority=authority,
                )
                started.module = self._module
                running.callback(started.kill)
                started.start()
                started.wait_ready()
                return started

            self.sources = [
                daemon(place.own / f"source-{number}", place.source, [])
                for number in range(self._source_count)
            ]
            for source in self.sources:
                self._publish(source, place.source)
            peers = [source.address for source in self.sources]
            state = place.received.with_name(f"{place.received.name}-state")
            self.receiver = daemon(state, place.received, peers)
            self._size_bytes = wait_for_holders(self.receiver, self._source_count)
            yield

    def _publish(self, source: LocalDaemon, directory: Path) -> None:
        publish(source, directory)

    def fetch(self, target: Path) -> Fetched:
        daemons = (self.receiver, *self.sources)
        for each in daemons:
            reset_peak(each.pid)
        before = [Cost.of(each) for each in daemons]
        with self._looking():
            started_s = time.perf_counter()
            recover(self.receiver, target)
            seconds = time.perf_counter() - started_s
        after = [Cost.of(each) for each in daemons]
        spent = [late.since(early) for late, early in zip(after, before, strict=True)]
        receiver, sources = spent[0], spent[1:]
        size_gb = self._size_bytes / GB
        return Fetched(
            seconds,
            {
                "receiver_cpu_s_per_gb": receiver.cpu_s / size_gb,
                "source_cpu_s_per_gb": sum(each.cpu_s for each in sources) / size_gb,
                "receiver_peak_bytes": receiver.peak_bytes,
                "source_peak_bytes": max(each.peak_bytes for each in sources),
                "receiver_lag_p99_s": receiver.lags.quantile(LAG_SHARE),
                "source_lag_p99_s": Lags.sum(each.lags for each in sources).quantile(LAG_SHARE),
                "receiver_lag_worst_s": receiver.lags.quantile(1.0),
                "source_lag_worst_s": max(each.lags.quantile(1.0) for each in sources),
            },
        )

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """Look once, in the first turn, at what bodies are sent with."""
        if self.congestion:
            yield
            return
        ports = {source.data_port for source in self.sources}
        has_ended = threading.Event()

        def look() -> None:
            while not self.congestion and not has_ended.wait(LOOK_S):
                self.congestion = seen_congestion(ports)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            has_ended.set()
            looking.join()


class CkptdOfSmallBlocks(Ckptd):
    """One source, one receiver, as many blocks as a manifest may well have.

    The source is started again after it has published, so that it comes up with them.
    """

    _module = "tests.benchmarks.peers.small_blocks"

    def __init__(self) -> None:
        super().__init__("ckptd, small blocks", sources=1)
        self._earlier: dict[str, float] = {}

    def _publish(self, source: LocalDaemon, directory: Path) -> None:
        began_s = time.perf_counter()
        before = Cost.of(source)
        publish(source, directory)
        published_s = time.perf_counter()
        published = Cost.of(source).since(before)
        source.terminate()
        source.wait_ended(STOP_S)
        start_s = time.perf_counter()
        source.start()
        source.wait_ready()
        ready_s = time.perf_counter()
        self._earlier = {
            "publish_s": published_s - began_s,
            "publish_lag_worst_s": published.lags.quantile(1.0),
            "publish_peak_bytes": published.peak_bytes,
            "start_s": ready_s - start_s,
        }

    def fetch(self, target: Path) -> Fetched:
        # What has come since the start is part of the start.
        start = Cost.of(self.sources[0])
        fetched = super().fetch(target)
        facts = {
            **self._earlier,
            "start_lag_worst_s": start.lags.quantile(1.0),
            "start_peak_bytes": start.peak_bytes,
        }
        return Fetched(fetched.seconds, {**facts, **fetched.facts})


def publish(daemon: LocalDaemon, directory: Path) -> None:
    """Let a daemon publish a directory."""
    request = PublishRequest(directory=str(directory), checkpoint=CHECKPOINT, version=1)
    *_, result = daemon.client.publish(request)
    assert isinstance(result, PublishResult), result


def wait_for_holders(daemon: LocalDaemon, count: int) -> int:
    """Wait until a daemon knows so many that hold what was published; return its size."""

    def size_bytes() -> int | None:
        rows = [row for row in daemon.client.checkpoints() if len(row.nodes) == count]
        return rows[0].size_bytes if rows else None

    return eventually(size_bytes, f"{daemon.node} knows {count} holders")


def recover(daemon: LocalDaemon, target: Path) -> None:
    """Let a daemon recover what was published."""
    client = daemon.client
    view = client.recover(RecoverRequest(checkpoint=CHECKPOINT, version=1, to=str(target)))
    *_, result = client.watch(view.recovery)
    assert isinstance(result, RecoveryResult), result
    assert result.result is Result.COMPLETE, result.message


class Lags(NamedTuple):
    """How late an event loop was, counted in classes.

    Attributes:
        bounds_s: The longest of each class, ascending; the last is infinite.
        counts: How many were at most so long.
    """

    bounds_s: tuple[float, ...]
    counts: tuple[float, ...]

    @classmethod
    def of(cls, daemon: LocalDaemon) -> Lags:
        """Return those since a daemon's start."""
        page = urllib.request.urlopen(f"http://{daemon.client.status().listen.metrics}/metrics")
        bounds, counts = [], []
        for line in page.read().decode().splitlines():
            if line.startswith(_LAG_BUCKET):
                bound, _, count = line.removeprefix(_LAG_BUCKET).partition('"} ')
                bounds.append(float(bound))
                counts.append(float(count))
        assert bounds, "the page has no lags"
        return cls(tuple(bounds), tuple(counts))

    @classmethod
    def sum(cls, several: Iterable[Lags]) -> Lags:
        """Return those of several loops."""
        bounds, counts = zip(*several, strict=True)
        return cls(bounds[0], tuple(map(sum, zip(*counts, strict=True))))

    def since(self, earlier: Lags) -> Lags:
        """Return those that came after earlier ones."""
        counts = zip(self.counts, earlier.counts, strict=True)
        return Lags(self.bounds_s, tuple(late - early for late, early in counts))

    def quantile(self, share: float) -> float:
        """Return what so large a share was not above: the bound of its class."""
        wanted = share * self.counts[-1]
        return next(
            bound
            for bound, count in zip(self.bounds_s, self.counts, strict=True)
            if count >= wanted
        )


_LAG_BUCKET = 'ckptd_event_loop_lateness_seconds_bucket{le="'


class Cost(NamedTuple):
    """What a daemon has used."""

    cpu_s: float
    peak_bytes: int
    lags: Lags

    @classmethod
    def of(cls, daemon: LocalDaemon) -> Cost:
        """Look at a daemon."""
        return cls(cpu_s(daemon.pid), peak_bytes(daemon.pid), Lags.of(daemon))

    def since(self, earlier: Cost) -> Cost:
        """Return what was used after an earlier look; the peak is that of now."""
        return Cost(self.cpu_s - earlier.cpu_s, self.peak_bytes, self.lags.since(earlier.lags))

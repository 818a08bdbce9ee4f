"""Looks at the roots all the time, from threads: a disk that hangs must not hang the event loop.

Each root has a thread of its own, so that one that does not come back hides only itself. What was
seen last is read from memory; a look that takes too long is itself what there is to say.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.errors import StorageError
from ckptd.limits import SECOND
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, gauges
from ckptd.store.files.permission import writing_remedy
from ckptd.store.files.roots import Root, Roots

ROOTS_LOOK_S: Final = 2.0
"""How often a root is looked at, and how often what was seen is reported. Both together and a slow
look stay below the 5 s in which a disk that became read-only must be known."""

ROOT_HANGS_NS: Final = 4 * SECOND
"""A look that takes longer is a disk that does not answer. A local one needs microseconds, NFS
milliseconds."""

_log = get_logger()


@dataclass(frozen=True, slots=True)
class RootState:
    """What was seen of a root last.

    Attributes:
        name: What the configuration calls it.
        path: Where it is.
        obstacle: Why it cannot be used; empty if it can.
        size_bytes: Size of its file system; ``None`` if it did not say.
        free_bytes: What may still be written there; ``None`` likewise.
    """

    name: str
    path: str
    obstacle: str
    size_bytes: int | None
    free_bytes: int | None


ROOT_METRICS: Final[Sequence[MetricRow[tuple[RootState, ...]]]] = (
    gauges(
        "disk_size_bytes",
        "Size of a root's file system.",
        ("root",),
        lambda roots: {root.name: root.size_bytes for root in roots if root.size_bytes is not None},
    ),
    gauges(
        "disk_free_bytes",
        "What ckptd may still use of a root's file system.",
        ("root",),
        lambda roots: {root.name: root.free_bytes for root in roots if root.free_bytes is not None},
    ),
    gauges(
        "root_usable",
        "1 if a root is in place, may be written to, and its disk answers.",
        ("root",),
        lambda roots: {root.name: not root.obstacle for root in roots},
    ),
)


class RootWatch:
    """Knows how the roots are. Made and read on the event loop.

    ``open`` begins to look, ``close`` ends it; in between :meth:`run` reports what changed.

    Args:
        roots: Open until this is closed.
        clock: The moment in nanoseconds.
    """

    def __init__(self, roots: Roots, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._watched = [_Watched(root, clock) for root in roots]
        self._reported: dict[str, str] = {}

    def open(self) -> None:
        """Begin to look."""
        for watched in self._watched:
            watched.start()

    def close(self) -> None:
        """Look no more. A thread that hangs in the disk is left alone and ends with the process."""
        for watched in self._watched:
            watched.end()

    def states(self) -> tuple[RootState, ...]:
        """Return what was seen last of each root."""
        now = self._clock()
        return tuple(watched.state(now=now) for watched in self._watched)

    async def run(self) -> None:
        """Report what changes until cancelled."""
        while True:
            self.report(self.states())
            await asyncio.sleep(ROOTS_LOOK_S / 2)

    def report(self, states: Iterable[RootState]) -> None:
        """Log each root that cannot be used any more, and each that can again."""
        for state in states:
            reported = self._reported.get(state.name, "")
            if state.obstacle and not reported:
                remedy = writing_remedy(state.obstacle, state.path)
                hint = {"hint": remedy} if remedy else {}
                _log.error(
                    "root.unusable", root=state.name, path=state.path, why=state.obstacle, **hint
                )
            elif reported and not state.obstacle:
                _log.info("root.usable", root=state.name, path=state.path)
            self._reported[state.name] = state.obstacle


class _Watched:
    """One root and the thread that looks at it."""

    def __init__(self, root: Root, clock: Callable[[], int]) -> None:
        self._root = root
        self._clock = clock
        self._is_over = threading.Event()
        self._seen = RootState(root.name, root.path, "", None, None)
        self._looking_since: int | None = None
        # A daemon thread: the process must be able to end while this one is in the disk.
        self._thread = threading.Thread(target=self._run, name=f"look-{root.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=0.5)

    def state(self, *, now: int) -> RootState:
        since, seen = self._looking_since, self._seen
        if since is not None and now - since > ROOT_HANGS_NS:
            why = f"its file system has not answered for {(now - since) // SECOND} s"
            return RootState(seen.name, seen.path, why, None, None)
        return seen

    def _run(self) -> None:
        while True:
            self._looking_since = self._clock()
            self._seen = look_at(self._root)
            self._looking_since = None
            if self._is_over.wait(ROOTS_LOOK_S):
                return


def look_at(root: Root) -> RootState:
    """Look at a root now. Blocks for as long as its disk does."""
    obstacle = root.obstacle()
    try:
        size_bytes, free_bytes = root.size_bytes(), root.free_bytes()
    except StorageError as error:
        return RootState(root.name, root.path, obstacle or error.problem, None, None)
    return RootState(root.name, root.path, obstacle, size_bytes, free_bytes)

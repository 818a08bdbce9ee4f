"""How long disk calls have been under way: a call that does not return shows nowhere else."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckptd.model.space import BlockPlace
from ckptd.net.lane.receiving import BlockSink


class DiskCalls:
    """The calls that are under way, one for each thread at most; from any thread."""

    def __init__(self) -> None:
        self._since_ns: dict[int, int] = {}

    def watched(self, sink: BlockSink) -> BlockSink:
        """Return a sink whose calls are counted here."""
        return _WatchedSink(self, sink)

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Count as a disk call while the context lasts."""
        thread = threading.get_ident()
        self._since_ns[thread] = time.monotonic_ns()
        try:
            yield
        finally:
            del self._since_ns[thread]

    def longest_ns(self) -> int:
        """Return how long the longest call has been under way; 0 if there is none."""
        begun = list(self._since_ns.values())  # one step: threads come and go meanwhile
        return time.monotonic_ns() - min(begun) if begun else 0


@dataclass(frozen=True, slots=True)
class _WatchedSink:
    calls: DiskCalls
    sink: BlockSink

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        with self.calls.call():
            return self.sink.deliver(places, data)

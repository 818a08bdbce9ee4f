"""Memory for bodies: one bounded pool of buffers that are used again and again.

The first touch of fresh memory costs more than moving bytes through it, so a buffer goes back
into the pool and the one that was used last, still in a cache, is handed out first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.limits import BLOCK_BYTES_MAX, BLOCK_BYTES_MIN

BUFFER_BYTES_MIN: Final = BLOCK_BYTES_MIN
BUFFER_BYTES_MAX: Final = BLOCK_BYTES_MAX

_BUFFER_RECHECK_S: Final = 0.2
"""How often a waiting thread checks whether its buffer is still wanted."""


class BufferPool:
    """Buffers of power-of-two sizes; any thread may take and give them back.

    Waiting threads are served in the order in which they came, so that requests for small buffers
    do not starve one for a large buffer.

    Args:
        capacity_bytes: Most memory to set aside, at least ``BUFFER_BYTES_MAX``.
    """

    def __init__(self, capacity_bytes: int) -> None:
        if capacity_bytes < BUFFER_BYTES_MAX:
            raise ValueError(f"a pool of {capacity_bytes} bytes has no room for the largest buffer")
        self._capacity_bytes = capacity_bytes
        self._allocated_bytes = 0
        self._free: dict[int, list[memoryview]] = {}
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    @property
    def allocated_bytes(self) -> int:
        """Memory that is set aside, in use or not."""
        return self._allocated_bytes

    def acquire(self, size_bytes: int, *, unless: Callable[[], bool]) -> memoryview | None:
        """Take a buffer of at least this size; blocks until there is one.

        Args:
            size_bytes: Not more than ``BUFFER_BYTES_MAX``.
            unless: Asked now and then while waiting: is the buffer not wanted any more?

        Returns:
            The buffer, to be given back with ``release``; ``None`` if it is not wanted any
            more or the pool was closed.
        """
        assert size_bytes <= BUFFER_BYTES_MAX
        wanted = max(BUFFER_BYTES_MIN, 1 << (size_bytes - 1).bit_length())
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                while not self._is_closed and not unless():
                    buffer = self._take(wanted) if self._waiting[0] is turn else None
                    if buffer is not None:
                        return buffer
                    self._changed.wait(_BUFFER_RECHECK_S)
                return None
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()

    def release(self, buffer: memoryview) -> None:
        """Give back what ``acquire`` returned; nobody may use it from here on."""
        with self._changed:
            self._free.setdefault(len(buffer), []).append(buffer)
            self._changed.notify_all()

    def close(self) -> None:
        """Make every waiting ``acquire`` return ``None``. Buffers in use stay valid."""
        with self._changed:
            self._is_closed = True
            self._free.clear()
            self._changed.notify_all()

    def _take(self, wanted: int) -> memoryview | None:
        free = self._free.get(wanted)
        if free:
            return free.pop()
        self._evict(self._allocated_bytes + wanted - self._capacity_bytes)
        if self._allocated_bytes + wanted > self._capacity_bytes:
            return None
        self._allocated_bytes += wanted
        return page_buffer(wanted)

    def _evict(self, excess_bytes: int) -> None:
        """Let go of free buffers of other sizes until so many bytes are gone."""
        for size, free in self._free.items():
            while free and excess_bytes > 0:
                # Not closed but forgotten: a view of it may still exist for a moment.
                free.pop()
                self._allocated_bytes -= size
                excess_bytes -= size

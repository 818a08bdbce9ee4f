"""A node's disk: one queue, a rate, and now and then a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ckptd.core.events import Refusal
from ckptd.limits import MS, SECOND
from ckptd.sim.world.virtual_time import World

FULL: Final = Refusal("out_of_space", "root /data: no room", is_retryable=True)
BROKEN: Final = Refusal("storage", "root /data: input/output error", is_retryable=False)
LOST: Final = Refusal(
    "staging_lost", "/data/.ckptd/model: was removed", is_retryable=False, is_staging_lost=True
)

IN_THE_WAY: Final = Refusal("conflict", "file /data/model: is in the way", is_retryable=True)

SYNC_NS: Final = MS
"""What a sync costs beside the bytes; 0.2 to 0.3 ms were measured on ext4, more elsewhere."""


class Disk:
    """Does one thing after another.

    Args:
        world: Time.
        rate_bytes_per_s: How fast it reads and writes.

    Attributes:
        rate_bytes_per_s: How fast it is just now.
        refusal: What it answers to each write; ``None`` while it works.
    """

    def __init__(self, world: World, rate_bytes_per_s: int) -> None:
        self.rate_bytes_per_s = rate_bytes_per_s
        self.refusal: Refusal | None = None
        self._world = world
        self._planned_bytes_per_s = rate_bytes_per_s
        self._free_ns = 0

    def work(self, size_bytes: int, done: Callable[[], None], *, sync_ns: int = SYNC_NS) -> None:
        """Read or write so many bytes and sync, after what was asked for before.

        Args:
            size_bytes: How many.
            done: Called then.
            sync_ns: What the sync costs; 0: nothing is synced.
        """
        start = max(self._free_ns, self._world.now)
        self._free_ns = start + sync_ns + size_bytes * SECOND // self.rate_bytes_per_s
        self._world.at(self._free_ns, done)

    def set_rate(self, rate_bytes_per_s: int | None = None) -> None:
        """Be slower from the next task on; ``None``: as fast as in the beginning."""
        self.rate_bytes_per_s = rate_bytes_per_s or self._planned_bytes_per_s

    def restart(self) -> None:
        """Drop all work that was asked for: the daemon that asked is gone."""
        self._free_ns = self._world.now

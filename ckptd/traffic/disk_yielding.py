"""How fast something may be read that nobody waits for, beside whoever else uses the disk.

While others use it, the share of the rate falls at once, and rises again step by step when they
have been still for a while: a job that writes in bursts is not met by a reader at full rate between
two of them. What is in memory needs no disk, so it is read at the full rate beside anybody. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ckptd.limits import MIB, SECOND

SHARE_MIN: Final = 1 / 16
"""Something always flows: a job that never stops writing must not keep saves from being read."""

_OTHERS_BYTES_PER_S: Final = 4 * MIB
_OTHERS_WRITES_PER_S: Final = 100
"""Others that do less than both are not slowed down by a reader in a way that shows; logs and
databases of a machine at rest do some of it."""
_FROM_DISK_SHARE: Final = 0.1
"""Of what was read: less came from the disk, so it is in memory."""
_FALL: Final = 0.5
_CALM_NS: Final = 1 * SECOND
"""So long others must have been still before the share rises, and so long it takes to double."""


class DiskUse(NamedTuple):
    """What was done on a disk since the look before.

    Attributes:
        others_bytes: Read and written by others.
        others_writes: Writes of others, whatever their size; an fsync is one or two.
        own_bytes: Read by this process from disks.
        read_bytes: Read for what gives way, from memory or from the disk.
        elapsed_ns: In how long.
    """

    others_bytes: int
    others_writes: int
    own_bytes: int
    read_bytes: int
    elapsed_ns: int

    def is_used_by_others(self) -> bool:
        """Return whether others would notice a reader."""
        bytes_max = _OTHERS_BYTES_PER_S * self.elapsed_ns
        writes_max = _OTHERS_WRITES_PER_S * self.elapsed_ns
        return self.others_bytes * SECOND >= bytes_max or self.others_writes * SECOND >= writes_max

    def is_from_memory(self) -> bool:
        """Return whether what was read needed no disk."""
        return self.own_bytes <= _FROM_DISK_SHARE * self.read_bytes


class DiskYielding:
    """Says which share of its rate a reader may use.

    Attributes:
        share: That share now, between :data:`SHARE_MIN` and 1.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self._calm_since: int | None = None

    def observe(self, use: DiskUse, *, now: int) -> float:
        """Take in what was done since the last call; to be called a few times a second.

        Args:
            use: What was measured.
            now: The moment in nanoseconds.

        Returns:
            The share.
        """
        if use.is_used_by_others() and not use.is_from_memory():
            self.share = max(self.share * _FALL, SHARE_MIN)
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= _CALM_NS and self.share < 1.0:
            self.share = min(self.share / _FALL, 1.0)
            self._calm_since = now
        return self.share

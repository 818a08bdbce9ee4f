"""Pauses between tries, twice as long after each failure."""

from __future__ import annotations

from collections.abc import Container, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from ckptd.limits import SECOND

_FIRST_NS: Final = 5 * SECOND
_LONGEST_NS: Final = 900 * SECOND

_Key = TypeVar("_Key", bound=Hashable)


class _Failed(NamedTuple):
    until_ns: int
    failures: int


class Pauses(Generic[_Key]):
    """What failed, and for how long it is left alone."""

    def __init__(self) -> None:
        self._failed: dict[_Key, _Failed] = {}

    def note_failure(self, key: _Key, *, now: int) -> int:
        """Leave something alone for a while; return for how long, in nanoseconds."""
        count = self.failures(key)
        pause_ns = min(_FIRST_NS << min(count, 16), _LONGEST_NS)
        self._failed[key] = _Failed(now + pause_ns, count + 1)
        return pause_ns

    def is_paused(self, key: _Key, *, now: int) -> bool:
        """Return whether something is left alone now."""
        return key in self._failed and now < self._failed[key].until_ns

    def failures(self, key: _Key) -> int:
        """Return how often something failed in a row."""
        return self._failed[key].failures if key in self._failed else 0

    def forget(self, key: _Key) -> None:
        """Know of no failure any more."""
        self._failed.pop(key, None)

    def keep(self, keys: Container[_Key]) -> None:
        """Forget the failures of all others."""
        self._failed = {key: failed for key, failed in self._failed.items() if key in keys}

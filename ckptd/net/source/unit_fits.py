"""How blocks of a unit are coded best: found out for one of them, good for those that follow.

All answers share it, for each has few blocks of a unit, and to find out costs about as much as
coding one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptd.model.ids import Digest
from ckptd.model.words import Coder

AGAIN_BLOCKS: Final = 32
"""So many blocks of a unit are coded as the first one; then it is tried again."""
FITS_MAX: Final = 4096
"""Then the oldest one is forgotten."""


class FitKey(NamedTuple):
    """What a fit is of.

    Attributes:
        version: Which version.
        unit: Which of its units.
        base: The version that it is coded against; ``None``: there is none.
        coders: What may be used.
        width: Of elements in bytes, as its publisher said; ``None``: it was not said.
    """

    version: Digest
    unit: int
    base: Digest | None
    coders: frozenset[Coder]
    width: int | None = None


class UnitFit(NamedTuple):
    """How blocks of a unit are coded.

    Attributes:
        coder: By which coder.
        width: Bytes of an element.
    """

    coder: Coder
    width: int


@dataclass(slots=True)
class _Known:
    fit: UnitFit
    left: int = AGAIN_BLOCKS - 1


class UnitFits:
    """Keeps what was found. Any thread."""

    def __init__(self) -> None:
        self._known: dict[FitKey, _Known] = {}  # the oldest one first
        self._lock = threading.Lock()

    def take(self, key: FitKey) -> UnitFit | None:
        """Return how one more block is coded; ``None``: that has to be found out."""
        with self._lock:
            known = self._known.get(key)
            if known is None or not known.left:
                return None
            known.left -= 1
            return known.fit

    def put(self, key: FitKey, fit: UnitFit) -> None:
        """Take note of what was found for a block; it counts for some that follow."""
        with self._lock:
            self._known.pop(key, None)
            if len(self._known) >= FITS_MAX:
                del self._known[next(iter(self._known))]
            self._known[key] = _Known(fit)

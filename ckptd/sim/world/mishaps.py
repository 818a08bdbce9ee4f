"""Random failures of one node: a share of all that may fail."""

from __future__ import annotations

import enum
from random import Random
from typing import Final, TypeVar

from ckptd.model.words import RangeOutcome

_T = TypeVar("_T")


class Mishap(enum.Enum):
    """What may happen to the answer to a request for a range."""

    BUSY = enum.auto()
    NOT_HELD = enum.auto()
    DISCONNECTED = enum.auto()
    STORE_FAILED = enum.auto()
    SILENT = enum.auto()
    MISBEHAVED = enum.auto()

    @property
    def refusal(self) -> RangeOutcome | None:
        """What the source answers; ``None`` if it begins to send."""
        return _REFUSALS.get(self)


_REFUSALS: Final = {Mishap.BUSY: RangeOutcome.BUSY, Mishap.NOT_HELD: RangeOutcome.NOT_HELD}

_HONEST: Final = (
    Mishap.BUSY,
    Mishap.NOT_HELD,
    Mishap.DISCONNECTED,
    Mishap.STORE_FAILED,
    Mishap.SILENT,
)


class Mishaps:
    """Draws for each thing that a node does whether it fails.

    Args:
        rng: Decides.

    Attributes:
        share: Share of the things that go wrong; nothing is drawn while it is 0.
    """

    def __init__(self, rng: Random) -> None:
        self.share = 0.0
        self._rng = rng

    def goes_wrong(self, often: float = 1.0) -> bool:
        """Draw whether something fails.

        Args:
            often: How often it fails compared with other things.
        """
        return self.share > 0 and self._rng.random() < self.share * often

    def of_answer(self, *, is_liar: bool) -> Mishap | None:
        """Draw what happens to an answer; ``None`` if nothing does."""
        if not self.goes_wrong():
            return None
        return self._rng.choice(tuple(Mishap) if is_liar else _HONEST)

    def pick(self, *choices: _T) -> _T:
        """Draw one of several things."""
        return self._rng.choice(choices)

    def below(self, size: int) -> int:
        """Draw a number below another one."""
        return self._rng.randrange(size)

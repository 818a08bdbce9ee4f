"""How many copies are asked for: units of one version may have different numbers of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ckptd.errors import UsageError
from ckptd.model.words import Criticality

COPY_COUNT_MAX: Final = 16
KEEP_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class CopyCounts:
    """How many nodes are to have the units of each criticality.

    The most urgent class has the most: who holds a class holds those that are more urgent, too.

    Raises:
        UsageError: They are out of bounds, or a class has more copies than a more urgent one.
    """

    critical: int = 3
    normal: int = 2
    deferred: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.critical <= COPY_COUNT_MAX:
            raise UsageError("critical", f"is not 1 to {COPY_COUNT_MAX}")
        if not self.critical >= self.normal >= self.deferred >= 0:
            raise UsageError(
                f"critical {self.critical}, normal {self.normal}, deferred {self.deferred}",
                "have more copies of what is less urgent",
                "Who holds a class holds those that are more urgent as well.",
            )

    def of(self, criticality: Criticality) -> int:
        """Return how many nodes are to have the units of a class."""
        return (self.critical, self.normal, self.deferred)[criticality]


@dataclass(frozen=True, slots=True)
class CopyRule:
    """What is asked for of one checkpoint.

    Attributes:
        counts: How many copies of each version.
        keep: Of so many of its newest versions that are whole.
    """

    counts: CopyCounts = CopyCounts()
    keep: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= KEEP_MAX:
            raise UsageError("keep", f"is not 1 to {KEEP_MAX}")

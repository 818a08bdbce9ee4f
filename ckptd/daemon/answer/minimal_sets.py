"""Says what is needed first of versions that are here, and how long a peer would wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ckptd.control.messages.manifests import PhaseRow
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.core.report.learned_rate import LearnedRate
from ckptd.model.ids import Digest, PathId
from ckptd.model.minimal_set import MinimalSet
from ckptd.model.rate_limits import LimitKey
from ckptd.model.words import Direction


class MinimalSets:
    """Shows minimal viable sets.

    Args:
        of_held: Returns that of a version that is here; ``None``: it is not known.
        rates: Returns how fast paths to peers were found to be.
        limits: Returns what is limited now, in bytes per second.
        now: The clock of those rates.
    """

    def __init__(
        self,
        of_held: Callable[[Digest], MinimalSet | None],
        rates: Callable[[], Mapping[PathId, LearnedRate]],
        limits: Callable[[], Mapping[LimitKey, int]],
        now: Callable[[], int],
    ) -> None:
        self._of_held = of_held
        self._rates = rates
        self._limits = limits
        self._now = now

    def of(self, digest: Digest) -> MinimalSetView | None:
        """Return the minimal viable set of a version that is here; ``None``: it is not known."""
        found = self._of_held(digest)
        return None if found is None else self.shown(found)

    def critical_bytes(self, digest: Digest) -> int | None:
        """Return how long the critical units of a version are; ``None``: it is not known."""
        found = self._of_held(digest)
        return None if found is None else found.critical_bytes

    def shown(self, found: MinimalSet) -> MinimalSetView:
        """Return a minimal viable set with how long a peer would wait for it."""
        return minimal_set_view(found, self.predicted_s(found.size_bytes))

    def first_of(self, phases: Sequence[PhaseRow]) -> MinimalSetView:
        """Return the minimal viable set of a version that is not published yet.

        Args:
            phases: All of its phases; each has units.
        """
        first = phases[0]
        return MinimalSetView(
            phase=first.name,
            units=first.units,
            bytes=first.bytes,
            is_everything=len(phases) == 1,
            predicted_s=self.predicted_s(first.bytes),
        )

    def predicted_s(self, size_bytes: int) -> float | None:
        """Return in which time a peer would have so many bytes; ``None``: not known."""
        now = self._now()
        rates = [rate.believed_bytes_per_s(now=now) for rate in self._rates().values()]
        fastest = max(rates, default=0.0)
        limit = self._limits().get(LimitKey(Direction.EGRESS), fastest)
        rate = min(fastest, limit)
        return round(size_bytes / rate, 3) if rate > 0 else None


def minimal_set_view(found: MinimalSet, predicted_s: float | None) -> MinimalSetView:
    """Return a minimal viable set as it is shown.

    Args:
        found: Which.
        predicted_s: Seconds until it is there; ``None``: not known.
    """
    return MinimalSetView(
        phase=found.phase,
        units=found.units,
        bytes=found.size_bytes,
        is_everything=found.is_everything,
        predicted_s=predicted_s,
    )

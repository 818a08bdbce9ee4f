"""Says what is needed first of versions that are here, and how long a peer would wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

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
        return self.of_each((digest,)).get(digest)

    def of_each(self, digests: Iterable[Digest]) -> dict[Digest, MinimalSetView]:
        """Return the minimal viable sets of those of some versions that are here.

        Cost: O(versions + paths to peers).
        """
        rate = self._rate()
        return {
            digest: minimal_set_view(found, _seconds(found.size_bytes, rate))
            for digest in digests
            if (found := self._of_held(digest)) is not None
        }

    def critical_bytes(self, digest: Digest) -> int | None:
        """Return how long the critical units of a version are; ``None``: it is not known."""
        found = self._of_held(digest)
        return None if found is None else found.critical_bytes

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
            predicted_s=_seconds(first.bytes, self._rate()),
        )

    def _rate(self) -> float:
        """Return at how many bytes per second a peer would get something; 0: not known."""
        now = self._now()
        rates = [rate.believed_bytes_per_s(now=now) for rate in self._rates().values()]
        fastest = max(rates, default=0.0)
        return min(fastest, self._limits().get(LimitKey(Direction.EGRESS), fastest))


def _seconds(size_bytes: int, rate: float) -> float | None:
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

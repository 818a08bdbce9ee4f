"""What was learned of the paths to peers, and how much of it is still believed.

A link forgets everything when its peer or this node restarts. How fast it was is worth keeping
for whoever asks how long a recovery will take; whether the peer was honest is not. The choice of
a source does not look at it: a tenth of a second of a recovery teaches more.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.core.report.learned_rate import FRESH_NS, KEPT_NS, LearnedRate
from ckptd.core.state.link import Link
from ckptd.limits import PEERS_MAX
from ckptd.model.ids import PathId
from ckptd.model.words import RateOrigin


class LearnedRates:
    """What is known of links that are not there any more, and what ``doctor`` measured.

    There are at most ``PEERS_MAX``; the one that was learned first makes room.
    """

    def __init__(self) -> None:
        self._rates: dict[PathId, LearnedRate] = {}

    def note(self, path: PathId, rate: LearnedRate, *, now: int) -> None:
        """Keep a rate, unless a better one is known.

        A sample of ``doctor`` is a few mebibytes on one connection. It does not replace what a
        recovery learned within a day.
        """
        known = self._rates.get(path)
        if known is not None and _better(known, rate, now=now) is known:
            return
        if rate.age_ns(now=now) > KEPT_NS:
            return
        self._rates.pop(path, None)
        self._rates[path] = rate
        if len(self._rates) > PEERS_MAX:
            del self._rates[min(self._rates, key=lambda each: self._rates[each].learned_ns)]

    def of(self, path: PathId, link: Link, *, now: int) -> LearnedRate | None:
        """Return the best that is known of the path to a peer; ``None`` if nothing is.

        Args:
            path: The path.
            link: What this life of it has shown.
            now: The moment.
        """
        shown, earlier = rate_of_link(link), self._rates.get(path)
        if shown is None or earlier is None:
            best = shown or earlier
        else:
            best = _better(shown, earlier, now=now)
        return None if best is None or best.age_ns(now=now) > KEPT_NS else best

    def best(self, links: Iterable[tuple[PathId, Link]], *, now: int) -> dict[PathId, LearnedRate]:
        """Return the best that is known of each path, of peers that are gone as well.

        Args:
            links: Those of the peers that are known.
            now: The moment.
        """
        found = {
            path: rate for path, rate in self._rates.items() if rate.age_ns(now=now) <= KEPT_NS
        }
        for path, link in links:
            rate = self.of(path, link, now=now)
            if rate is not None:
                found[path] = rate
        return found


def rate_of_link(link: Link) -> LearnedRate | None:
    """Return what a link has shown of its rate; ``None`` before the first sample."""
    rate = link.rate
    if not rate.bytes_per_s:
        return None
    return LearnedRate(
        rate.bytes_per_s,
        link.latency_ns,
        rate.sampled_ns,
        RateOrigin.RECOVERY,
        is_sound=rate.is_sound,
    )


def _better(one: LearnedRate, other: LearnedRate, *, now: int) -> LearnedRate:
    """Return which of two says more: a sound one, of these a fresh one of a recovery.

    Otherwise the newer one does, and the first of two that are as old.
    """

    def merit(rate: LearnedRate) -> tuple[bool, bool, int]:
        is_fresh = rate.age_ns(now=now) <= FRESH_NS
        is_best = is_fresh and rate.origin is RateOrigin.RECOVERY
        return rate.is_sound, is_best, rate.learned_ns

    return one if merit(one) >= merit(other) else other

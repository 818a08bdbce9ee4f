"""Which way to a full version is the fastest: for a follower that stands some versions behind.

A chain is applied in one go: each tensor is read from the full version where the chain begins, all
deltas are applied to it one after the other, and it is written once. The chain may begin at any
full version of its line: one that is here, the last one that was published in full, or a copy that
a peer has materialised, of the wanted version itself or of one before it.

Everything is predicted from bytes and rates, by a sum: what is fetched, what is applied and what is
made follow one another. Rates are measured; whoever goes a way says how long it took.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ckptd.limits import MIB
from ckptd.model.ids import Version
from ckptd.model.quantities import format_duration, format_size

_NEWEST_SHARE: Final = 0.5
"""What the latest measurement counts; those before it count the rest."""
_RATE_MIN_BYTES_PER_S: Final = 1.0
_MEASURED_BYTES_MIN: Final = MIB
"""What is shorter says more of what each costs than of a rate."""


class Way(enum.StrEnum):
    """How a full version comes to be here."""

    CHAIN = "chain"
    """From a full version that is here already."""
    FULL = "full"
    """From a version that was published in full, and is fetched."""
    COPY = "copy"
    """From what a peer has materialised, and is fetched."""


class Start(NamedTuple):
    """A full version on the line of a chain.

    Attributes:
        way: How it comes to be here.
        version: Which version it is.
        size_bytes: All of it.
        fetch_bytes: How much of that has to be fetched; 0 if it is here.
    """

    way: Way
    version: Version
    size_bytes: int
    fetch_bytes: int = 0


class Step(NamedTuple):
    """A delta of a chain.

    Attributes:
        version: What it makes.
        base: Of what.
        apply_bytes: Bytes of the tensors that it changes. Those of a full version if that is not
            known yet.
        fetch_bytes: How much of it has to be fetched; 0 if it is here.
    """

    version: Version
    base: Version
    apply_bytes: int
    fetch_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast this node is.

    Attributes:
        fetch_bytes_per_s: What arrives from all peers together.
        apply_bytes_per_s: Bytes of tensors to which a difference is applied.
        make_bytes_per_s: Bytes of a full version that are read, checked and written.
        each_fetch_s: What each version that is fetched costs beside its bytes.
        each_apply_s: What each delta that is applied costs beside its bytes.
    """

    fetch_bytes_per_s: float = 1e9
    apply_bytes_per_s: float = 500e6
    make_bytes_per_s: float = 300e6
    each_fetch_s: float = 0.2
    each_apply_s: float = 0.01

    def fetch_s(self, size_bytes: int, versions: int) -> float:
        """Return how long it takes to fetch so many bytes of so many versions."""
        return size_bytes / self.fetch_bytes_per_s + versions * self.each_fetch_s

    def apply_s(self, size_bytes: int, deltas: int) -> float:
        """Return how long it takes to apply so many deltas to so many bytes of tensors."""
        return size_bytes / self.apply_bytes_per_s + deltas * self.each_apply_s

    def with_fetched(self, size_bytes: int, versions: int, took_s: float) -> Rates:
        """Return the rates once it is known how long it took to fetch something."""
        rate = _learned(
            self.fetch_bytes_per_s, size_bytes, took_s - versions * self.each_fetch_s, took_s
        )
        return replace(self, fetch_bytes_per_s=rate)

    def with_applied(self, size_bytes: int, deltas: int, took_s: float) -> Rates:
        """Return the rates once it is known how long it took to apply some deltas."""
        rate = _learned(
            self.apply_bytes_per_s, size_bytes, took_s - deltas * self.each_apply_s, took_s
        )
        return replace(self, apply_bytes_per_s=rate)

    def with_made(self, size_bytes: int, took_s: float) -> Rates:
        """Return the rates once it is known how long it took to make a full version."""
        rate = _learned(self.make_bytes_per_s, size_bytes, took_s, took_s)
        return replace(self, make_bytes_per_s=rate)


@dataclass(frozen=True, slots=True)
class PlannedWay:
    """One way to a full version, and what it costs.

    Attributes:
        start: Where it begins.
        steps: The deltas that are applied, the first to apply first.
        fetch_bytes: What has to be fetched, the start and deltas together.
        apply_bytes: Bytes of tensors to which differences are applied.
        make_bytes: Bytes of the full version that are written; 0 if it is fetched as it is.
        predicted_s: How long all of that takes.
    """

    start: Start
    steps: tuple[Step, ...]
    fetch_bytes: int
    apply_bytes: int
    make_bytes: int
    predicted_s: float

    @property
    def text(self) -> str:
        """The way as a sentence for people, without a full stop."""
        words = _FROM[self.start.way].format(self.start.version)
        if self.steps:
            deltas = "1 delta" if len(self.steps) == 1 else f"{len(self.steps)} deltas"
            words += f" and {deltas} on it"
        to_do = [
            f"{format_size(size)} to {what}"
            for size, what in (
                (self.fetch_bytes, "fetch"),
                (self.apply_bytes, "apply"),
                (self.make_bytes, "write"),
            )
            if size
        ]
        return f"{words}: {', '.join(to_do) or 'nothing to do'}, {_about(self.predicted_s)}"


def ways_to(
    version: Version, starts: Iterable[Start], steps: Iterable[Step], rates: Rates
) -> tuple[PlannedWay, ...]:
    """Return every way to a full version, the fastest first; none if no chain leads to it.

    Args:
        version: Which version is wanted in full.
        starts: Full versions that there are, of any version.
        steps: Deltas that can be had; of each version one.
        rates: How fast this node is.

    Cost: O(starts · steps).
    """
    by_version = {step.version: step for step in steps}
    # What is applied to get from a version of the line to the wanted one; a base is always earlier.
    lines: dict[Version, tuple[Step, ...]] = {version: ()}
    at = version
    while (step := by_version.get(at)) is not None and step.base < at:
        lines[step.base] = (step, *lines[at])
        at = step.base
    found = [
        _planned(start, lines[start.version], rates) for start in starts if start.version in lines
    ]
    return tuple(sorted(found, key=_fastest_first))


def _planned(start: Start, steps: Sequence[Step], rates: Rates) -> PlannedWay:
    sizes = [start.fetch_bytes, *(step.fetch_bytes for step in steps)]
    fetched = [size_bytes for size_bytes in sizes if size_bytes]
    apply_bytes = sum(step.apply_bytes for step in steps)
    is_fetched_as_it_is = not steps and start.fetch_bytes > 0
    make_bytes = 0 if is_fetched_as_it_is else start.size_bytes
    return PlannedWay(
        start,
        tuple(steps),
        sum(fetched),
        apply_bytes,
        make_bytes,
        rates.fetch_s(sum(fetched), len(fetched))
        + rates.apply_s(apply_bytes, len(steps))
        + make_bytes / rates.make_bytes_per_s,
    )


def _fastest_first(way: PlannedWay) -> tuple[float, int, Version]:
    """Return by what ways are ordered; of two as fast, the one that fetches less."""
    return (way.predicted_s, way.fetch_bytes, way.start.version)


def _learned(known: float, size_bytes: int, bytes_s: float, took_s: float) -> float:
    """Return a rate with one measurement more.

    Args:
        known: The rate until now.
        size_bytes: What was measured.
        bytes_s: How long its bytes took, without what each costs.
        took_s: How long all took: at least some of that is due to the bytes.
    """
    if size_bytes < _MEASURED_BYTES_MIN or took_s <= 0:
        return known
    measured = size_bytes / max(bytes_s, took_s / 2)
    # Rates are mixed as seconds for a byte, by which costs are predicted.
    mixed = _NEWEST_SHARE / measured + (1 - _NEWEST_SHARE) / known
    return max(1 / mixed, _RATE_MIN_BYTES_PER_S)


_FROM: Final = {
    Way.CHAIN: "from {} that is here",
    Way.FULL: "from {} in full",
    Way.COPY: "from a peer's copy of {}",
}


def _about(seconds: float) -> str:
    return f"about {format_duration(seconds)}"

"""Places: where a version stands on this node, and how much of it can be served from there.

A version can stand in several directories. Each is a place of its own: with the files that were
hashed there, and with what is known to be wrong with them since. The catalog owns them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from ckptd.chains.chain_links import ChainLink, link_of
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding
from ckptd.model.minimal_set import minimal_set_of
from ckptd.model.space import AddressSpace
from ckptd.model.words import PlaceState

NO_UNITS: Final[frozenset[int]] = frozenset()

_BEST_FIRST: Final = (
    PlaceState.HERE,
    PlaceState.CHOSEN,
    PlaceState.PARTIAL,
    PlaceState.SUSPECT,
    PlaceState.UNSEEN,
    PlaceState.STALE,
    PlaceState.WITHDRAWN,
)


class UnitRuns(Protocol):
    """Says which blocks a unit has, as an address space does."""

    def unit_run(self, unit: int) -> tuple[int, int]:
        """Return the blocks ``[start, end)`` of a unit; empty for an empty unit."""


class UnitStarts:
    """What the catalog keeps in memory of an address space: four bytes for each unit.

    Attributes:
        minimal_set: What has to be there first; ``None``: nothing is known of it.
        link: What the version is a delta on; ``None``: on nothing, or nothing is known of it.
    """

    __slots__ = ("_starts", "link", "minimal_set")

    def __init__(self, space: AddressSpace) -> None:
        self.minimal_set = minimal_set_of(space)
        manifest = space.manifest
        self.link: ChainLink | None = link_of(manifest.annotations, manifest.version)
        units = range(len(space.manifest.units))
        self._starts = array("I", (space.unit_run(unit)[0] for unit in units))
        self._starts.append(space.block_count)

    @property
    def unit_count(self) -> int:
        """How many units the version has."""
        return len(self._starts) - 1

    def unit_run(self, unit: int) -> tuple[int, int]:
        """Return the blocks ``[start, end)`` of a unit; empty for an empty unit."""
        return (self._starts[unit], self._starts[unit + 1])


@dataclass(frozen=True, slots=True)
class Place:
    """A directory in which a version stands.

    Attributes:
        number: Its name within this node's catalog; never used for another one.
        root: Name of the root it lies in.
        directory: Path relative to the root.
        is_published: It was published here; otherwise a recovery brought it.
        is_withdrawn: An operator took it off offer.
        added_at_s: When it was recorded first, in Unix time; 0: not known.
        checked_at_s: When all of it was known to be right last, in Unix time; 0: not known.
        scrubbed_units: How far the current round of scrubbing is.
        unit_count: Units of the version; 0 if its manifest cannot be read.
        blocks: What was recorded as being there.
        absent: Units that a recovery left out.
        lacking: Those of them that are required.
        suspect: Units whose files have other metadata than was recorded: to be hashed again.
        changed: Units whose content is known to differ, or to be gone.
        reason: The first thing that is wrong, for people; empty if nothing is known to be.
        wrong_names: Links and empty directories that are not as the manifest says, each with a
            sentence for people.
        links: How many links the version has.
        empty_directories: How many empty directories.
        is_by_choice: Nobody asked for the units that are lacking.
        is_unseen: It was not looked at since the daemon started: nothing else is known of it than
            what it is called, and nothing is served from it.
        is_held_back: It is off offer while others are asked whether it may go from here.
        is_copy: It stands in the root for copies, and was not published there: no job placed it.
        saved_bytes: How much less room it takes because units are kept compressed.
    """

    number: int
    root: str
    directory: str
    is_published: bool
    is_withdrawn: bool
    added_at_s: float
    checked_at_s: float
    scrubbed_units: int
    unit_count: int
    blocks: BlockSet
    absent: frozenset[int] = NO_UNITS
    lacking: frozenset[int] = NO_UNITS
    suspect: frozenset[int] = NO_UNITS
    changed: frozenset[int] = NO_UNITS
    reason: str = ""
    wrong_names: Mapping[str, str] = field(default_factory=dict)
    links: int = 0
    empty_directories: int = 0
    is_by_choice: bool = False
    is_unseen: bool = False
    is_held_back: bool = False
    is_copy: bool = False
    saved_bytes: int = 0

    @property
    def is_off_offer(self) -> bool:
        """Nothing is served from here, whatever stands here."""
        return self.is_withdrawn or self.is_held_back

    @property
    def state(self) -> PlaceState:
        """What there is to say of it in a word."""
        if self.is_withdrawn:
            return PlaceState.WITHDRAWN
        if self.is_unseen:
            return PlaceState.UNSEEN
        if self.changed or self.wrong_names or (self.reason and not self.suspect):
            return PlaceState.STALE
        if self.suspect:
            return PlaceState.SUSPECT
        if not self.lacking:
            return PlaceState.HERE
        return PlaceState.CHOSEN if self.is_by_choice else PlaceState.PARTIAL

    @property
    def unusable(self) -> frozenset[int]:
        """Units of which nothing is served from here."""
        return self.absent | self.suspect | self.changed

    @property
    def is_serving(self) -> bool:
        """Something is served from here."""
        return not self.is_off_offer and len(self.unusable) < self.unit_count

    def servable(self, runs: UnitRuns) -> BlockSet:
        """Return the blocks that can be served from here.

        Args:
            runs: Of this version: its address space will do.
        """
        if self.is_off_offer:
            return BlockSet()
        wrong = map(runs.unit_run, self.suspect | self.changed)
        return self.blocks - BlockSet(run for run in wrong if run[0] < run[1])

    @property
    def is_whole(self) -> bool:
        """Every unit stands here, as far as is known; some may have to be hashed again."""
        is_readable = not self.is_unseen and (not self.reason or bool(self.suspect))
        return is_readable and not (self.absent or self.changed or self.wrong_names)

    def standing(self, runs: UnitRuns) -> BlockSet:
        """Return the blocks that are not known to be wrong here, on offer or not.

        Args:
            runs: Of this version: its address space will do.
        """
        shown = replace(self, suspect=NO_UNITS, is_withdrawn=False, is_held_back=False)
        return shown.servable(runs)

    def with_suspect(self, units: Iterable[int], reason: str, *, is_again: bool = False) -> Place:
        """Return the place with more units that have to be hashed again.

        Args:
            units: Which units.
            reason: Why, a sentence for people.
            is_again: Also those that are known to be wrong; something happened to them since.
        """
        known = self.suspect if is_again else self.suspect | self.changed
        more = self._present(units) - known
        if not more:
            return self
        return replace(
            self,
            suspect=self.suspect | more,
            changed=self.changed - more,
            reason=self.reason or reason,
        )

    def with_changed(self, units: Iterable[int], reason: str) -> Place:
        """Return the place with more units that are known to differ or to be gone."""
        more = self._present(units) - self.changed
        if not more:
            return self
        # What has changed says more than what might have.
        reason = self.reason if self.changed and self.reason else reason
        return replace(
            self, suspect=self.suspect - more, changed=self.changed | more, reason=reason
        )

    def with_right(self, units: Iterable[int], runs: UnitRuns, checked_at_s: float | None) -> Place:
        """Return the place with units that were hashed and are right.

        Args:
            units: Which units; those that were left out are there now.
            runs: Which blocks units have.
            checked_at_s: When everything was found right; ``None``: it was not.
        """
        right = frozenset(units)
        came = map(runs.unit_run, right & self.absent)
        blocks = self.blocks | BlockSet(run for run in came if run[0] < run[1])
        suspect, changed = self.suspect - right, self.changed - right
        return replace(
            self,
            blocks=blocks,
            absent=self.absent - right,
            lacking=self.lacking - right,
            suspect=suspect,
            changed=changed,
            reason=self.reason if suspect or changed else _first(self.wrong_names),
            checked_at_s=self.checked_at_s if checked_at_s is None else checked_at_s,
        )

    def with_wrong_names(self, names: Mapping[str, str]) -> Place:
        """Return the place with what is wrong with its links and empty directories by now."""
        if names == self.wrong_names:
            return self
        is_about_them = self.reason in self.wrong_names.values()
        reason = "" if is_about_them else self.reason
        return replace(self, wrong_names=dict(names), reason=reason or _first(names))

    def with_scrubbed(self, units_done: int, checked_at_s: float | None) -> Place:
        """Return the place with so many units of a round scrubbed."""
        return replace(
            self,
            scrubbed_units=units_done,
            checked_at_s=self.checked_at_s if checked_at_s is None else checked_at_s,
        )

    def _present(self, units: Iterable[int]) -> frozenset[int]:
        within = range(self.unit_count)
        return frozenset(unit for unit in units if unit in within) - self.absent


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version in the catalog.

    Attributes:
        holding: What can be served of it, from all places together.
        places: Where it stands, in the order in which they were added; at least one.
    """

    holding: Holding
    places: tuple[Place, ...]

    @property
    def is_offered(self) -> bool:
        """Peers hear of it."""
        if self.holding.blocks:
            return True
        is_empty = not self.holding.block_count  # all files are: nothing to serve, all of it here
        # Whoever asks for what is suspect has it hashed at once; so peers must know whom to ask.
        return any(
            not place.is_off_offer
            and (place.suspect or (is_empty and place.state is PlaceState.HERE))
            for place in self.places
        )

    @property
    def is_unseen(self) -> bool:
        """It has a place that was not looked at since the daemon started."""
        return any(place.is_unseen for place in self.places)

    @property
    def is_stale(self) -> bool:
        """Nothing of it can be served, and something is wrong: it is not only withdrawn."""
        is_off_offer = all(place.is_off_offer for place in self.places)
        return not self.is_offered and bool(self.reason) and not is_off_offer

    @property
    def reason(self) -> str:
        """The first thing that is wrong with it at any place; empty if nothing is."""
        return next((place.reason for place in self.places if place.reason), "")

    @property
    def main(self) -> Place:
        """The place to name when one has to be: the best, of several no copy, and the first."""
        return min(self.places, key=lambda place: (_BEST_FIRST.index(place.state), place.is_copy))

    @property
    def is_copy(self) -> bool:
        """It stands here only as a copy."""
        return all(place.is_copy for place in self.places)

    def at(self, root: str, directory: str) -> Place | None:
        """Return the place in a directory."""
        return next(
            (each for each in self.places if (each.root, each.directory) == (root, directory)),
            None,
        )


def count_by_state(versions: Iterable[HeldVersion]) -> dict[str, int]:
    """Return how many places there are in each state, also in those in which there is none."""
    counts = dict.fromkeys((state.value for state in PlaceState), 0)
    for held in versions:
        for place in held.places:
            counts[place.state.value] += 1
    return counts


def held_version(facts: Holding, places: tuple[Place, ...], runs: UnitRuns) -> HeldVersion:
    """Return a version at some places.

    Args:
        facts: What it is; its blocks are of no account.
        places: Where it stands.
        runs: Which blocks its units have.
    """
    blocks = union(place.servable(runs) for place in places)
    return HeldVersion(replace(facts, blocks=blocks), places)


def _first(names: Mapping[str, str]) -> str:
    return names[min(names)] if names else ""


def first_reason(reasons: Mapping[int, str]) -> str:
    """Return what is wrong with the first unit of some."""
    return reasons[min(reasons)] if reasons else ""

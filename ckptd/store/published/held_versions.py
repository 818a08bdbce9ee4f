"""What the catalog knows in memory: versions by digest, name, place and directory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from ckptd.errors import NotFound
from ckptd.model.blocks import union
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.published.places import HeldVersion, Place, UnitStarts, held_version


class PlaceChange(NamedTuple):
    """What a change of a place came to.

    Attributes:
        is_any: Something is not as it was.
        is_served_otherwise: Units are served from the place that were not, or the reverse.
        is_seen: What can be served of the version changed with it.
    """

    is_any: bool = False
    is_served_otherwise: bool = False
    is_seen: bool = False


class HeldVersions:
    """Versions and their places; each index has all of them and nothing else.

    Attributes:
        change_count: How often anything of it changed.
    """

    def __init__(self) -> None:
        self.change_count = 0
        self._versions: dict[Digest, HeldVersion] = {}
        self._starts: dict[Digest, UnitStarts] = {}
        self._by_name: dict[tuple[CheckpointName, Version], dict[Digest, None]] = {}
        self._by_place: dict[int, Digest] = {}
        self._by_directory: dict[tuple[str, str], dict[int, None]] = {}
        self._order: tuple[Digest, ...] | None = (
            None  # by name and version, while none comes or goes
        )

    def __len__(self) -> int:
        return len(self._versions)

    def count_without(self, numbers: Collection[int]) -> int:
        """Return how many versions are left when some places are gone."""
        going = {self._by_place[number] for number in numbers if number in self._by_place}
        return len(self) - sum(
            all(place.number in numbers for place in self._versions[digest].places)
            for digest in going
        )

    def get(self, digest: Digest) -> HeldVersion | None:
        """Return a version."""
        return self._versions.get(digest)

    def all(self) -> tuple[HeldVersion, ...]:
        """Return everything, ordered by checkpoint and version."""
        if self._order is None:
            keys = sorted(
                (*name, digest) for name, found in self._by_name.items() for digest in found
            )
            self._order = tuple(digest for _, _, digest in keys)
        return tuple(self._versions[digest] for digest in self._order)

    def named(self, checkpoint: CheckpointName, version: Version) -> tuple[HeldVersion, ...]:
        """Return what has a name and version: one, or rivals, the latest first."""
        found = [self._versions[digest] for digest in self._by_name.get((checkpoint, version), ())]
        return tuple(sorted(found, key=lambda held: held.places[-1].number, reverse=True))

    def digests_of(self, checkpoint: CheckpointName) -> frozenset[Digest]:
        """Return all versions of a checkpoint."""
        names = (found for name, found in self._by_name.items() if name[0] == checkpoint)
        return frozenset(itertools.chain.from_iterable(names))

    def withdrawn_of(self, checkpoint: CheckpointName) -> frozenset[Digest]:
        """Return the versions of a checkpoint that are off offer wherever they stand."""
        return frozenset(
            digest
            for digest in self.digests_of(checkpoint)
            if all(place.is_withdrawn for place in self._versions[digest].places)
        )

    def standing(self, checkpoint: CheckpointName) -> tuple[Holding, ...]:
        """Return what stands here of each version of a checkpoint, as far as is known."""
        found = (self._versions[digest] for digest in sorted(self.digests_of(checkpoint)))
        return tuple(
            replace(
                held.holding,
                blocks=union(
                    place.standing(self._starts[held.holding.digest]) for place in held.places
                ),
            )
            for held in found
        )

    def at(self, root: str, directory: str) -> list[tuple[HeldVersion, Place]]:
        """Return what is recorded as standing in a directory, the latest last."""
        numbers = sorted(self._by_directory.get((root, directory), ()))
        return [found for number in numbers if (found := self.place(number)) is not None]

    def place(self, number: int) -> tuple[HeldVersion, Place] | None:
        """Return a place and its version; ``None`` if there is no such place."""
        digest = self._by_place.get(number)
        if digest is None:
            return None
        held = self._versions[digest]
        return held, next(place for place in held.places if place.number == number)

    def known(self, number: int) -> tuple[HeldVersion, Place]:
        """Return a place and its version.

        Raises:
            NotFound: There is no such place.
        """
        found = self.place(number)
        if found is None:
            raise NotFound(f"place {number}", "is not in this node's catalog")
        return found

    def places_of(self, root: str) -> list[tuple[HeldVersion, Place]]:
        """Return all places below a root."""
        versions = self._versions.values()
        return [(held, place) for held in versions for place in held.places if place.root == root]

    def starts(self, digest: Digest) -> UnitStarts:
        """Return which blocks the units of a version have."""
        return self._starts[digest]

    def put(self, facts: Holding, places: Sequence[Place], starts: UnitStarts) -> bool:
        """Take in a version with its places, in the place of what was known of it.

        Returns:
            Whether what can be served changed.
        """
        digest = facts.digest
        before = self._versions.get(digest)
        self._starts[digest] = starts
        if before is None:
            self._by_name.setdefault((facts.checkpoint, facts.version), {})[digest] = None
            self._order = None
        for place in places:
            self._by_place[place.number] = digest
            self._by_directory.setdefault((place.root, place.directory), {})[place.number] = None
        after = held_version(facts, tuple(places), starts)
        self._versions[digest] = after
        self.change_count += 1
        return _offer(before) != _offer(after)

    def add(self, facts: Holding, place: Place, starts: UnitStarts) -> bool:
        """Take in a version at one more place, or at one that was renewed.

        Returns:
            Whether what can be served changed.
        """
        present = self._versions.get(facts.digest)
        places = [each for each in present.places if each.number != place.number] if present else []
        return self.put(facts, sorted([*places, place], key=lambda each: each.number), starts)

    def drop(self, number: int) -> bool:
        """Forget a place that is known, and its version if that has no other.

        Returns:
            Whether what can be served changed.
        """
        digest = self._by_place.pop(number)
        before = self._versions[digest]
        gone = next(place for place in before.places if place.number == number)
        self._unlist((gone.root, gone.directory), number)
        self.change_count += 1
        places = tuple(place for place in before.places if place is not gone)
        if places:
            self._versions[digest] = held_version(before.holding, places, self._starts[digest])
        else:
            self._forget(before.holding)
        return _offer(before) != _offer(self._versions.get(digest))

    def change(self, number: int, change: Callable[[Place], Place]) -> PlaceChange:
        """Change what is known of a place; nothing if there is no such place."""
        found = self.place(number)
        if found is None:
            return PlaceChange()
        held, before = found
        after = change(before)
        if after == before:
            return PlaceChange()
        places = tuple(after if place is before else place for place in held.places)
        is_seen = self.put(held.holding, places, self._starts[held.holding.digest])
        is_served_otherwise = (before.unusable, before.is_off_offer) != (
            after.unusable,
            after.is_off_offer,
        )
        return PlaceChange(is_any=True, is_served_otherwise=is_served_otherwise, is_seen=is_seen)

    def _unlist(self, directory: tuple[str, str], number: int) -> None:
        listed = self._by_directory[directory]
        del listed[number]
        if not listed:
            del self._by_directory[directory]

    def _forget(self, holding: Holding) -> None:
        name = (holding.checkpoint, holding.version)
        del self._versions[holding.digest], self._starts[holding.digest]
        del self._by_name[name][holding.digest]
        if not self._by_name[name]:
            del self._by_name[name]
        self._order = None


def _offer(held: HeldVersion | None) -> Holding | None:
    """Return what peers hear of a version."""
    return held.holding if held is not None and held.is_offered else None

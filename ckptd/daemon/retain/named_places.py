"""Versions that stand on this node, as those who let them go name them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import Conflict, NotFound, UsageError
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    RecoveryId,
    Version,
    parse_checkpoint_name,
    parse_version,
    shortened,
)
from ckptd.model.life import LifeCause, is_permitted, life_at_place
from ckptd.model.shards import job_of
from ckptd.store.published.places import HeldVersion, Place
from ckptd.store.published.removing import has_any, names_to_remove


class NamedPlace(NamedTuple):
    """A version at one place."""

    held: HeldVersion
    place: Place

    @property
    def name(self) -> str:
        """The version as a person writes it."""
        return f"{self.held.holding.checkpoint}@{self.held.holding.version}"


class NamedPlaces:
    """Finds places, and says why one is not to be touched.

    Args:
        storage: Where they are.
        recovering: Recoveries, which may be on their way to them.
        note_let_go: Given each version that somebody wants to go from a place: nobody misses it.
    """

    def __init__(
        self, storage: Storage, recovering: Recovering, note_let_go: Callable[[Digest], None]
    ) -> None:
        self.note_let_go = note_let_go
        self._catalog = storage.catalog
        self._roots = storage.roots
        self._recovering = recovering

    def chosen(
        self, checkpoint_text: str, number: int | None, directory: str | None
    ) -> list[NamedPlace]:
        """Return the places that are meant; the name of a job means all its shards.

        Raises:
            NotFound: There are none.
            Conflict: A recovery is on its way to one of them, or above or below it.
        """
        checkpoint = parse_checkpoint_name(checkpoint_text)
        version = None if number is None else parse_version(number)
        where = None
        if directory is not None:
            root, relative = self._roots.locate(directory)
            where = (root.name, relative)
        chosen = [
            NamedPlace(held, place)
            for held in self._named(checkpoint)
            if version in {None, held.holding.version}
            for place in held.places
            if where in {None, (place.root, place.directory)}
        ]
        if not chosen:
            raise _not_here(checkpoint, version, directory)
        for standing in chosen:
            self._check_no_recovery(standing)
        return chosen

    def _named(self, name: CheckpointName) -> list[HeldVersion]:
        """Return what goes by a name: that checkpoint, or else the shards of that job."""
        found = [held for held in self._catalog.versions() if held.holding.checkpoint == name]
        return found or [
            held for held in self._catalog.versions() if job_of(held.holding.checkpoint) == name
        ]

    def _check_no_recovery(self, standing: NamedPlace) -> None:
        """Check that no recovery is on its way to a place, above it or below it.

        Raises:
            Conflict: One is.
        """
        recovery = self._recovery_to(standing.place)
        if recovery is not None:
            raise _in_use(standing, f"is where {recovery} recovers to", recovery)

    def is_target(self, place: Place) -> bool:
        """Return whether a recovery is on its way to a place, above it or below it."""
        return self._recovery_to(place) is not None

    def _recovery_to(self, place: Place) -> RecoveryId | None:
        for other in self._recovering.book:
            is_known = other.root.name == place.root and other.target
            if is_known and _overlap(place.directory, other.target):
                return other.id
        return None

    def check_untouched(self, chosen: Sequence[NamedPlace]) -> None:
        """Check that no recovery may be writing to places that are to go, or copying from them.

        Raises:
            Conflict: One that is under way may.
        """
        for standing in chosen:
            self._check_no_recovery(standing)
        digests = {standing.held.holding.digest for standing in chosen}
        for other in self._recovering.snapshots():
            if other.digest in digests:
                problem = f"is recovered by {other.recovery}, which may copy it"
                raise _in_use(chosen[0], problem, other.recovery)

    def check_one_content(self, chosen: Sequence[NamedPlace]) -> None:
        """Check that only one content of a version is meant; of a job, of each shard.

        Raises:
            UsageError: There are rivals.
        """
        of_name: dict[CheckpointName, list[NamedPlace]] = {}
        for standing in chosen:
            of_name.setdefault(standing.held.holding.checkpoint, []).append(standing)
        for alike in of_name.values():
            if len({standing.held.holding.digest for standing in alike}) > 1:
                found = ", ".join(
                    f"{shortened(standing.held.holding.digest)} in {self.path(standing.place)}"
                    for standing in alike
                )
                problem = f"is here with several contents: {found}"
                raise UsageError(alike[0].name, problem, "Say which with --place.")

    def check_permitted(self, chosen: Sequence[NamedPlace], cause: LifeCause) -> None:
        """Check that something may happen to places, by what they are: :mod:`ckptd.model.life`.

        Raises:
            Conflict: It may not: one is active.
        """
        active = self._catalog.active
        for standing in chosen:
            place = standing.place
            is_active = active.is_active(place.root, place.directory)
            life = life_at_place(is_active=is_active, is_withdrawn=place.is_withdrawn)
            if not is_active or is_permitted(life, cause):
                continue
            row = active.at(place.root, place.directory)
            name = standing.held.holding.checkpoint if row is None else row.checkpoint
            problem = "is about to be active"
            if row is not None:
                problem = f"is active: {self._roots.absolute(row.root, row.link)} leads to it"
            raise Conflict(
                f"{standing.name} in {self.path(place)}",
                problem,
                f"Activate another version, or take the link away: ckptctl activate --none {name}",
            )

    async def withdraw(self, chosen: Sequence[NamedPlace], cause: LifeCause) -> None:
        """Take places off offer that are let go; from then on none of them becomes active.

        Raises:
            Conflict: One is active, or somebody was about to make it so; nothing was changed.
            StorageError: The disk refused.
        """
        self.check_permitted(chosen, cause)
        await self._catalog.withdraw_all([each.place.number for each in chosen])
        try:
            self.check_permitted(chosen, cause)
        except Conflict:
            for held, place in chosen:
                if not place.is_withdrawn:
                    await self._catalog.offer(held.holding.digest, place.number)
            raise

    async def check_alone(self, standing: NamedPlace, chosen: Sequence[NamedPlace]) -> bool:
        """Check that no other place shares files with one that is to be removed.

        Returns:
            Whether another one is in the same directory, above or below, with files of its own:
            each is a file that was published by itself, for example.

        Raises:
            Conflict: One shares files.
            NotFound: A place was forgotten meanwhile.
            DamagedState: What the database has is not that version.
        """
        numbers = {each.place.number for each in chosen}
        beside = [
            NamedPlace(held, place)
            for held in self._catalog.versions()
            for place in held.places
            if place.root == standing.place.root
            and place.number not in numbers
            and _overlap(standing.place.directory, place.directory)
        ]
        if not beside:
            return False
        hashed = await self._catalog.hashed(standing.place.number)
        own = await asyncio.to_thread(names_to_remove, hashed)
        for other in beside:
            hashed = await self._catalog.hashed(other.place.number)
            if await asyncio.to_thread(has_any, hashed, own):
                raise Conflict(
                    f"{standing.name} in {self.path(standing.place)}",
                    f"shares files with {other.name} in {self.path(other.place)}",
                    f"Forget that first: ckptctl forget {other.name}",
                )
        return True

    def path(self, place: Place) -> str:
        """Return a place as a person writes it."""
        try:
            return self._roots[place.root].absolute(place.directory)
        except NotFound:  # its root is not configured any more
            return f"{place.root}:{place.directory}"

    def facts(self, standing: NamedPlace) -> dict[str, object]:
        """Return what a log line says of a place."""
        holding = standing.held.holding
        return {
            "checkpoint": holding.checkpoint,
            "version": holding.version,
            "digest": holding.digest,
            "directory": self.path(standing.place),
        }


def _overlap(one: str, other: str) -> bool:
    """Return whether two directories below a root are the same, or one lies in the other."""
    first, second = (f"{path}/".lstrip("/") for path in (one, other))
    return first.startswith(second) or second.startswith(first)


def _in_use(standing: NamedPlace, problem: str, recovery: str) -> Conflict:
    return Conflict(
        standing.name, problem, f"Wait for it, or give it up with: ckptctl cancel {recovery}"
    )


def _not_here(
    checkpoint: CheckpointName, version: Version | None, directory: str | None
) -> NotFound:
    name = checkpoint if version is None else f"{checkpoint}@{version}"
    where = "on this node" if directory is None else f"in {directory}"
    return NotFound(name, f"does not stand {where}", "See 'ckptctl checkpoints'.")

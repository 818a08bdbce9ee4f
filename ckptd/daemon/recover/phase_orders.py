"""Places single phases of recoveries on this node's disks, and takes away what was placed so.

What a recovery is about to put is written down before, what stands is recorded after; so a crash
leaves nothing of which nobody knows whose it is, and a cancelled recovery takes away its own only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from ckptd.core.effects import PlacePhase
from ckptd.core.events import Event, PhaseHeld, PhasePlaced, Refusal
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.errors import CkptdError
from ckptd.model.blocks import BlockSet
from ckptd.model.encoded.decoding import encoding_of
from ckptd.model.ids import Digest
from ckptd.observe.logs import get_logger
from ckptd.store.files.fingerprints import UnitFile
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.layout import staging_of
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.staging.withdrawing import withdraw_units
from ckptd.store.trees.standing_files import KnownPlace
from ckptd.store.trees.state_file import describe_state, note_ended

_log = get_logger()

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does something in a thread of those that work on disks."""


class _PlacedPart(NamedTuple):
    """What a recovery put at a place of one version: of its own, or of a shard."""

    digest: Digest
    units: BlockSet


class PhaseOrders:
    """Carries out orders about phases.

    Args:
        storage: Where the journal and the catalog are.
        in_thread: Works on disks.
    """

    def __init__(self, storage: Storage, in_thread: InThread) -> None:
        self._catalog = storage.catalog
        self._journal = storage.journal
        self._placed = storage.placed_units
        self._in_thread: Final = in_thread

    async def place(self, recovery: OpenRecovery, effect: PlacePhase, digest: Digest) -> Event:
        """Let the units of a phase appear; return the event that ends the order.

        Args:
            recovery: Which recovery; what its files get last is settled.
            effect: The order.
            digest: What is recovered.
        """
        staging, manifest = recovery.known_staging(), recovery.known_space().manifest
        describe = partial(describe_state, manifest, digest, is_under_way=True)
        try:
            new = await asyncio.to_thread(staging.absent_units, effect.missing, effect.phase)
            makes_target = not staging.target.stands and bool(new)
            await self._placed.note(recovery.id, new, makes_target=makes_target)
            placed = await self._in_thread(
                lambda: staging.place_phase(effect.missing, effect.phase, describe)
            )
            await self._grow(recovery, digest, staging.target.files)
        except CkptdError as error:
            return PhaseHeld(effect.recovery, Refusal.of(error))
        if placed.obstacle is not None:
            refusal = replace(Refusal.of(placed.obstacle), is_retryable=True)
            return PhaseHeld(effect.recovery, refusal, is_in_the_way=True)
        return PhasePlaced(effect.recovery, effect.phase)

    async def _grow(self, recovery: OpenRecovery, digest: Digest, files: UnitFiles | None) -> None:
        """Write into the catalog what stands at the target by now."""
        if files is None:
            return
        root, target, before = recovery.root, recovery.target, recovery.here.at_target
        manifest = recovery.known_space().manifest
        encoded = encoding_of(manifest)
        hashed = HashedDirectory(root.name, target, manifest, encoded, digest, files)
        joined, parts = recovery.joined, [hashed]
        if joined is not None:
            parts = await asyncio.to_thread(lambda: list(joined.placed(hashed)))
        if all(self._number_at(recovery, part.digest) for part in parts):
            for part in parts:
                await self._settle(recovery, part)
        elif joined is not None:
            await self._catalog.add_shards(parts, None)
        else:
            await self._catalog.add(hashed, is_published=False, is_newest_counted=False)
        number = 0 if joined is not None else self._number_at(recovery, digest)
        changed = before.changed.difference(files.units()) if before else frozenset[int]()
        known = KnownPlace(root, target, files, changed, number)
        recovery.here = replace(recovery.here, at_target=known)

    def _number_at(self, recovery: OpenRecovery, digest: Digest) -> int:
        """Return the number of the place at the target; 0: it is none."""
        held = self._catalog.held(digest)
        place = None if held is None else held.at(recovery.root.name, recovery.target)
        return 0 if place is None else place.number

    async def _settle(self, recovery: OpenRecovery, part: HashedDirectory) -> None:
        """Record units that stand at a place since."""
        number = self._number_at(recovery, part.digest)
        known = (await self._catalog.hashed(number)).files
        renewed = await asyncio.to_thread(_renewed, known, part.files)
        await self._catalog.settle(number, renewed, {})

    async def withdraw(self, recovery: OpenRecovery) -> None:
        """Take away what a recovery put where nothing was, if it is still what was recorded.

        Raises:
            CkptdError: Not all of it could be.
        """
        units = await self._placed.units(recovery.id)
        is_made = await self._placed.is_target_made(recovery.id)
        parts = await self._parts(recovery, units)
        found = [(self._number_at(recovery, part.digest), part.units) for part in parts]
        numbers = [each for each in found if each[0]]
        root, staging = recovery.root, staging_of(recovery.id)
        for number, of_part in numbers:
            hashed = await self._catalog.hashed(number)
            is_last = number == numbers[-1][0]
            removed = await self._in_thread(
                partial(withdraw_units, root, hashed, of_part, with_directory=is_made and is_last)
            )
            await self._shrink(number, hashed, removed)
        if not numbers or not is_made:
            await self._in_thread(partial(note_ended, root, staging, recovery.target))
        _log.info("recovery.withdrawn", recovery=recovery.id, directory=recovery.target_path)

    async def _parts(self, recovery: OpenRecovery, units: BlockSet) -> list[_PlacedPart]:
        """Return which units were put, of each version that stands at the target."""
        if recovery.joined is not None:
            joint = recovery.joined.joint
            found = []
            for digest in recovery.joined.members:
                of_member = enumerate(joint.units_of(digest))
                own = BlockSet((unit, unit + 1) for unit, of in of_member if of in units)
                found.append(_PlacedPart(digest, own))
            return found
        chosen = await self._journal.digest(recovery.id)
        return [] if chosen is None else [_PlacedPart(chosen, units)]

    async def _shrink(self, number: int, hashed: HashedDirectory, removed: BlockSet) -> None:
        """Record that units stand at a place no more."""
        files = hashed.files.copied()
        for unit in removed:
            files[unit] = None
        place = self._catalog.place(number)
        await self._catalog.forget_all([number])
        if files.file_count and place is not None:
            left = replace(hashed, files=files)
            await self._catalog.add(
                left,
                is_published=place[1].is_published,
                is_newest_counted=False,
                is_by_choice=place[1].is_by_choice,
            )


def _renewed(known: UnitFiles, files: UnitFiles) -> dict[int, UnitFile]:
    """Return the files that are other ones than were recorded."""
    pairs = enumerate(zip(files, known, strict=True))
    return {unit: file for unit, (file, before) in pairs if file is not None and file != before}

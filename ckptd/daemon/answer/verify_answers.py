"""Verifies what is on offer because somebody asked for it, as fast as the machine can."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ckptd.control.messages.verifications import (
    BadUnit,
    RepairBegun,
    VerifyEvent,
    VerifyProgress,
    VerifyRequest,
    VerifyResult,
)
from ckptd.daemon.keep.reads import Reads
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.repairing import Repairing
from ckptd.errors import CkptdError, NotFound
from ckptd.limits import SECOND
from ckptd.model.ids import parse_checkpoint_name, parse_version
from ckptd.model.words import ReadReason
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.published.bare_names import bare_names_of, wrong_names
from ckptd.store.published.checking import Checked, Reading, hash_again
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.places import HeldVersion, Place

_PROGRESS_S: Final = 1.0
"""How often a stream reports progress."""


@dataclass(slots=True)
class _Amounts:
    """What was done so far, and what there is to do."""

    places: int = 0
    files: int = 0
    files_total: int = 0
    size_bytes: int = 0
    total_bytes: int = 0
    read_bytes: int = 0
    changed: int = 0
    unread: int = 0
    latest: HashingProgress = field(default_factory=lambda: HashingProgress(0, 0, 0, 0))

    def progress(self) -> VerifyProgress:
        return VerifyProgress(
            files_done=self.files + self.latest.files_done,
            files_total=self.files_total,
            bytes_done=self.size_bytes + self.latest.bytes_done,
            bytes_total=self.total_bytes,
        )


class VerifyAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about verifying.

    Args:
        parts: What the daemon is made of.
        reads: Counts what was read again, and takes in what it showed.
        repairing: Puts places right.
        now: A monotonic clock.
    """

    def __init__(
        self, parts: Parts, reads: Reads, repairing: Repairing, now: Callable[[], int]
    ) -> None:
        self._catalog = parts.storage.catalog
        self._roots = parts.storage.roots
        self._wall_clock = parts.wall_clock
        self._reads = reads
        self._repairing = repairing
        self._now = now

    async def verify(self, request: VerifyRequest) -> AsyncGenerator[VerifyEvent, None]:
        """Hash again; yield progress, units that are not right, repairs, and last the sum.

        Raises:
            NotFound: Nothing of that name is on offer.
        """
        began_ns = self._now()
        chosen = self._chosen(request)
        amounts = _Amounts(
            files_total=sum(place.unit_count - len(place.absent) for _, place in chosen),
            total_bytes=sum(_size_of(held) for held, _ in chosen),
        )
        stopped = threading.Event()
        threads = ThreadPoolExecutor(1, "verify")
        try:
            for held, place in chosen:
                async for event in self._verify(held, place, amounts, threads, stopped):
                    yield event
                recovery = None
                if request.repair:
                    recovery = await self._repairing.repair(place.number)
                if recovery is not None:
                    yield RepairBegun(
                        checkpoint=held.holding.checkpoint,
                        version=held.holding.version,
                        directory=recovery.target_path,
                        recovery=recovery.id,
                    )
        finally:
            stopped.set()
            await asyncio.to_thread(threads.shutdown)
        yield VerifyResult(
            places=amounts.places,
            units=amounts.files,
            read_bytes=amounts.read_bytes,
            changed_units=amounts.changed,
            unread_units=amounts.unread,
            duration_s=round((self._now() - began_ns) / SECOND, 3),
        )

    def _chosen(self, request: VerifyRequest) -> list[tuple[HeldVersion, Place]]:
        checkpoint = request.checkpoint and parse_checkpoint_name(request.checkpoint)
        version = None if request.version is None else parse_version(request.version)
        chosen = [
            held
            for held in self._catalog.versions()
            if checkpoint in {None, held.holding.checkpoint}
            and version in {None, held.holding.version}
        ]
        if not chosen and checkpoint is not None:
            name = checkpoint if version is None else f"{checkpoint}@{version}"
            raise NotFound(name, "is not in this node's catalog")
        return [(held, place) for held in chosen for place in held.places if not place.is_withdrawn]

    async def _verify(
        self,
        held: HeldVersion,
        place: Place,
        amounts: _Amounts,
        threads: ThreadPoolExecutor,
        stopped: threading.Event,
    ) -> AsyncGenerator[VerifyEvent, None]:
        """Hash one place; yield progress, and what is wrong there."""

        def note(latest: HashingProgress) -> None:
            amounts.latest = latest

        reading = Reading(
            workers=os.cpu_count() or 1,
            is_from_disk=True,
            is_cancelled=stopped.is_set,
            on_progress=note,
        )
        try:
            root = self._roots[place.root]
            hashed = await self._catalog.hashed(place.number)
        except CkptdError:  # damaged, or its root is not configured: known to be stale
            amounts.unread += place.unit_count
            return
        units = range(len(hashed.files))
        hashing = asyncio.get_running_loop().run_in_executor(
            threads, hash_again, root, hashed, units, reading
        )
        while not hashing.done():
            await asyncio.wait({hashing}, timeout=_PROGRESS_S)
            yield amounts.progress()
        checked = hashing.result()
        await self._reads.take_in(ReadReason.VERIFY, held, place, hashed, checked)
        bare_names = bare_names_of(hashed.directory, hashed.manifest)
        wrong = await asyncio.to_thread(wrong_names, root, bare_names)
        names = {name: each.why for name, each in wrong.items()}
        self._catalog.mark_names(place.number, names)
        if not (checked.changed or checked.undecided or names):
            await self._catalog.note_scrubbed(place.number, 0, self._wall_clock())
        amounts.latest = HashingProgress(0, 0, 0, 0)
        amounts.places += 1
        amounts.files += len(checked.files) + len(checked.changed) + len(checked.undecided)
        amounts.size_bytes += _size_of(held)
        amounts.read_bytes += checked.read_bytes
        amounts.changed += len(checked.changed) + len(names)
        amounts.unread += len(checked.undecided)
        for event in _bad_units(held, root.absolute(place.directory), hashed, checked, names):
            yield event


def _size_of(held: HeldVersion) -> int:
    return held.holding.size_bytes


def _bad_units(
    held: HeldVersion,
    directory: str,
    hashed: HashedDirectory,
    checked: Checked,
    names: Mapping[str, str],
) -> Sequence[BadUnit]:
    """Return what is not right: units, and links and empty directories by their names."""
    bad = partial(
        BadUnit,
        checkpoint=held.holding.checkpoint,
        version=held.holding.version,
        digest=held.holding.digest,
        directory=directory,
    )
    of_units = [
        bad(
            path=hashed.manifest.units[unit].path,
            is_changed=unit in checked.changed,
            is_rotten=unit in checked.rotten,
            why=why,
        )
        for unit, why in sorted({**checked.changed, **checked.undecided}.items())
    ]
    of_names = [
        bad(path=name, is_changed=True, is_rotten=False, why=why)
        for name, why in sorted(names.items())
    ]
    return [*of_units, *of_names]

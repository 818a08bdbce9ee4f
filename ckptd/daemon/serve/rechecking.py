"""Hashes suspect units again, so that what is right is served again without anybody's help."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from ckptd.errors import CkptdError
from ckptd.model.ids import Digest
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.checking import Reading, compare, hash_again
from ckptd.store.published.hash_runs import Cancelled
from ckptd.store.published.places import HeldVersion, Place, first_reason

_AGAIN_S: Final = 5.0
"""After so long units are tried again of which nothing could be said."""

_log = get_logger()


class Rechecking:
    """Looks at places with which something is wrong, one after another.

    Args:
        catalog: What stands where.
        roots: Where it lies.
    """

    def __init__(self, catalog: Catalog, roots: Roots) -> None:
        self._catalog = catalog
        self._roots = roots
        self._waiting: dict[tuple[int, bool], None] = {}  # places; whether to look or to hash
        self._woken = asyncio.Event()
        self._is_stopping = threading.Event()
        catalog.on_suspect = self._hash_later
        catalog.on_forgotten = _log_forgotten

    async def run(self) -> NoReturn:
        """Begin with what is suspect, or gone, since the last life of the daemon."""
        for held in self._catalog.versions():
            for place in held.places:
                if place.changed:
                    self._look_later(place.number)
                if place.suspect:
                    self._hash_later(place.number)
        try:
            while True:
                while self._waiting:
                    number, is_look = next(iter(self._waiting))
                    del self._waiting[number, is_look]
                    await self._try(number, self._look if is_look else self._hash)
                self._woken.clear()
                await self._woken.wait()
        finally:
            self._is_stopping.set()

    def look_again(self, digest: Digest) -> None:
        """Look at all places of a version of which something was not what was hashed."""
        held = self._catalog.held(digest)
        for place in held.places if held is not None else ():
            self._look_later(place.number)

    def _look_later(self, number: int) -> None:
        self._waiting[number, True] = None
        self._woken.set()

    def _hash_later(self, number: int) -> None:
        self._waiting[number, False] = None
        self._woken.set()

    async def _try(self, number: int, work: Callable[[int, Place], Awaitable[None]]) -> None:
        known = self._catalog.place(number)
        if known is None:
            return
        try:
            await work(number, known[1])
        except CkptdError as error:
            _log.warning("version.not_checked", place=number, why=str(error))

    async def _look(self, number: int, place: Place) -> None:
        """Compare the metadata of a place with what was recorded."""
        if await self._catalog.forget_if_gone(number):
            return
        root, hashed = self._roots[place.root], await self._catalog.hashed(number)
        found = await asyncio.to_thread(compare, root, hashed)
        if found.changed:
            self._catalog.mark_changed(number, found.changed, first_reason(found.changed))
        if found.suspect:
            self._catalog.mark_suspect(number, found.suspect, first_reason(found.suspect))

    async def _hash(self, number: int, place: Place) -> None:
        """Hash the suspect units of a place."""
        if not place.suspect or await self._catalog.forget_if_gone(number):
            return
        root, hashed = self._roots[place.root], await self._catalog.hashed(number)
        _log.info(
            "version.suspect",
            checkpoint=hashed.manifest.checkpoint,
            version=hashed.manifest.version,
            directory=root.absolute(place.directory),
            units=len(place.suspect),
            why=place.reason,
        )
        reading = Reading(is_cancelled=self._is_stopping.is_set)
        try:
            checked = await asyncio.to_thread(hash_again, root, hashed, place.suspect, reading)
        except Cancelled:
            return
        await self._catalog.settle(number, checked.files, checked.changed)
        if checked.undecided:
            asyncio.get_running_loop().call_later(_AGAIN_S, self._hash_later, number)
        if checked.changed:
            _log.warning(
                "version.stale",
                checkpoint=hashed.manifest.checkpoint,
                version=hashed.manifest.version,
                directory=root.absolute(place.directory),
                units=len(checked.changed),
                why=first_reason(checked.changed),
            )


def _log_forgotten(held: HeldVersion, place: Place, why: str) -> None:
    _log.info(
        "version.forgotten",
        checkpoint=held.holding.checkpoint,
        version=held.holding.version,
        root=place.root,
        directory=place.directory,
        why=why,
    )

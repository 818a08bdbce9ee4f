"""Versions that are being served: decoded once, kept while they are asked for and as they were."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ckptd.model.ids import Digest
from ckptd.store.files.roots import Roots
from ckptd.store.published.places import HeldVersion
from ckptd.store.published.serving import ServedPlace, ServedVersion
from ckptd.store.records.version_records import VersionRecords, unknown

_OPEN_VERSIONS_MAX: Final = 8
"""Decoded versions kept: one of 20,000 units takes about 15 MB."""


class OpenVersions:
    """The versions that were asked for last.

    Args:
        records: Where they are read from.
        roots: Where they stand.
        on_bad: Called on the loop with a place and a unit that is not as it was hashed there.
    """

    def __init__(
        self, records: VersionRecords, roots: Roots, on_bad: Callable[[int, int, str], None]
    ) -> None:
        self._records = records
        self._roots = roots
        self._on_bad = on_bad
        self._open: OrderedDict[Digest, ServedVersion] = OrderedDict()
        self._lock = asyncio.Lock()  # so that nothing is decoded twice at once

    async def get(self, digest: Digest, held: Callable[[], HeldVersion]) -> ServedVersion:
        """Return a version to send bytes from.

        Args:
            digest: Which version.
            held: What is known of it by now; raises if nothing of it is served any more.

        Raises:
            CkptdError: What ``held`` raises.
            NotFound: It was forgotten meanwhile.
            DamagedState: What the database has is not that version.
        """
        if digest not in self._open:
            await self._load(digest, held)
        self._open.move_to_end(digest)
        return self._open[digest]

    async def _load(self, digest: Digest, held: Callable[[], HeldVersion]) -> None:
        async with self._lock:
            while digest not in self._open:
                before = held()
                served = await self._serve(before)
                if held() is before:  # else something was found to be wrong meanwhile
                    self._open[digest] = served
                    if len(self._open) > _OPEN_VERSIONS_MAX:
                        self._open.popitem(last=False)

    def drop(self, digest: Digest) -> None:
        """Decode a version again when it is asked for next: it is not what it was."""
        self._open.pop(digest, None)

    async def _serve(self, held: HeldVersion) -> ServedVersion:
        loop = asyncio.get_running_loop()
        serving = {place.number: place for place in held.places if place.is_serving}
        found = await self._records.hashed(held.holding.digest, serving)
        places = [
            ServedPlace(number, self._roots[place.root], found[number], place.unusable)
            for number, place in serving.items()
            if number in found
        ]
        if not places:
            raise unknown(held.holding.digest)

        def report(number: int, unit: int, reason: str) -> None:
            loop.call_soon_threadsafe(self._on_bad, number, unit, reason)

        return await asyncio.to_thread(ServedVersion, places, on_bad=report)

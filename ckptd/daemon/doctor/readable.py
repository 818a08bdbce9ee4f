"""Whether what looks different on offer can still be read, so that it can be hashed again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import failed
from ckptd.errors import CkptdError, NotFound, StorageError
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.readable import UnitPath, check_readable, naming_closed_directories

_LOOKED_AT_MAX: Final = 10
"""So many places are looked at; the others will be when these are right again."""


async def look_at_reading(catalog: Catalog, roots: Roots) -> AsyncGenerator[CheckRow, None]:
    """Yield the places of which something cannot be hashed again because it cannot be read.

    Args:
        catalog: Knows what looks different.
        roots: Where it lies.
    """
    places = [
        place
        for held in catalog.versions()
        for place in held.places
        if place.suspect and not place.is_withdrawn and place.root in roots
    ]
    for place in places[:_LOOKED_AT_MAX]:
        try:
            hashed = await catalog.hashed(place.number)
            root = roots[place.root]
            denied = await asyncio.to_thread(_denial, root, hashed, place.suspect)
        except CkptdError:
            continue  # it was forgotten meanwhile, or is damaged, which other checks say
        if denied is not None:
            yield failed("place", denied.subject, denied.problem, denied.hint)


def _denial(root: Root, hashed: HashedDirectory, units: Iterable[int]) -> StorageError | None:
    files = [UnitPath(hashed.path_of(unit)) for unit in sorted(units)]
    try:
        with naming_closed_directories(root):
            check_readable(root, hashed.directory, files)
    except NotFound:
        return None
    except StorageError as error:
        return error if error.hint else None
    return None

"""Makes attribute documents of what was published before there were any.

Once, at the start, and nothing is hashed: of files that are just as they were when they were
published, modes and times are what they were. Others get a document by publishing again. What a
recovery brought is no witness: its modes are this node's.
"""

from __future__ import annotations

import asyncio

from ckptd.daemon.parts import Parts
from ckptd.errors import CkptdError
from ckptd.model.ids import Digest
from ckptd.model.signatures import Signature
from ckptd.observe.logs import get_logger
from ckptd.store.published.attribute_documents import document_of_standing
from ckptd.store.published.places import HeldVersion, Place

_log = get_logger()


class Attributing:
    """Makes attribute documents that are missing.

    Args:
        parts: What the daemon is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self._storage = parts.storage
        self._policy = parts.policy

    async def run(self) -> None:
        """Go through all versions once."""
        for held in self._storage.catalog.versions():
            try:
                await self._make(held)
            except CkptdError as error:
                _log.warning("attributes.not_made", digest=held.holding.digest, why=str(error))

    async def _make(self, held: HeldVersion) -> None:
        digest = held.holding.digest
        roots = self._storage.roots
        # Of a root that is not configured any more the catalog says so, where places are listed.
        places = (each for each in held.places if each.root in roots and _is_witness(each))
        place = next(places, None)
        if place is None or await self._storage.attributes.has(digest):
            return
        root = roots[place.root]
        hashed = await self._storage.catalog.hashed(place.number)
        document = await asyncio.to_thread(document_of_standing, root, hashed)
        if not document:
            return
        signatures = await self._signatures_of(digest, document)
        if not await self._storage.attributes.has(digest):  # else published again meanwhile
            await self._storage.attributes.put(digest, document, signatures)
            _log.info("attributes.made", digest=digest, directory=root.absolute(place.directory))

    async def _signatures_of(self, digest: Digest, document: bytes) -> tuple[Signature, ...]:
        """Return this node's signature if it signed the manifest, with the same key: none else."""
        signed = await asyncio.to_thread(self._policy.sign_attributes, document)
        known = {each.key for each in await self._storage.shelf.find(digest)}
        return tuple(each for each in signed if each.key in known)


def _is_witness(place: Place) -> bool:
    """Return whether a place was published here, and all of it is as it was."""
    return place.is_published and not (place.is_withdrawn or place.suspect or place.changed)

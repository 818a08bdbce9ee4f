"""Opens the versions that a full version is made of, where they stand on this node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ckptd.chains.delta_index import (
    DELTA_INDEX,
    DeltaIndex,
    check_applicable,
    read_delta_index,
)
from ckptd.daemon.answer.chain_planning import Content
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.terms import RootTerms
from ckptd.daemon.retain.leases import Leases
from ckptd.errors import CkptdError, InvalidFormat
from ckptd.model.attributes import Attributes, decode_attributes
from ckptd.store.materialising.chain_files import ChainVersion
from ckptd.store.materialising.verified_blocks import VerifiedBlocks, VerifiedUnit
from ckptd.store.published.serving import ServedVersion
from ckptd.store.records.retention_records import ReadDirectory
from ckptd.store.trees.finishing import Finishing


class HeldChains:
    """Opens chains on this node. Belongs to the event loop.

    Args:
        storage: Where versions are.
        leases: Keeps what is read.
    """

    def __init__(self, storage: Storage, leases: Leases) -> None:
        self._catalog = storage.catalog
        self._attributes = storage.attributes
        self._leases = leases

    async def open(self, contents: Sequence[Content]) -> list[ChainVersion]:
        """Return the versions of a chain as what reads them.

        Args:
            contents: The full one, and each delta in turn; all stand here.

        Raises:
            ContentChanged: A file is not what was published.
            InvalidFormat: An index is none, or of a kind that is not known here.
            NotFound: One was forgotten meanwhile.
            StorageError: The disk refused.
        """
        served = [await self._catalog.open_version(each.digest) for each in contents]

        def read() -> list[ChainVersion]:
            blocks = VerifiedBlocks()
            full, *deltas = zip(contents, served, strict=True)
            found = [ChainVersion(full[0].version, full[1])]
            for content, version in deltas:
                index = _index_in(version, blocks)
                if index is None:
                    raise InvalidFormat(
                        content.name,
                        "is said to be a delta version, and its index is an ordinary one",
                        "Publish it again.",
                    )
                check_applicable(index)
                found.append(ChainVersion(content.version, version, index))
            return found

        return await asyncio.to_thread(read)

    async def finishings(
        self, versions: Sequence[ChainVersion], terms: RootTerms
    ) -> list[Finishing]:
        """Return what files of each version get last, as what is recovered does."""
        return [
            Finishing(each.served.space.manifest, await self._attributes_of(each.served), *terms)
            for each in versions
        ]

    async def _attributes_of(self, version: ServedVersion) -> Attributes | None:
        """Return modes and times of the files of a version; ``None``: nobody knows them here."""
        try:
            kept = await self._attributes.find(version.digest)
            if kept is None:
                return None
            manifest = version.space.manifest
            return await asyncio.to_thread(decode_attributes, kept[0], version.digest, manifest)
        except CkptdError:
            return None

    async def take(self, contents: Sequence[Content]) -> None:
        """Say that some versions are read from now on."""
        for read in self._directories(contents):
            await self._leases.take(read)

    @contextmanager
    def reading(self, contents: Sequence[Content]) -> Iterator[None]:
        """Keep some versions from being removed for as long as the context lasts."""
        with ExitStack() as stack:
            for read in self._directories(contents):
                stack.enter_context(self._leases.reading(read))
            yield

    def _directories(self, contents: Sequence[Content]) -> list[ReadDirectory]:
        held = [self._catalog.held(each.digest) for each in contents]
        return [
            ReadDirectory(place.root, place.directory)
            for each in held
            if each is not None
            for place in each.places
        ]


def _index_in(served: ServedVersion, blocks: VerifiedBlocks) -> DeltaIndex | None:
    """Read what a version says as a delta version; ``None``: it is none. Blocks."""
    for number, unit in enumerate(served.space.manifest.units):
        if unit.path == DELTA_INDEX:
            found = VerifiedUnit(blocks, served, number)
            return read_delta_index(found.read(0, found.size_bytes))
    return None

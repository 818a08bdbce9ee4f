"""Finds the chain of a delta version on this node, and opens what it consists of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from ckptd.chains.chain import Chain
from ckptd.chains.delta_index import (
    DELTA_INDEX,
    DeltaIndex,
    check_applicable,
    read_delta_index,
)
from ckptd.daemon.parts import Storage
from ckptd.daemon.retain.leases import Leases
from ckptd.errors import CkptdError, Conflict, InvalidFormat, Missing, ProtocolViolation, UsageError
from ckptd.model.attributes import Attributes, decode_attributes
from ckptd.model.ids import CheckpointName, Digest, Version, shortened
from ckptd.store.materialising.chain_files import ChainVersion
from ckptd.store.materialising.verified_blocks import VerifiedBlocks, VerifiedUnit
from ckptd.store.published.held_chains import series_of
from ckptd.store.published.places import HeldVersion
from ckptd.store.published.serving import ServedVersion
from ckptd.store.records.retention_records import ReadDirectory


class HeldChain(NamedTuple):
    """A chain of which all versions stand here.

    Attributes:
        checkpoint: Of which checkpoint.
        versions: The full one, and each delta in turn.
    """

    checkpoint: CheckpointName
    versions: tuple[HeldVersion, ...]

    @property
    def version(self) -> Version:
        """The delta version."""
        return self.versions[-1].holding.version

    @property
    def digest(self) -> Digest:
        """Its identity."""
        return self.versions[-1].holding.digest

    @property
    def name(self) -> str:
        """The delta version as a person writes it."""
        return f"{self.checkpoint}@{self.version}"


class HeldChains:
    """Finds chains on this node. Belongs to the event loop.

    Args:
        storage: Where versions are.
        leases: Keeps what is read.
    """

    def __init__(self, storage: Storage, leases: Leases) -> None:
        self._catalog = storage.catalog
        self._attributes = storage.attributes
        self._leases = leases

    async def find(self, checkpoint: CheckpointName, version: Version, prefix: str) -> HeldChain:
        """Return the chain of a delta version.

        Args:
            checkpoint: Of which checkpoint.
            version: Which version.
            prefix: The beginning of its digest; empty: there is only one of that number.

        Raises:
            Missing: It, or something that it stands on, is not here.
            Conflict: Several contents may be meant.
            UsageError: It is a full version.
        """
        await self._catalog.see_family(checkpoint)
        digest = self._digest_of(checkpoint, version, prefix)
        chain = series_of(self._catalog, checkpoint).chain(digest, version)
        assert chain is not None, "what is here is known"
        if not chain.deltas:
            await self._refuse_full(checkpoint, version, digest)
        self._check_here(checkpoint, chain)
        members = [self._catalog.held(each.digest) for each in reversed(chain.members)]
        return HeldChain(checkpoint, tuple(held for held in members if held is not None))

    def _digest_of(self, checkpoint: CheckpointName, version: Version, prefix: str) -> Digest:
        name = f"{checkpoint}@{version}"
        held = self._catalog.find(checkpoint, version)
        digests = [each.holding.digest for each in held]
        found = [digest for digest in digests if digest.startswith(prefix)]
        if not found:
            hint = f"Bring it: ckptctl recover {name}"
            raise Missing(name, "is not here" if not digests else f"has no {prefix}", hint)
        if len(found) > 1:
            some = ", ".join(sorted(map(shortened, found)))
            raise Conflict(name, f"has several contents: {some}", "Say which with --digest.")
        return found[0]

    async def _refuse_full(
        self, checkpoint: CheckpointName, version: Version, digest: Digest
    ) -> None:
        """Say why there is nothing to apply.

        Raises:
            UsageError: Always.
        """
        name = f"{checkpoint}@{version}"
        served = await self._catalog.open_version(digest)
        if await asyncio.to_thread(_index_in, served, VerifiedBlocks()) is None:
            raise UsageError(
                name, "is a full version: nothing has to be applied", "Use it as it is."
            )
        raise UsageError(
            name,
            "is a delta version whose manifest does not say on what it stands",
            "Publish it again.",
        )

    def _check_here(self, checkpoint: CheckpointName, chain: Chain) -> None:
        """Check that all of a chain stands here.

        Raises:
            Missing: Something does not.
        """
        name = f"{checkpoint}@{chain.versions[0]}"
        lacking = [each.version for each in chain.members if not each.is_here]
        if chain.lacking is not None:
            lacking.append(chain.lacking)
        if lacking:
            raise Missing(
                name,
                f"stands on {checkpoint}@{lacking[0]}, which is not here in full",
                f"Publish it here, or bring it: ckptctl recover {checkpoint}@{lacking[0]}",
            )

    async def open(self, chain: HeldChain) -> list[ChainVersion]:
        """Return the versions of a chain as what reads them.

        Raises:
            ContentChanged: A file is not what was published.
            InvalidFormat: An index is none, or of a kind that is not known here.
            StorageError: The disk refused.
        """
        served = [await self._catalog.open_version(each.holding.digest) for each in chain.versions]

        def read() -> list[ChainVersion]:
            blocks = VerifiedBlocks()
            first, *deltas = zip(chain.versions, served, strict=True)
            found = [ChainVersion(first[0].holding.version, first[1])]
            for held, each in deltas:
                index = _index_in(each, blocks)
                if index is None:
                    raise InvalidFormat(
                        f"{chain.checkpoint}@{held.holding.version}",
                        "is said to be a delta version, and its index is an ordinary one",
                        "Publish it again.",
                    )
                check_applicable(index)
                found.append(ChainVersion(held.holding.version, each, index))
            return found

        return await asyncio.to_thread(read)

    async def attributes(self, version: ServedVersion) -> Attributes | None:
        """Return modes and times of the files of a version; ``None``: nobody knows them here."""
        try:
            kept = await self._attributes.find(version.digest)
            if kept is None:
                return None
            manifest = version.space.manifest
            return await asyncio.to_thread(decode_attributes, kept[0], version.digest, manifest)
        except (CkptdError, ProtocolViolation):
            return None

    @contextmanager
    def reading(self, chain: HeldChain) -> Iterator[None]:
        """Keep all of a chain from being removed for as long as the context lasts."""
        with ExitStack() as stack:
            for read in _directories(chain.versions):
                stack.enter_context(self._leases.reading(read))
            yield

    async def take(self, chain: HeldChain) -> None:
        """Say that all of a chain is read from now on."""
        for read in _directories(chain.versions):
            await self._leases.take(read)


def _directories(versions: Sequence[HeldVersion]) -> list[ReadDirectory]:
    return [
        ReadDirectory(place.root, place.directory) for held in versions for place in held.places
    ]


def _index_in(served: ServedVersion, blocks: VerifiedBlocks) -> DeltaIndex | None:
    """Read what a version says as a delta version; ``None``: it is none. Blocks."""
    for number, unit in enumerate(served.space.manifest.units):
        if unit.path == DELTA_INDEX:
            found = VerifiedUnit(blocks, served, number)
            return read_delta_index(found.read(0, found.size_bytes))
    return None

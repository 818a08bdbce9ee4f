"""Which blocks of a version are how urgent: what a claim on some of its blocks is worth.

Only a manifest says that. It comes from the catalog, or from a peer that claims the version, and is
checked as for a recovery: what nobody trusted signed, where that is required, has no layout, and
what has none is neither copied nor counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from ckptd.chains.chain_links import link_of
from ckptd.copies.fleet import BaseVersion
from ckptd.core.scheduler import Scheduler
from ckptd.daemon.copying.pauses import Pauses
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.manifests import Manifests, VerifiedManifest
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import CkptdError, VerificationFailed
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality

_AT_ONCE_MAX: Final = 4
_ONE_S: Final = 30.0
"""So long a holder is waited for; then another one is asked."""
_KNOWN_MAX: Final = 16_384
"""Of so many versions the layout is known: some hundred bytes each."""


@dataclass(frozen=True, slots=True)
class ClassLayout:
    """Where the required units of each class lie in a version.

    Attributes:
        blocks: Their blocks, by class; a class without any is not there.
        sizes_bytes: Their bytes, likewise.
        is_trusted: Somebody whose signatures count signed the version.
        base: What it is a delta on; ``None``: it is a full version.
    """

    blocks: Mapping[Criticality, BlockSet]
    sizes_bytes: Mapping[Criticality, int]
    is_trusted: bool = False
    base: BaseVersion | None = None

    @classmethod
    def of(cls, space: AddressSpace, *, is_trusted: bool) -> ClassLayout:
        """Read it from a version. Cost: O(units); not for an event loop."""
        sizes: dict[Criticality, int] = {}
        for unit in space.manifest.units:
            if unit.size_bytes and not unit.is_optional:
                sizes[unit.criticality] = sizes.get(unit.criticality, 0) + unit.size_bytes
        optional = space.optional_blocks()
        blocks = {each: space.of_criticality(each) - optional for each in sizes}
        link = link_of(space.manifest.annotations, space.manifest.version)
        base = None if link is None else BaseVersion(link.base, link.base_digest)
        return cls(blocks, sizes, is_trusted=is_trusted, base=base)

    def least_of(self, blocks: BlockSet) -> Criticality | None:
        """Return the least urgent class of which some blocks have everything, and of all before it.

        Returns:
            ``None``: not even what is critical, or nothing at all.
        """
        if self.blocks and not blocks:
            return None
        least = None
        for each in Criticality:
            if not self.blocks.get(each, BlockSet()).issubset(blocks):
                break
            least = each
        return least


class NamedContent(NamedTuple):
    """A content and what it is said to be of: who lies about that claims another thing."""

    digest: Digest
    checkpoint: CheckpointName
    version: Version


def named(holding: Holding) -> NamedContent:
    """Return what somebody says that he has something of."""
    return NamedContent(holding.digest, holding.checkpoint, holding.version)


class VersionLayouts:
    """Knows the layouts of versions. Belongs to the event loop.

    Args:
        storage: Has the manifests of what is here, and their signatures.
        manifests: Fetches and checks others.
        scheduler: Knows who claims what.
        policy: Which signatures count.
        now: The moment in nanoseconds, on the monotonic clock.

    Attributes:
        learned_count: How often one was learned.
    """

    def __init__(
        self,
        storage: Storage,
        manifests: Manifests,
        scheduler: Scheduler,
        policy: SignaturePolicy,
        now: Callable[[], int],
    ) -> None:
        self._catalog = storage.catalog
        self._shelf = storage.shelf
        self._manifests = manifests
        self._scheduler = scheduler
        self._policy = policy
        self._now = now
        self.learned_count = 0
        self._pauses: Pauses[NamedContent] = Pauses()
        self._wanted: dict[NamedContent, None] = {}
        self._known: dict[NamedContent, ClassLayout] = {}
        self._is_wanted = asyncio.Event()

    def get(self, content: NamedContent) -> ClassLayout | None:
        """Return the layout of a version; ``None``: it is not known."""
        return self._known.get(content)

    def want(self, wanted: Iterable[NamedContent]) -> None:
        """Get the layouts of these versions as soon as that can be; forget all others."""
        self._wanted = dict.fromkeys(islice(wanted, _KNOWN_MAX))
        self._known = {key: each for key, each in self._known.items() if key in self._wanted}
        self._pauses.keep(self._wanted)
        if self._missing():
            self._is_wanted.set()

    async def run(self) -> None:
        """Get what is wanted, until cancelled."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            at_once = asyncio.Semaphore(_AT_ONCE_MAX)
            async with asyncio.TaskGroup() as tasks:
                for each in self._missing():
                    tasks.create_task(self._learn(each, at_once))

    def _missing(self) -> list[NamedContent]:
        now = self._now()
        return [
            each
            for each in self._wanted
            if each not in self._known and not self._pauses.is_paused(each, now=now)
        ]

    async def _learn(self, wanted: NamedContent, at_once: asyncio.Semaphore) -> None:
        try:
            async with at_once:
                found = await self._read(wanted)
        except (CkptdError, OSError):  # TimeoutError among them
            self._pauses.note_failure(wanted, now=self._now())
        else:
            self._known[wanted] = found
            self.learned_count += 1
            self._pauses.forget(wanted)

    async def _read(self, wanted: NamedContent) -> ClassLayout:
        digest, checkpoint, version = wanted
        if self._catalog.held(digest) is not None:
            space = await asyncio.to_thread(AddressSpace, await self._catalog.manifest(digest))
            signatures = await self._shelf.find(digest)
        else:
            found = await self._fetched(wanted)
            space, signatures = found.space, found.signatures
        manifest = space.manifest
        if (manifest.checkpoint, manifest.version) != (checkpoint, version):
            raise VerificationFailed(f"manifest of {checkpoint}@{version}", "is of another version")
        is_trusted = self._policy.is_trusted(signatures, checkpoint)
        return await asyncio.to_thread(ClassLayout.of, space, is_trusted=is_trusted)

    async def _fetched(self, wanted: NamedContent) -> VerifiedManifest:
        """Ask somebody who claims it; after a failure somebody else."""
        holders = [
            each
            for each in self._scheduler.holders(wanted.digest, now=self._now())
            if each.quarantined_until_ns is None
        ]
        if not holders:
            raise ConnectionError("nobody has it")
        holder = holders[self._pauses.failures(wanted) % len(holders)]
        async with asyncio.timeout(_ONE_S):
            return await self._manifests.from_peer(
                holder.source.path, wanted.checkpoint, wanted.digest
            )

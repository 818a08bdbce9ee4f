"""Which version of a job a recovery would be for, by manifests that came, not by claims alone."""

from __future__ import annotations

import asyncio
from typing import Final

from ckptd.core.events import JobRequest, RecoveryRequested
from ckptd.core.jobs.newest import NewestOfJob
from ckptd.daemon.recover.manifests import VerifiedManifest
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName, Digest, PathId, RecoveryId, Version
from ckptd.model.shards import WantedShards
from ckptd.store.published.catalog import Catalog

_AT_ONCE: Final = 16
"""Manifests that are fetched side by side."""
_MANIFEST_S: Final = 10.0
"""Who does not deliver a manifest within this time has not got it, for this question."""
_PROVEN_MAX: Final = 65_536
"""Claims whose manifest came are remembered: four versions of the largest job."""
_TRIES_MAX: Final = 8
"""So many versions that turn out not to be whole are passed over in one look."""
_ALL: Final = WantedShards()


class ProvenVersions:
    """Chooses versions of jobs as a recovery would, and begins nothing.

    What peers claim is not enough: of each shard the manifest is fetched once, decoded, and its
    signatures are checked where keys are required.

    Args:
        recovering: All recoveries.
        catalog: What this node has.
    """

    def __init__(self, recovering: Recovering, catalog: Catalog) -> None:
        self._recovering = recovering
        self._catalog = catalog
        self._proven: dict[Digest, None] = {}

    async def choose(
        self, job: CheckpointName, version: Version | None = None, wanted: WantedShards = _ALL
    ) -> NewestOfJob:
        """Return the version that a recovery would be for.

        Args:
            job: Of which job.
            version: The version that is named; ``None``: the newest that is whole.
            wanted: Which shards would be recovered.
        """
        refused: set[tuple[PathId, Digest]] = set()
        found = self._look(job, version, wanted, refused)
        for _ in range(_TRIES_MAX):
            lies = await self._unproven(found)
            if not lies:
                break
            refused |= lies
            found = self._look(job, version, wanted, refused)
        return found

    async def manifest(self, digest: Digest) -> VerifiedManifest | None:
        """Return the manifest of a shard from here or from a peer; ``None``: nobody delivers it."""
        manifests, held = self._recovering.manifests, self._catalog.held(digest)
        if held is not None:
            try:
                return await manifests.from_catalog(held.holding.checkpoint, digest)
            except (CkptdError, OSError):
                pass  # then peers are asked
        for source, claimed in self._recovering.scheduler.claims(digest):
            found = await self._from_peer(source, claimed.checkpoint, digest)
            if found is not None:
                return found
        return None

    def _look(
        self,
        job: CheckpointName,
        version: Version | None,
        wanted: WantedShards,
        refused: set[tuple[PathId, Digest]],
    ) -> NewestOfJob:
        recovering, own = self._recovering, self._recovering.own
        family = own.family(job)
        request = RecoveryRequested(
            RecoveryId("newest"),
            job,
            version,
            own=own.holdings(*family),
            not_below=self._catalog.newest_ever(job),
            had=frozenset().union(*map(self._catalog.had, family)),
            withdrawn=frozenset().union(*map(self._catalog.withdrawn, family)),
            job=JobRequest(wanted.numbers, wanted.count),
        )
        return recovering.scheduler.newest_of_job(
            request, refused=refused, now=recovering.runtime.now()
        )

    async def _unproven(self, found: NewestOfJob) -> set[tuple[PathId, Digest]]:
        """Fetch manifests that never came; return the claims of those who did not deliver."""
        lies: set[tuple[PathId, Digest]] = set()
        missing = [
            digest
            for digest in found.contents
            if digest not in self._proven and self._catalog.held(digest) is None
        ]
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def fetch(digest: Digest) -> None:
            async with at_once:
                for source, claimed in self._recovering.scheduler.claims(digest):
                    came = await self._from_peer(source, claimed.checkpoint, digest)
                    if came is not None and came.space.manifest.version == found.version:
                        self._note_proven(digest)
                        return
                    lies.add((source, digest))

        async with asyncio.TaskGroup() as fetching:
            for digest in missing:
                fetching.create_task(fetch(digest))
        return {each for each in lies if each[1] not in self._proven}

    async def _from_peer(
        self, source: PathId, name: CheckpointName, digest: Digest
    ) -> VerifiedManifest | None:
        """Return a manifest; ``None`` if it does not come, or is not of that checkpoint."""
        try:
            async with asyncio.timeout(_MANIFEST_S):
                found = await self._recovering.manifests.from_peer(source, name, digest)
        except (CkptdError, OSError, TimeoutError):
            return None
        return found if found.space.manifest.checkpoint == name else None

    def _note_proven(self, digest: Digest) -> None:
        self._proven[digest] = None
        if len(self._proven) > _PROVEN_MAX:
            del self._proven[next(iter(self._proven))]

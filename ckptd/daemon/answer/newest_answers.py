"""Says which version of a job is the newest that is whole, once nobody goes another way."""

from __future__ import annotations

import asyncio
from typing import Final

from ckptd.control.messages.jobs import DifferingRow, NewestRequest, NewestView
from ckptd.core.events import JobRequest, RecoveryRequested
from ckptd.core.jobs.newest import NewestOfJob
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    PathId,
    RecoveryId,
    Version,
    parse_checkpoint_name,
)
from ckptd.model.words import PeerState
from ckptd.store.published.catalog import Catalog

_LOOK_S: Final = 0.25
"""As often as peers say that they have more."""
_AT_ONCE: Final = 16
"""Manifests that are fetched side by side."""
_MANIFEST_S: Final = 10.0
"""Who does not deliver a manifest within this time has not got it, for this question."""
_PROVEN_MAX: Final = 65_536
"""Claims whose manifest came are remembered: four versions of the largest job."""
_TRIES_MAX: Final = 8
"""So many versions that turn out not to be whole are passed over in one look."""


class NewestAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about the newest version of a job.

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

    async def newest(self, request: NewestRequest) -> NewestView:
        """Return the newest version that is whole; wait until nobody goes another way."""
        job = parse_checkpoint_name(request.job)
        view = await self._look(job)
        try:
            async with asyncio.timeout(request.for_s):
                while not view.is_agreed:
                    await asyncio.sleep(_LOOK_S)
                    view = await self._look(job)
        except TimeoutError:
            pass
        return view

    async def _look(self, job: CheckpointName) -> NewestView:
        refused: set[tuple[PathId, Digest]] = set()
        found = self._choose(job, refused)
        for _ in range(_TRIES_MAX):
            lies = await self._unproven(found)
            if not lies:
                break
            refused |= lies
            found = self._choose(job, refused)
        differing = tuple(
            DifferingRow(node=node, version=version)
            for node, version in sorted(found.others.items())
        )
        is_settled = self._recovering.scheduler.is_settled
        return NewestView(
            job=job,
            version=found.version,
            shards=len(found.contents),
            is_agreed=found.version is not None and is_settled and not differing,
            why=found.why,
            differing=differing,
            silent=tuple(sorted(self._silent())),
        )

    def _choose(self, job: CheckpointName, refused: set[tuple[PathId, Digest]]) -> NewestOfJob:
        recovering, own = self._recovering, self._recovering.own
        request = RecoveryRequested(
            RecoveryId("newest"),
            job,
            own=own.holdings(*own.family(job)),
            not_below=self._catalog.newest_ever(job),
            job=JobRequest(),
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
        version = found.version

        async def fetch(digest: Digest) -> None:
            async with at_once:
                for source, claimed in self._recovering.scheduler.claims(digest):
                    if version is not None and await self._is_right(
                        source, claimed.checkpoint, digest, version
                    ):
                        self._note_proven(digest)
                        return
                    lies.add((source, digest))

        async with asyncio.TaskGroup() as fetching:
            for digest in missing:
                fetching.create_task(fetch(digest))
        return {each for each in lies if each[1] not in self._proven}

    async def _is_right(
        self, source: PathId, name: CheckpointName, digest: Digest, version: Version
    ) -> bool:
        try:
            async with asyncio.timeout(_MANIFEST_S):
                found = await self._recovering.manifests.from_peer(source, name, digest)
        except (CkptdError, OSError, TimeoutError):
            return False
        manifest = found.space.manifest
        return (manifest.checkpoint, manifest.version) == (name, version)

    def _note_proven(self, digest: Digest) -> None:
        self._proven[digest] = None
        if len(self._proven) > _PROVEN_MAX:
            del self._proven[next(iter(self._proven))]

    def _silent(self) -> set[str]:
        return {
            peer.name
            for peer in self._recovering.peering.peers()
            if peer.state in {PeerState.UNREACHABLE, PeerState.UNKNOWN}
        }

"""Finds the manifest of a version for somebody who asks about it: here, or with a holder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import Final, TypeAlias

from ckptd.core.report.views import PeerSnapshot
from ckptd.daemon.recover.manifests import Manifests, VerifiedManifest
from ckptd.errors import CkptdError, VerificationFailed
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.space import AddressSpace
from ckptd.store.published.catalog import Catalog

_TIMEOUT_S: Final = 5.0
"""How long a person waits for a manifest."""

_HOLDERS_ASKED_MAX: Final = 3
"""More would hardly answer within that time if these do not."""

Expected: TypeAlias = tuple[CheckpointName, Version, Digest]
"""What a manifest is to be of, and its digest."""


class FoundManifests:
    """Gets manifests that are looked at and not kept.

    Args:
        manifests: Fetches and checks them.
        catalog: Has those of what is here.
    """

    def __init__(self, manifests: Manifests, catalog: Catalog) -> None:
        self._manifests = manifests
        self._catalog = catalog

    async def find(
        self, expected: Expected, holders: Sequence[PeerSnapshot]
    ) -> tuple[AddressSpace | None, str]:
        """Get the manifest from here or from a holder.

        Returns:
            What it describes, or ``None`` and why it could not be had.
        """
        problem = "no holder answers"
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                for manifest in self._manifests_of(expected, holders):
                    try:
                        return await _space_of(manifest, expected), ""
                    except (CkptdError, OSError) as error:
                        problem = str(error) or type(error).__name__
        except TimeoutError:
            problem = f"it did not come within {_TIMEOUT_S:.0f}s"
        return None, problem

    def _manifests_of(
        self, expected: Expected, holders: Sequence[PeerSnapshot]
    ) -> Iterator[Awaitable[VerifiedManifest]]:
        """Yield ways to get the manifest, the best first; each must be awaited."""
        checkpoint, _, digest = expected
        if self._catalog.held(digest) is not None:
            yield self._manifests.from_catalog(checkpoint, digest)
        best = sorted(holders, key=lambda holder: (holder.failures, -holder.source.trust))
        for holder in best[:_HOLDERS_ASKED_MAX]:
            yield self._manifests.from_peer(holder.source.path, checkpoint, digest)


async def _space_of(found: Awaitable[VerifiedManifest], expected: Expected) -> AddressSpace:
    """Return what a manifest describes.

    Raises:
        VerificationFailed: It is not of the checkpoint and version it is offered as.
    """
    checkpoint, version, _ = expected
    space = (await found).space
    manifest = space.manifest
    if (manifest.checkpoint, manifest.version) != (checkpoint, version):
        raise VerificationFailed(
            f"manifest of {checkpoint}@{version}", f"is of {manifest.checkpoint}@{manifest.version}"
        )
    return space

"""Gets manifests with their signatures, and lets none in that is not what it should be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import NotSigned, ProtocolViolation, VerificationFailed
from ckptd.model.addresses import Address
from ckptd.model.encoded.decoding import decode_manifest, read_manifest
from ckptd.model.ids import CheckpointName, Digest, PathId, RecoveryId
from ckptd.model.signatures import SignableManifest, Signature
from ckptd.model.space import AddressSpace
from ckptd.net.inquiry import Inquirer
from ckptd.net.manifest_room import ManifestRoom, RoomShare
from ckptd.store.files.hashing import hexdigest_of


@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest that has the digest and the signatures that were asked for.

    Attributes:
        encoded: Its bytes.
        signatures: Those of its signatures that were verified here.
        space: What it describes.
        is_journaled: It came from the recovery's own journal.
    """

    encoded: memoryview
    signatures: tuple[Signature, ...]
    space: AddressSpace
    is_journaled: bool = False


class Manifests:
    """Where manifests come from.

    Each way takes the checkpoint that a manifest is wanted for and the digest that it must have,
    and raises:

    * ``VerificationFailed``: the source lied; as ``NotSigned`` if it says that it did.
    * ``InvalidManifest``: it is the manifest, and cannot be used.
    * any other ``CkptdError``, ``OSError``: it did not come.
    """

    def __init__(
        self,
        policy: SignaturePolicy,
        peering: Peering,
        inquirer: Inquirer,
        storage: Storage,
    ) -> None:
        self._policy = policy
        self._peering = peering
        self._inquirer = inquirer
        self._catalog = storage.catalog
        self._journal = storage.journal
        self._shelf = storage.shelf
        self._room = ManifestRoom()

    async def from_peer(
        self, source: PathId, checkpoint: CheckpointName, digest: Digest
    ) -> VerifiedManifest:
        """Ask a peer.

        Raises:
            CkptdError: See above; ``NotFound`` if it says that it does not have it.
            OSError: There was no answer.
            Shortage: There is no memory for it beside others that come.
        """
        end = self._peering.end_of(source)
        if end is None:
            raise ConnectionError(f"{source} does not answer")
        with self._room.share() as share:  # until it is checked
            return await self._from_address(end.address, checkpoint, digest, share)

    async def _from_address(
        self, address: Address, checkpoint: CheckpointName, digest: Digest, share: RoomShare
    ) -> VerifiedManifest:
        manifest = await self._inquirer.manifest(address, digest, share)
        signatures: tuple[Signature, ...] = ()
        if self._policy.has_trusted_keys:
            try:
                signatures = await self._inquirer.signatures(address, digest)
            except ProtocolViolation as error:
                subject = f"manifest for {checkpoint}"
                problem = f"came with signatures that are none: {error}"
                raise NotSigned(subject, problem, is_lie=True) from error
        return await self._verified(manifest, signatures, checkpoint, digest)

    async def from_here(
        self, recovery: RecoveryId, checkpoint: CheckpointName, digest: Digest
    ) -> VerifiedManifest:
        """Take the one that a restart left in the journal, or that of a version in the catalog.

        Raises:
            CkptdError: See above; ``NotFound`` if it is in neither.
        """
        encoded = await self._journal.manifest(recovery)
        if encoded is None:
            return await self.from_catalog(checkpoint, digest)
        signatures = await self._shelf.find(digest)
        manifest = await asyncio.to_thread(SignableManifest.of, encoded)
        found = await self._verified(manifest, signatures, checkpoint, digest)
        return replace(found, is_journaled=True)

    async def of_member(self, recovery: RecoveryId, digest: Digest) -> VerifiedManifest:
        """Take that of a shard, from what a recovery had joined or from the catalog.

        Raises:
            CkptdError: See above; ``NotFound`` if it is in neither.
        """
        encoded: bytes | memoryview | None = await self._journal.member(recovery, digest)
        if encoded is None:
            encoded = await self._catalog.manifest_bytes(digest)
        manifest = await asyncio.to_thread(SignableManifest.of, encoded)
        # Known to be right: it was verified when it was written down, with the keys of that day.
        name = CheckpointName((await asyncio.to_thread(read_manifest, encoded)).checkpoint)
        return await self._verified(manifest, await self._shelf.find(digest), name, digest)

    async def from_catalog(self, checkpoint: CheckpointName, digest: Digest) -> VerifiedManifest:
        """Take that of a version that is here."""
        encoded = await self._catalog.manifest_bytes(digest)
        manifest = await asyncio.to_thread(SignableManifest.of, encoded)
        return await self._verified(manifest, await self._shelf.find(digest), checkpoint, digest)

    async def _verified(
        self,
        manifest: SignableManifest,
        signatures: tuple[Signature, ...],
        checkpoint: CheckpointName,
        digest: Digest,
    ) -> VerifiedManifest:
        def work() -> VerifiedManifest:
            encoded = manifest.manifest
            if hexdigest_of(encoded) != digest:
                raise VerificationFailed(
                    f"manifest for {checkpoint}", "does not have the digest that its holder says"
                )
            # Before a byte of it is parsed.
            verified = self._policy.verify(manifest, signatures, checkpoint)
            return VerifiedManifest(encoded, verified, AddressSpace(decode_manifest(encoded)))

        return await asyncio.to_thread(work)

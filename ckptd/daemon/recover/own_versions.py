"""What this node has of what is to be recovered, and where a version that comes here will stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.joined import Joined
from ckptd.daemon.recover.reuse import Reuse
from ckptd.errors import CkptdError
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.shards import is_shard_of, job_of
from ckptd.model.space import AddressSpace
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.layout import usual_target
from ckptd.store.files.roots import Root
from ckptd.store.published.base_blocks import BaseBlocks
from ckptd.store.published.places import HeldVersion, Place
from ckptd.store.published.serving import ServedVersion
from ckptd.store.records.journal import JournaledRecovery
from ckptd.store.trees.equal_blocks import SimilarPlace
from ckptd.store.trees.local_blocks import LocalBlock
from ckptd.store.trees.standing_files import KnownPlace, OnDisk
from ckptd.wire.coding_fields import BASES_MAX

_log = get_logger()

SIMILAR_MAX: Final = 8
"""From so many versions blocks are taken: a job keeps a few, and each further one has less."""

SIMILAR_BYTES_MAX: Final = 64 * MIB
"""So long all their manifests may be together: they stay in memory for as long as the recovery."""

BASES_OPEN_MAX: Final = 64
"""For all shards of a job together."""

BASES_BYTES_MAX: Final = 64 * MIB
"""So long the manifests of all those may be together: they stay in memory likewise."""


class _LoadedPlace(NamedTuple):
    known: KnownPlace
    hashed: HashedDirectory


class OwnVersions:
    """Looks into the catalog for recoveries.

    Args:
        storage: Where the catalog and the roots are.
        reuse: Says of which checkpoints blocks may be taken.
        has_bases: Blocks may come as differences from what stands here.
    """

    def __init__(self, storage: Storage, reuse: Reuse, *, has_bases: bool = True) -> None:
        self._has_bases = has_bases
        self._reuse = reuse
        self._catalog = storage.catalog
        self._roots = storage.roots

    def holdings(self, *checkpoints: CheckpointName) -> tuple[Holding, ...]:
        """Return what stands here of some checkpoints as far as is known, on offer or not."""
        return tuple(held for name in checkpoints for held in self._catalog.standing(name))

    def bases_of(
        self, checkpoint: CheckpointName, version: Version, digest: Digest | None
    ) -> tuple[Digest, ...]:
        """Return versions on offer here of which blocks of another may be differences.

        Args:
            checkpoint: Its checkpoint, or its job.
            version: Its number.
            digest: Its identity; ``None``: it is of a job.
        """
        if not self._has_bases:
            return ()
        if digest is not None:
            return tuple(held.digest for held in self._others_on_offer(checkpoint, digest))
        return tuple(
            held.digest
            for held in self._catalog.holdings()
            if is_shard_of(held.checkpoint, checkpoint) and held.version != version
        )

    def _others_on_offer(self, checkpoint: CheckpointName, digest: Digest) -> list[Holding]:
        """Return the versions of a checkpoint on offer here but one."""
        return [
            held
            for held in self._catalog.holdings()
            if held.checkpoint == checkpoint and held.digest != digest
        ]

    def family(self, job: CheckpointName) -> tuple[CheckpointName, ...]:
        """Return the shards of a job of which something stands here."""
        names = {held.holding.checkpoint for held in self._catalog.versions()}
        return tuple(sorted(name for name in names if is_shard_of(name, job)))

    def target_of(
        self, checkpoint: CheckpointName, version: Version, digest: Digest | None = None
    ) -> tuple[Root, str]:
        """Return where a version is recovered to if nobody says otherwise.

        Args:
            checkpoint: Of which checkpoint.
            version: Which version.
            digest: Its identity; ``None``: not known yet.

        Returns:
            Where it was published and is whole, unless it stands at the usual place too; else the
            usual place: what somebody recovered to a directory he named is his copy.
        """
        root, target = self._roots.default(), usual_target(checkpoint, version)
        found = self._catalog.find(checkpoint, version)
        if digest is not None:
            found = tuple(held for held in found if held.holding.digest == digest)
        if len(found) == 1 and found[0].at(root.name, target) is None:
            for place in self._homes(found[0]):
                return self._roots[place.root], place.directory
        return root, target

    def _homes(self, held: HeldVersion) -> Iterator[Place]:
        for place in held.places:
            if place.is_published and place.is_whole and place.root in self._roots:
                yield place

    def standing_at(self, digest: Digest, root: Root, target: str) -> BlockSet | None:
        """Return what is recorded as standing at a target of a version; ``None``: it is no place.

        Args:
            digest: Which version.
            root: Where the target is …
            target: … and the directory there.
        """
        held = self._catalog.held(digest)
        place = None if held is None else held.at(root.name, target)
        return None if place is None else place.blocks

    async def on_disk(
        self,
        digest: Digest,
        root: Root,
        target: str,
        record: JournaledRecovery,
        joined: Joined | None = None,
    ) -> OnDisk:
        """Return what this node has of a version, for a recovery of it.

        Args:
            digest: Which version.
            root: Where it is recovered to …
            target: … and the directory there.
            record: The recovery. One that repairs hashes all that is there if nothing is known to
                be wrong any more: a restart forgets rot, which the fingerprints do not show.
            joined: Of a job: what is joined. What stands elsewhere of it is similar, see there.
        """
        if joined is not None:
            return await self._joined_on_disk(joined, root, target, record)
        held = self._catalog.held(digest)
        at_target: KnownPlace | None = None
        elsewhere: list[KnownPlace] = []
        for place in held.places if held is not None else ():
            known = await self._known_for(place, record)
            if known is not None and (place.root, place.directory) == (root.name, target):
                at_target = known
            elif known is not None:
                elsewhere.append(known)
        return OnDisk(at_target, tuple(elsewhere), record.is_overwriting)

    async def _joined_on_disk(
        self, joined: Joined, root: Root, target: str, record: JournaledRecovery
    ) -> OnDisk:
        """Return what stands at the target of a joined version, from what is known of its shards.

        All or nothing: a directory that has only some of the shards is not that version yet.
        """
        found: dict[Digest, KnownPlace] = {}
        for digest in joined.members:
            held = self._catalog.held(digest)
            place = None if held is None else held.at(root.name, target)
            known = None if place is None else await self._known_for(place, record)
            if known is None:
                return OnDisk(is_overwriting=record.is_overwriting)
            found[digest] = known
        files = joined.files((digest, known.files) for digest, known in found.items())
        changed = [joined.units(digest, known.changed) for digest, known in found.items()]
        at_target = KnownPlace(root, target, files, frozenset().union(*changed))
        return OnDisk(at_target, is_overwriting=record.is_overwriting)

    async def _known_for(self, place: Place, record: JournaledRecovery) -> KnownPlace | None:
        """Return what is recorded of a place, as a recovery takes it."""
        known = await self._known(place)
        is_forgotten = record.is_repair and not (place.changed or place.wrong_names)
        if known is not None and is_forgotten:
            known = replace(known, changed=frozenset(range(len(known.files))))
        return known

    async def bases(
        self, digest: Digest, checkpoint: CheckpointName, version: int, joined: Joined | None
    ) -> dict[Digest, tuple[BaseBlocks, ...]]:
        """Return versions that stand here of which blocks of others may be differences.

        Args:
            digest: The version that comes.
            checkpoint: Its checkpoint.
            version: Its number: the nearest ones come first.
            joined: Of a job: its shards come, each with versions of its own.
        """
        if not self._has_bases:
            return {}
        wanted = {digest: checkpoint}
        if joined is not None:
            wanted = {
                member: CheckpointName(manifest.space.manifest.checkpoint)
                for member, manifest in joined.members.items()
            }
        found: dict[Digest, tuple[BaseBlocks, ...]] = {}
        left = BASES_OPEN_MAX
        left_bytes = BASES_BYTES_MAX
        for member, name in wanted.items():
            opened = await self._open_bases(
                member, name, version, count_max=min(BASES_MAX, left), bytes_max=left_bytes
            )
            found[member] = tuple(map(BaseBlocks, opened))
            left -= len(opened)
            left_bytes -= sum(each.manifest_bytes for each in opened)
        return found

    async def _open_bases(
        self,
        digest: Digest,
        checkpoint: CheckpointName,
        version: int,
        *,
        count_max: int,
        bytes_max: int,
    ) -> list[ServedVersion]:
        near = self._others_on_offer(checkpoint, digest)
        near.sort(key=lambda holding: abs(holding.version - version))
        opened: list[ServedVersion] = []
        for holding in near[:count_max]:
            try:
                served = await self._catalog.open_version(holding.digest)
            except CkptdError:
                continue  # it is no base then
            bytes_max -= served.manifest_bytes
            if bytes_max < 0:
                break
            opened.append(served)
        return opened

    async def similar(
        self,
        digest: Digest,
        checkpoint: CheckpointName,
        version: int,
        root: Root,
        joined: Joined | None = None,
    ) -> tuple[SimilarPlace, ...]:
        """Return where versions stand from which one may take equal blocks, the nearest first.

        Args:
            digest: The version that is wanted; its own places are not among them.
            checkpoint: Of which checkpoint.
            version: Which version of it.
            root: Where it is recovered to.
            joined: Of a job: what is joined. Its shards stand nearest, other shards of it are as
                other versions of a checkpoint.
        """
        members = joined.members if joined is not None else {}

        def distance(held: HeldVersion) -> tuple[bool, bool, int]:
            found = held.holding
            is_other = job_of(found.checkpoint) != job_of(checkpoint)
            return found.digest not in members, is_other, abs(found.version - version)

        found: list[SimilarPlace] = []
        left_bytes = SIMILAR_BYTES_MAX
        for held in sorted(self._catalog.versions(), key=distance):
            place = await self._usable_place(held, checkpoint, root)
            if held.holding.digest == digest or place is None:
                continue
            loaded = await self._load(place)
            if loaded is None:
                continue
            left_bytes -= len(loaded.hashed.encoded)
            if left_bytes < 0:
                break
            space = await asyncio.to_thread(AddressSpace, loaded.hashed.manifest)
            found.append(SimilarPlace(loaded.known, space))
            if len(found) == SIMILAR_MAX + len(members):
                break
        return tuple(found)

    async def _usable_place(
        self, held: HeldVersion, checkpoint: CheckpointName, root: Root
    ) -> Place | None:
        """Return the first place of a version from which blocks may be taken."""
        for place in held.places:
            if place.root in self._roots and await self._reuse.permits(
                checkpoint, root, held.holding.checkpoint, self._roots[place.root]
            ):
                return place
        return None

    def note_wrong(self, block: LocalBlock) -> None:
        """Have a unit hashed again in which a block was not what was recorded."""
        if block.place:
            why = f"a block of {block.path} was wrong when a recovery took it"
            self._catalog.mark_suspect(block.place, (block.of_unit,), why)

    async def _known(self, place: Place) -> KnownPlace | None:
        loaded = await self._load(place)
        return None if loaded is None else loaded.known

    async def _load(self, place: Place) -> _LoadedPlace | None:
        """Return what is recorded of a place; ``None`` if that cannot be had."""
        try:
            hashed = await self._catalog.hashed(place.number)
            root = self._roots[place.root]
        except CkptdError as error:
            _log.warning("version.passed_over", directory=place.directory, why=str(error))
            return None
        known = KnownPlace(root, place.directory, hashed.files, place.changed, place.number)
        return _LoadedPlace(known, hashed)

"""What a shard that is published must not contradict: names, and other shards of its version."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Final

from ckptd.errors import CkptdError, Conflict, InvalidManifest
from ckptd.limits import MANIFEST_BYTES_MAX
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.shards import Shard, rival_names, split_shard
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion

_NAMED_MAX: Final = 3
"""Rival names that an error names."""


class PublishedShards:
    """Checks what is published against what this node holds.

    Peers are not asked: what one of them claims keeps nobody from publishing, nor does a copy that
    was brought here for others. Shards that differ and lie on several nodes are found when somebody
    brings them together.

    Args:
        catalog: What this node holds.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def check_name(
        self, name: CheckpointName, but: Collection[CheckpointName] = frozenset()
    ) -> None:
        """Check that a name does not make it unclear what a job is.

        Args:
            name: The name of a checkpoint, or of a shard.
            but: Names that will be gone.

        Raises:
            Conflict: It does, with a name that stands here already.
        """
        known = {each.holding.checkpoint for each in self._catalog.versions() if not each.is_copy}
        rivals = rival_names(name, known.difference(but))
        if not rivals:
            return
        split = split_shard(name)
        named = ", ".join(rivals[:_NAMED_MAX]) + (" …" if len(rivals) > _NAMED_MAX else "")
        if split is None:
            raise Conflict(
                f"checkpoint {name}",
                f"would stand beside the shards of the job {named}",
                "Take another name, or publish it as a shard: --shard RANK/COUNT.",
            )
        raise Conflict(
            f"shard {split[1]} of {split[0]}",
            f"would stand beside what is no shard of it: {named}",
            f"Take another name for the job, or remove that: 'ckptctl forget {rivals[0]}'.",
        )

    async def check_alike(self, hashed: HashedDirectory) -> None:
        """Check that files which a shard has in common with others here are the same.

        Raises:
            Conflict: The same path has other content in another shard of the version.
        """
        manifest = hashed.manifest
        split = split_shard(CheckpointName(manifest.checkpoint))
        if split is not None:
            job, shard = split
            own = {shard: Member(hashed.digest, manifest)}
            left_bytes = MANIFEST_BYTES_MAX - len(hashed.encoded)
            await self.check_together(job, Version(manifest.version), own, left_bytes)

    async def check_together(
        self,
        job: CheckpointName,
        version: Version,
        shards: Mapping[Shard, Member],
        left_bytes: int = MANIFEST_BYTES_MAX,
    ) -> None:
        """Check that files which shards have in common, also with others here, are the same.

        Args:
            job: The job whose shards they are.
            version: Of which version.
            shards: What they consist of; all of one layout, one or more.
            left_bytes: So long manifests of others are looked at.

        Raises:
            Conflict: The same path has other content in another shard.
        """
        members = list(shards.values())
        for held in self._others(job, version, shards.keys()):
            found = await self._manifest(held)
            if found is None:
                continue
            left_bytes -= len(found.encoded)
            if left_bytes < 0:  # whoever joins them will find out
                break
            members.append(Member(found.digest, found.manifest))
        if len(members) > 1:
            with suppress(InvalidManifest):  # more than one recovery can join
                await asyncio.to_thread(Joint, job, version, members)

    def _others(
        self, job: CheckpointName, version: Version, shards: Collection[Shard]
    ) -> Iterable[HeldVersion]:
        """Yield the latest of each other shard of a version in a layout that stands here."""
        (count,) = {shard.count for shard in shards}
        seen = set(shards)
        for held in reversed(self._catalog.versions()):
            split = split_shard(held.holding.checkpoint)
            if split is None or held.holding.version != version or not held.holding.blocks:
                continue
            if held.is_copy:  # it came without anybody who wants to join them
                continue
            other, shard = split
            if other == job and shard.count == count and shard not in seen:
                seen.add(shard)
                yield held

    async def _manifest(self, held: HeldVersion) -> HashedDirectory | None:
        try:
            return await self._catalog.hashed(held.main.number)
        except CkptdError:
            return None  # it was forgotten meanwhile, or is damaged

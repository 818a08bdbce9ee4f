"""What a shard that is published must not contradict: names, and other shards of its version."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Final

from ckptd.errors import CkptdError, Conflict, InvalidManifest
from ckptd.limits import MANIFEST_BYTES_MAX
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.shards import rival_names, split_shard
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion

_NAMED_MAX: Final = 3
"""Rival names that an error names."""


class PublishedShards:
    """Checks what is published against what this node holds.

    Peers are not asked: what one of them claims keeps nobody from publishing. Shards that differ
    and lie on several nodes are found when somebody brings them together.

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
        known = {each.holding.checkpoint for each in self._catalog.versions()}
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
        if split is None:
            return
        job, version = split[0], Version(manifest.version)
        members = [Member(hashed.digest, manifest)]
        left_bytes = MANIFEST_BYTES_MAX - len(hashed.encoded)
        for held in self._others(job, hashed):
            found = await self._manifest(held)
            if found is None:
                continue
            left_bytes -= len(found.encoded)
            if left_bytes < 0:  # whoever joins them will find out
                break
            members.append(Member(found.digest, found.manifest))
        if len(members) > 1:
            try:
                await asyncio.to_thread(Joint, job, version, members)
            except InvalidManifest:
                return  # more than one recovery can join

    def _others(self, job: CheckpointName, hashed: HashedDirectory) -> Iterable[HeldVersion]:
        """Yield the latest of each other shard of the version in this layout that stands here."""
        own = split_shard(CheckpointName(hashed.manifest.checkpoint))
        assert own is not None, "asked for a shard only"
        seen: set[int] = set()
        for held in reversed(self._catalog.versions()):
            split = split_shard(held.holding.checkpoint)
            if split is None or held.holding.version != hashed.manifest.version:
                continue
            other, shard = split
            is_another = other == job and shard.count == own[1].count and shard != own[1]
            if is_another and held.holding.blocks and shard.index not in seen:
                seen.add(shard.index)
                yield held

    async def _manifest(self, held: HeldVersion) -> HashedDirectory | None:
        try:
            return await self._catalog.hashed(held.main.number)
        except CkptdError:
            return None  # it was forgotten meanwhile, or is damaged

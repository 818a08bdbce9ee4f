"""What a recovery of a job would bring: its shards as one version, and who has which."""

from __future__ import annotations

import asyncio
from typing import Final

from ckptd.control.messages.plans import HereRow, Plan
from ckptd.core.jobs.newest import DisputedShard, NewestOfJob
from ckptd.daemon.answer.job_shards import JobShards
from ckptd.daemon.answer.plan_figures import PlannedContent
from ckptd.daemon.answer.plan_rivals import rival_row
from ckptd.daemon.answer.planned_version import (
    PlannedVersion,
    look_at_target,
    passed_over_rows,
)
from ckptd.daemon.answer.proven_versions import ProvenVersions
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.joined import Joined, join
from ckptd.daemon.recover.manifests import VerifiedManifest
from ckptd.daemon.recover.recovering import Recovering
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.shards import WantedShards, parse_shards
from ckptd.model.unit_choice import Choice
from ckptd.store.files.roots import Root
from ckptd.store.trees.equal_blocks import SimilarPlace

_AT_ONCE: Final = 16
"""Manifests that are fetched side by side."""
_CHOICE_S: Final = 30.0
"""How long a person waits for the manifests of all shards; then none is known to be whole."""


class JobPlans:
    """Finds what a recovery of a job would bring; changes nothing.

    Args:
        recovering: All recoveries.
        storage: What is here.
        proven: Chooses versions.
    """

    def __init__(self, recovering: Recovering, storage: Storage, proven: ProvenVersions) -> None:
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._own = recovering.own
        self._catalog = storage.catalog
        self._proven = proven
        self._shards = JobShards(storage.catalog, recovering)

    async def planned(
        self, job: CheckpointName, version: Version | None, typed: str, units: Choice | None
    ) -> PlannedVersion | Plan:
        """Return what a recovery would bring; a plan without it if no version can be chosen.

        Args:
            job: Of which job.
            version: The version that is named; ``None``: the newest that is whole.
            typed: Which shards, as somebody typed it; empty: nothing was said.
            units: Which units; ``None``: all.

        Raises:
            UsageError: Shards cannot be read, or this node does not know which are meant.
            Conflict: A path is not the same in two of them.
            NotFound: There are no such units.
        """
        wanted = parse_shards(await self._shards.wanted(job, typed) or "all")
        is_settled = self._scheduler.is_settled  # of what is looked at now, not of who comes later
        try:
            async with asyncio.timeout(_CHOICE_S):
                found = await self._proven.choose(job, version, wanted)
                members = await self._members(found, wanted)
        except TimeoutError:
            why = f"manifests did not come within {_CHOICE_S:.0f}s"
            return _nothing(job, None, why, is_settled=is_settled)
        if found.version is None:
            why = found.why or f"nobody has shards of {job}"
            return _nothing(job, found, why, is_settled=is_settled)
        lacking = [index for index, manifest in members.items() if manifest is None]
        if lacking:
            why = f"the manifest of shard {lacking[0]} of {found.version} cannot be had now"
            return _nothing(job, found, why, is_settled=is_settled)
        joined = await join(
            job,
            found.version,
            {found.contents[index]: each for index, each in members.items() if each is not None},
        )
        return await self._describe(found, joined, str(wanted), units, is_settled=is_settled)

    async def _members(
        self, found: NewestOfJob, wanted: WantedShards
    ) -> dict[int, VerifiedManifest | None]:
        """Return the manifests of the shards that are wanted, in ascending order."""
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def fetch(digest: Digest) -> VerifiedManifest | None:
            async with at_once:
                return await self._proven.manifest(digest)

        async with asyncio.TaskGroup() as fetching:
            coming = {
                index: fetching.create_task(fetch(digest))
                for index, digest in enumerate(found.contents)
                if wanted.numbers is None or index in wanted.numbers
            }
        return {index: each.result() for index, each in coming.items()}

    async def _describe(
        self,
        found: NewestOfJob,
        joined: Joined,
        shards: str,
        units: Choice | None,
        *,
        is_settled: bool,
    ) -> PlannedVersion:
        joint, space = joined.joint, joined.joint.space
        job, version = CheckpointName(joint.manifest.checkpoint), Version(joint.manifest.version)
        root, target = self._own.target_of(job, version)
        there = await asyncio.to_thread(look_at_target, root, target)
        unchosen = await asyncio.to_thread(units.blocks_outside, space) if units else BlockSet()
        stands = await self._standing(joined, root, target) if there.found else None
        is_whole = stands is not None and stands | unchosen == BlockSet.full(space.block_count)
        similar: tuple[SimilarPlace, ...] = ()
        if not is_whole:
            similar = await self._own.similar(joined.digest, job, version, root, joined)
        sources = self._scheduler.joined_sources(joined.digest, joint, now=self._now())
        mine = None if stands is None else _holding(joined, stands)
        content = PlannedContent(
            facts=_holding(joined, BlockSet.full(space.block_count)),
            space=space,
            mine=mine,
            place=None,
            held=mine,
            offered=[source.holding for source in sources],
            supplies=[source.supply for source in sources if source.supply is not None],
            similar=similar,
            unchosen=unchosen,
            stands=stands or BlockSet(),
            settle_ns=0 if is_whole else self._scheduler.job_settle_ns,
        )
        here: HereRow | None = None
        if mine is not None:
            where, is_complete = root.absolute(target), mine.is_complete
            here = HereRow(directory=where, bytes=0, is_complete=is_complete, is_stale=False)
        return PlannedVersion(
            checkpoint=job,
            version=version,
            digest=None,
            why=found.why + (_dispute(found.disputed) if found.disputed else ""),
            is_settled=is_settled,
            passed_over=passed_over_rows(found.passed_over),
            rivals=tuple(map(rival_row, found.disputed.contents)) if found.disputed else (),
            problem="",
            content=content,
            sources=tuple((source.peer, source.holding) for source in sources),
            here=here,
            root=root,
            target=target,
            there=there,
            is_there=mine is not None,
            is_whole=is_whole,
            shards=shards,
        )

    async def _standing(self, joined: Joined, root: Root, target: str) -> BlockSet | None:
        """Return what of the version stands at its target; ``None``: not all shards do."""
        blocks = BlockSet()
        for digest, space in joined.spaces.items():
            held = self._catalog.held(digest)
            place = None if held is None else held.at(root.name, target)
            if place is None:
                return None
            standing = await asyncio.to_thread(place.standing, space)
            blocks |= joined.joint.from_member(digest, standing)
        return blocks


def _nothing(job: CheckpointName, found: NewestOfJob | None, why: str, *, is_settled: bool) -> Plan:
    return Plan(
        checkpoint=job,
        version=None,
        why=why,
        passed_over=passed_over_rows(found.passed_over if found else ()),
        is_settled=is_settled,
    )


def _holding(joined: Joined, blocks: BlockSet) -> Holding:
    space = joined.joint.space
    return Holding(
        CheckpointName(joined.joint.manifest.checkpoint),
        Version(joined.joint.manifest.version),
        joined.digest,
        space.size_bytes,
        space.block_count,
        blocks,
        space.optional_blocks(),
    )


def _dispute(disputed: DisputedShard) -> str:
    count = len(disputed.contents)
    return f"; shard {disputed.shard} has {count} contents: a recovery asks which one"

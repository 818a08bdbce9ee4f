"""Says what a recovery would do, before anything moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from ckptd.control.messages.plans import HereRow, PassedOverRow, Plan, PlanRequest
from ckptd.control.messages.rivals import RivalRow
from ckptd.core.report.choice import ExplainedChoice
from ckptd.core.report.rivals import Rival
from ckptd.daemon.answer.found_manifests import FoundManifests
from ckptd.daemon.answer.job_plans import JobPlans
from ckptd.daemon.answer.plan_figures import PlannedContent, figures_of
from ckptd.daemon.answer.plan_rivals import plan_contents
from ckptd.daemon.answer.planned_version import (
    PlannedVersion,
    ProvenAt,
    holding_of,
    look_at_target,
    passed_over_rows,
    plan_of,
)
from ckptd.daemon.answer.proven_versions import ProvenVersions
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Version,
    parse_checkpoint_name,
    parse_version,
)
from ckptd.model.shards import is_shard_of
from ckptd.model.space import AddressSpace
from ckptd.model.unit_choice import Choice
from ckptd.store.files.roots import Root
from ckptd.store.published.places import HeldVersion, Place


class PlanAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about plans; changes nothing.

    Args:
        recovering: All recoveries; they will need room as well.
        storage: What is here.
        policy: Which signatures count.
        proven: Chooses versions of jobs.
        proven_at_s: Returns when a node last showed that it has a version.
    """

    def __init__(
        self,
        recovering: Recovering,
        storage: Storage,
        policy: SignaturePolicy,
        proven: ProvenVersions,
        proven_at_s: ProvenAt,
    ) -> None:
        self._proven_at_s = proven_at_s
        self._policy = policy
        self._jobs = JobPlans(recovering, storage, proven)
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._coded = recovering.coded
        self._book = recovering.book
        self._catalog = storage.catalog
        self._manifests = recovering.manifests
        self._found = FoundManifests(recovering.manifests, storage.catalog)
        self._peering = recovering.peering
        self._own = recovering.own
        self._terms = recovering.terms
        self._staging = recovering.staging
        self._roots = storage.roots

    async def plan(self, request: PlanRequest) -> Plan:
        """Say what a recovery would do, without beginning it."""
        planned = await self._planned(request)
        if isinstance(planned, Plan):
            return planned
        planned = self._with_coding(planned)
        figures = await asyncio.to_thread(figures_of, planned.content)
        plan = plan_of(
            planned,
            figures,
            promised_bytes=self._promised_bytes(planned.root),
            size_problem=self._terms.size_problem(planned.content.facts.size_bytes),
            now=self._now(),
            proven_at_s=self._proven_at_s,
        )
        if plan.room_bytes <= plan.free_bytes:
            return plan
        return structs.replace(plan, could_free=self._staging.could_free(planned.root).lstrip())

    async def _planned(self, request: PlanRequest) -> PlannedVersion | Plan:
        """Return what a recovery would bring; a plan without it if nothing can be chosen."""
        checkpoint = parse_checkpoint_name(request.checkpoint)
        wanted = None if request.version is None else parse_version(request.version)
        units = Choice.parse(request.units, request.min_criticality)
        if request.shards:
            return await self._jobs.planned(checkpoint, wanted, request.shards, units)
        is_settled = self._scheduler.is_settled  # of what is looked at now, not of who comes later
        own = self._own.holdings(checkpoint)
        choice, unchosen = await self._choose(checkpoint, wanted, own, units)
        if choice.chosen is None and self._is_job(checkpoint):
            return await self._jobs.planned(checkpoint, wanted, "", units)
        passed_over = passed_over_rows(choice.passed_over)
        if choice.chosen is None:
            return _nothing(checkpoint, choice.why, passed_over, is_settled=is_settled)
        version, digest = choice.chosen
        contents = self._contents_of(checkpoint, wanted, own)
        why = choice.why
        rivals: tuple[RivalRow, ...] = ()
        if len(contents) > 1:
            named = (checkpoint, version)
            planned = await plan_contents(self._manifests, self._policy, named, contents)
            digest, rivals = planned.digest, planned.rivals
            why = f"{why}; {planned.why}"
        holders = self._scheduler.holders(digest, now=self._now())
        sources = tuple((holder, holding_of(holder, digest)) for holder in holders)
        mine = next((holding for holding in own if holding.digest == digest), None)
        if mine is None and not sources:  # lost since it was chosen
            why = f"whoever had version {version} does not answer any more"
            return _nothing(checkpoint, why, passed_over, is_settled=is_settled)
        facts = mine or sources[0][1]
        space, problem = await self._found.find((checkpoint, version, digest), holders)
        if units is not None and space is not None and digest not in unchosen:
            unchosen[digest] = await asyncio.to_thread(units.blocks_outside, space)
        held = self._catalog.held(digest)
        root, target = self._own.target_of(checkpoint, version, digest)
        there = await asyncio.to_thread(look_at_target, root, target)
        place = held.at(root.name, target) if held and there.found else None
        not_wanted = unchosen.get(digest, BlockSet())
        is_whole = place is not None and _has_all(place, space, not_wanted)
        similar = () if is_whole else await self._own.similar(digest, checkpoint, version, root)
        content = PlannedContent(
            facts=facts,
            space=space,
            mine=mine,
            place=place,
            held=held.holding if held else None,
            offered=[holding for _, holding in sources],
            supplies=self._scheduler.supplies(digest, now=self._now()),
            similar=similar,
            unchosen=not_wanted,
        )
        return PlannedVersion(
            checkpoint=checkpoint,
            version=version,
            digest=digest,
            why=why,
            is_settled=is_settled,
            passed_over=passed_over,
            rivals=rivals,
            problem=problem,
            content=content,
            sources=sources,
            here=self._here(held) if held else None,
            root=root,
            target=target,
            there=there,
            is_there=place is not None,
            is_whole=is_whole,
        )

    def _with_coding(self, planned: PlannedVersion) -> PlannedVersion:
        """Count on sources as they come where blocks of them came coded last."""
        checkpoint, content = planned.checkpoint, planned.content
        bases = self._own.bases_of(checkpoint, planned.version, planned.digest)
        factors = self._coded.factors(checkpoint, bases)
        supplies = [supply.times(factors.get(supply.path, 1.0)) for supply in content.supplies]
        expected = {
            supply.path: outcome.sentence()
            for supply in supplies
            if (outcome := self._coded.expected(supply.path, checkpoint, bases)) is not None
        }
        return replace(planned, content=replace(content, supplies=supplies), coding=expected)

    def _is_job(self, name: CheckpointName) -> bool:
        """Return whether shards of a job of that name are here or at a peer."""
        known = self._peering.names().union(self._own.family(name))
        return any(is_shard_of(other, name) for other in known)

    async def _choose(
        self,
        checkpoint: CheckpointName,
        wanted: Version | None,
        own: Sequence[Holding],
        units: Choice | None,
    ) -> tuple[ExplainedChoice, dict[Digest, BlockSet]]:
        """Return which version would be chosen, and what is not wanted of those that were seen.

        Where not all units are wanted it takes manifests to know of which versions those that are
        can be had: as long as they show that they cannot, the next one is looked at.

        Args:
            checkpoint: Of which checkpoint.
            wanted: The version that is named.
            own: What stands here.
            units: Which units are wanted; ``None``: all.

        Raises:
            NotFound: The version has no such units.
        """
        unchosen: dict[Digest, BlockSet] = {}
        while True:
            choice = self._scheduler.explain_choice(
                checkpoint,
                wanted,
                self._catalog.newest_ever(checkpoint),
                own,
                unchosen=None if units is None else unchosen,
            )
            if units is None or choice.chosen is None or choice.chosen[1] in unchosen:
                return choice, unchosen
            version, digest = choice.chosen
            holders = self._scheduler.holders(digest, now=self._now())
            space, _ = await self._found.find((checkpoint, version, digest), holders)
            if space is None:
                return choice, unchosen
            unchosen[digest] = await asyncio.to_thread(units.blocks_outside, space)

    def _contents_of(
        self, checkpoint: CheckpointName, wanted: Version | None, own: Sequence[Holding]
    ) -> list[Rival]:
        """Return what goes by the version that would be chosen, with what this node had."""
        had, withdrawn = self._catalog.had(checkpoint), self._catalog.withdrawn(checkpoint)
        own = [holding for holding in own if holding.digest not in withdrawn] or own
        contents = self._scheduler.rivals_of_choice(
            checkpoint, wanted, self._catalog.newest_ever(checkpoint), own, now=self._now()
        )
        copied = self._catalog.copied(checkpoint)
        return [
            replace(each, is_own=(each.is_own or each.digest in had) and each.digest not in copied)
            for each in contents
        ]

    def _here(self, held: HeldVersion) -> HereRow:
        place = held.main
        return HereRow(
            directory=self._roots.absolute(place.root, place.directory),
            bytes=0,
            is_complete=held.holding.is_complete,
            is_stale=held.is_stale,
        )

    def _promised_bytes(self, root: Root) -> int:
        """Return the room on a root's file system that recoveries under way will need."""
        return sum(
            other.staging.promised_bytes
            for other in self._book
            if other.staging is not None and other.root.device == root.device
        )


def _nothing(
    checkpoint: CheckpointName,
    why: str,
    passed_over: tuple[PassedOverRow, ...],
    *,
    is_settled: bool,
) -> Plan:
    return Plan(
        checkpoint=checkpoint,
        version=None,
        why=why,
        passed_over=passed_over,
        is_settled=is_settled,
    )


def _has_all(place: Place, space: AddressSpace | None, not_wanted: BlockSet) -> bool:
    """Return whether all that is wanted stands at a place, as far as is known."""
    if space is None or not not_wanted:
        return place.is_whole
    wanted = BlockSet.full(space.block_count) - not_wanted
    return not place.wrong_names and wanted.issubset(place.standing(space))

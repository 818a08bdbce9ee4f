"""Says which copies there are of what this node lists, and what is short."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from ckptd.config.copy_values import CopiesSection
from ckptd.control.messages.copies import (
    CopiedVersion,
    CopiesRequest,
    CopiesView,
    CopyCount,
    CopyHolder,
    CopyMember,
)
from ckptd.copies.counts import CopyRule
from ckptd.copies.decided import Decided, Shortfall
from ckptd.copies.fleet import Claim, FleetNode, FleetVersion, FleetView
from ckptd.copies.holders import asked_of, whole_class
from ckptd.copies.zones import ZONE_LEVELS_MAX, Zone, zone_text, zones_at
from ckptd.daemon.answer.short_copies import awaited_audit, why_short
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.shards import job_of
from ckptd.model.words import CopiesState, Criticality, ShortBecause

VERSIONS_SHOWN_MAX: Final = 4096
"""Of more than these the worst are shown: an answer is some megabytes then."""

_WORST_FIRST: Final = tuple(reversed(CopiesState))


class CopiesSeen(NamedTuple):
    """What was seen of the fleet when copies were decided on last.

    Attributes:
        view: What this node knew.
        decided: What it decided.
        at_ns: When that was.
        conflicts: Versions of which it is not known which of several contents is meant.
        troubles: Why what was decided did not succeed here, by version.
        saved_bytes: How much less room copies take here because units are kept compressed.
    """

    view: FleetView
    decided: Decided
    at_ns: int
    conflicts: Collection[tuple[CheckpointName, Version]] = ()
    troubles: Mapping[tuple[CheckpointName, Version], str] = MappingProxyType({})
    saved_bytes: int = 0


class CopiesAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about copies.

    Args:
        known: What is known of them.
    """

    def __init__(self, known: KnownCopies) -> None:
        self._known = known

    async def copies(self, request: CopiesRequest) -> CopiesView:
        """Return which copies there are, the worst first."""
        return await self._known.show(request.name)


class KnownCopies:
    """What is known of copies of what this node lists.

    Args:
        section: What this node lists.
        zone: Returns where it is.
        now: The moment in nanoseconds, on the monotonic clock.

    Attributes:
        seen: Returns what was seen last; ``None``: nothing was looked at yet.
        obstacle: Returns what keeps this node from looking again; empty: nothing does.
    """

    def __init__(
        self, section: CopiesSection, zone: Callable[[], Zone], now: Callable[[], int]
    ) -> None:
        self._section = section
        self._zone = zone
        self._now = now
        self.seen: Callable[[], CopiesSeen | None] = lambda: None
        self.obstacle: Callable[[], str] = lambda: ""

    async def show(self, name: str | None = None) -> CopiesView:
        """Return which copies there are, the worst first.

        Args:
            name: Only of this checkpoint or job; ``None``: of all.

        Cost: 0.1 s for a thousand checkpoints, so it is counted off the event loop.
        """
        seen = self.seen()
        if seen is None:
            return self._view(())
        return await asyncio.to_thread(self._count, seen, name, self._now())

    def _count(self, seen: CopiesSeen, name: str | None, now: int) -> CopiesView:
        view = seen.view
        versions = sorted(
            versions_of(seen, name, now=now),
            key=lambda each: (_WORST_FIRST.index(each.state), each.checkpoint, -each.version),
        )
        members = _members_of(view, {CheckpointName(each.checkpoint) for each in versions})
        return self._view(
            versions,
            tuple(_member(view, node, now) for node in members),
            seen=seen,
            age_s=(now - seen.at_ns) / SECOND,
            conflicts=tuple(
                f"{checkpoint}@{version}"
                for checkpoint, version in sorted(seen.conflicts)
                if _is_meant(name, checkpoint)
            ),
        )

    def _view(
        self,
        versions: Sequence[CopiedVersion],
        members: tuple[CopyMember, ...] = (),
        *,
        seen: CopiesSeen | None = None,
        age_s: float | None = None,
        conflicts: tuple[str, ...] = (),
    ) -> CopiesView:
        count = dict.fromkeys(CopiesState, 0)
        for each in versions:
            count[each.state] += 1
        return CopiesView(
            names=self._section.names,
            zone=zone_text(self._zone()),
            root=self._section.root,
            quota_bytes=self._section.quota_bytes,
            used_bytes=0 if seen is None else seen.view.room.used_bytes,
            saved_bytes=0 if seen is None else seen.saved_bytes,
            is_full=seen is not None and seen.decided.is_full,
            is_settled=seen is not None and seen.view.all_asked,
            age_s=age_s,
            obstacle=self.obstacle(),
            checkpoints=len({each.checkpoint for each in versions}),
            whole=count[CopiesState.WHOLE],
            unproven=count[CopiesState.UNPROVEN],
            too_close=count[CopiesState.TOO_CLOSE],
            under_replicated=count[CopiesState.UNDER_REPLICATED],
            members=members,
            versions=tuple(versions[:VERSIONS_SHOWN_MAX]),
            left_out=max(0, len(versions) - VERSIONS_SHOWN_MAX),
            conflicts=conflicts[:VERSIONS_SHOWN_MAX],
        )


def versions_of(seen: CopiesSeen, name: str | None = None, *, now: int) -> Iterator[CopiedVersion]:
    """Yield the versions of which copies are asked: of each checkpoint down to the oldest kept.

    Args:
        seen: What was seen last.
        name: Only of this checkpoint or job; ``None``: of all.
        now: The moment, in nanoseconds.
    """
    view, decided = seen.view, seen.decided
    short: dict[tuple[Digest, Criticality], Shortfall] = {
        (each.digest, each.criticality): each for each in decided.short
    }
    is_short = {each.digest for each in decided.short}
    by_name: dict[CheckpointName, list[FleetVersion]] = defaultdict(list)
    for version in view.versions:
        if _is_meant(name, version.checkpoint):
            by_name[version.checkpoint].append(version)
    pulls = {each.digest: each.why for each in decided.pulls}
    given_back = {each.digest: each.why for each in decided.give_back}
    for checkpoint, versions in by_name.items():
        rule = view.rule_of(checkpoint)
        if rule is None:
            continue
        for version in _kept(versions, view.nodes, rule, is_short):
            counts = tuple(_counts_of(version, rule, view, short, now))
            yield CopiedVersion(
                checkpoint=checkpoint,
                version=version.version,
                digest=version.digest,
                size_bytes=version.size_down_to(max(Criticality)),
                state=min((each.state for each in counts), key=_WORST_FIRST.index),
                counts=counts,
                holders=tuple(_holder(view, claim) for claim in version.claims),
                fetched_because=pulls.get(version.digest),
                given_back_because=given_back.get(version.digest),
                trouble=seen.troubles.get((checkpoint, version.version), ""),
            )


def _is_meant(name: str | None, checkpoint: CheckpointName) -> bool:
    return name is None or name in {checkpoint, job_of(checkpoint)}


def _kept(
    versions: Iterable[FleetVersion],
    nodes: Mapping[NodeId, FleetNode],
    rule: CopyRule,
    is_short: set[Digest],
) -> Iterator[FleetVersion]:
    """Yield the versions of a checkpoint that are kept, newest first; what is short is one."""
    whole: set[int] = set()
    for version in sorted(versions, key=lambda each: (-each.version, each.digest)):
        if len(whole) < rule.keep or version.version in whole or version.digest in is_short:
            yield version
        if any(
            claim.is_proven and _covers(version, claim, max(Criticality))
            for claim in _live(version.claims, nodes)
        ):
            whole.add(version.version)


def _counts_of(
    version: FleetVersion,
    rule: CopyRule,
    view: FleetView,
    short: Mapping[tuple[Digest, Criticality], Shortfall],
    now: int,
) -> Iterator[CopyCount]:
    live = list(_live(version.claims, view.nodes))
    for criticality, asked in sorted(asked_of(version, rule.counts).items()):
        claims = [claim for claim in live if _covers(version, claim, criticality)]
        proven = [claim for claim in claims if claim.is_proven]
        zones = [view.nodes[claim.node].zone for claim in proven]
        found = short.get((version.digest, criticality))
        state, because = _judge(asked, len(proven), len(claims), found)
        until_ns = found.until_ns if found is not None and state is not CopiesState.WHOLE else None
        until_s = None if until_ns is None else max(0.0, (until_ns - now) / SECOND)
        yield CopyCount(
            criticality=criticality.label,
            asked=asked,
            proven=len(proven),
            claimed=len(claims),
            zones=len(zones_at(zones, ZONE_LEVELS_MAX) - {()}),
            unknown_zones=zones.count(()),
            state=state,
            because=because,
            why=_why(because, found, claims, view, until_s),
            until_s=until_s,
        )


def _judge(
    asked: int, proven: int, claimed: int, found: Shortfall | None
) -> tuple[CopiesState, ShortBecause | None]:
    """Return how copies compare with what is asked, by what is counted; and why, as decided."""
    because = None if found is None else found.why
    if proven >= asked:
        is_close = because is ShortBecause.ZONES
        return (CopiesState.TOO_CLOSE if is_close else CopiesState.WHOLE), (
            because if is_close else None
        )
    if claimed >= asked:
        return CopiesState.UNPROVEN, because or ShortBecause.UNPROVEN
    return CopiesState.UNDER_REPLICATED, because


def _why(
    because: ShortBecause | None,
    found: Shortfall | None,
    claims: Sequence[Claim],
    view: FleetView,
    until_s: float | None,
) -> str:
    if because is None:
        return ""
    if found is not None and because is not ShortBecause.UNPROVEN:
        return why_short(found, view, until_s)
    waited = () if found is None else found.nodes
    return awaited_audit(waited or [claim.node for claim in claims if not claim.is_proven])


def _live(claims: Iterable[Claim], nodes: Mapping[NodeId, FleetNode]) -> Iterator[Claim]:
    for claim in claims:
        node = nodes.get(claim.node)
        if node is not None and node.is_live:
            yield claim


def _covers(version: FleetVersion, claim: Claim, criticality: Criticality) -> bool:
    """Return whether a claim has all units of a class, and of those that are more urgent."""
    return claim.least is not None and whole_class(version, claim.least) >= criticality


def _holder(view: FleetView, claim: Claim) -> CopyHolder:
    node = view.nodes.get(claim.node)
    return CopyHolder(
        node=claim.node,
        zone="" if node is None else zone_text(node.zone),
        least=None if claim.least is None else claim.least.label,
        is_proven=claim.is_proven,
        is_live=node is not None and node.is_live,
    )


def _members_of(view: FleetView, names: set[CheckpointName]) -> list[NodeId]:
    """Return who keeps copies of some names, or of any if there are no versions of them."""
    groups = {members for name, members in view.members.items() if not names or name in names}
    return sorted({node for members in groups for node in members})


def _member(view: FleetView, node: NodeId, now: int) -> CopyMember:
    known = view.nodes.get(node)
    lost_ns = None if known is None else known.lost_since_ns
    return CopyMember(
        node=node,
        zone="" if known is None else zone_text(known.zone),
        is_live=known is not None and known.is_live,
        lost_s=None if lost_ns is None else max(0.0, (now - lost_ns) / SECOND),
        is_full=known is not None and known.is_full,
        is_blamed=known is not None and known.is_blamed,
    )

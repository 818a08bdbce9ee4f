"""What a node of a fleet knows, as the decider wants it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ckptd.copies.counts import CopyRule
from ckptd.copies.fleet import Claim, FleetNode, FleetVersion, FleetView, OwnCopy, Room
from ckptd.model.ids import CheckpointName, Digest, NodeId
from ckptd.model.words import Criticality
from ckptd.sim.fleet.auditing import Audits
from ckptd.sim.fleet.ground import Ground
from ckptd.sim.fleet.member import Member, Said, Saved, matches


def view_of(
    ground: Ground,
    audits: Audits,
    member: Member,
    only: Mapping[Digest, frozenset[NodeId]] = MappingProxyType({}),
) -> FleetView:
    """Return what a node knows.

    Args:
        ground: Everything.
        audits: Know what is proven.
        member: Who decides.
        only: Of these versions nobody else has anything but these nodes, which were just asked.
    """
    versions = tuple(_versions(ground, audits, member, only))
    rule = CopyRule(ground.plan.counts, ground.plan.keep)
    plan = member.plan
    return FleetView(
        own=member.node,
        rule_of=lambda name: rule if member.lists(name) else None,
        nodes={each.node: each for each in _nodes(ground, member)},
        members=_members(member, versions),
        versions=versions,
        room=Room(
            quota_bytes=plan.quota_bytes,
            used_bytes=member.copy_bytes,
            disk_bytes=plan.disk_bytes,
            free_bytes=max(member.free_bytes, 0),
        ),
        own_copies=tuple(_own_copies(ground, member)),
        grace_ns=ground.plan.grace_ns,
        pair=ground.plan.pair or None,
        all_asked=not member.unasked,
    )


def _nodes(ground: Ground, member: Member) -> Iterator[FleetNode]:
    blamed = {node for (node, _), proof in member.proofs.items() if not proof.is_right}
    blamed.update(node for node, until in member.distrusted.items() if until > ground.now)
    yield FleetNode(member.node, ground.zone_of(member, member), is_full=member.is_full)
    for node, heard in member.heard.items():
        yield FleetNode(
            node,
            ground.zone_of(member, ground.members[node]),
            is_live=heard.lost_since_ns is None,
            lost_since_ns=heard.lost_since_ns,
            is_full=heard.said.is_full,
            is_blamed=node in blamed,
        )


def _members(
    member: Member, versions: tuple[FleetVersion, ...]
) -> dict[CheckpointName, tuple[NodeId, ...]]:
    found: dict[CheckpointName, tuple[NodeId, ...]] = {}
    for name in dict.fromkeys(each.checkpoint for each in versions):
        keeping = [node for node, heard in member.heard.items() if matches(heard.said.keeps, name)]
        found[name] = (*sorted([*keeping, member.node]),)
    return found


def _versions(
    ground: Ground,
    audits: Audits,
    member: Member,
    only: Mapping[Digest, frozenset[NodeId]],
) -> Iterator[FleetVersion]:
    """Return every version of a listed name that anybody claims."""
    claims: dict[Digest, list[Claim]] = {}
    own = Said(member.own_claims(), member.coming(), member.plan.lists, member.is_full)
    words = [(member.node, own), *((node, heard.said) for node, heard in member.heard.items())]
    for node, said in words:
        for digest, least in said.claims.items():
            saved = ground.known[digest]
            is_own = node == member.node
            is_left_out = not is_own and node not in only.get(digest, (node,))
            if is_left_out or not member.lists(saved.checkpoint):
                continue
            is_proven = is_own or audits.is_proven(member, node, digest)
            claim = Claim(node, least, is_proven, said.held_bytes(saved))
            claims.setdefault(digest, []).append(claim)
    for digest, made in claims.items():
        saved = ground.known[digest]
        if member.lists(saved.checkpoint):
            yield FleetVersion(saved.checkpoint, saved.version, digest, _sizes(saved), tuple(made))


def _sizes(saved: Saved) -> dict[Criticality, int]:
    return {each: size for each, size in saved.sizes.items() if size}


def _own_copies(ground: Ground, member: Member) -> Iterator[OwnCopy]:
    for digest, held in member.shelf.items():
        saved = held.saved
        yield OwnCopy(
            digest, saved.checkpoint, saved.version, saved.up_to(held.least), held.is_copy
        )
    for digest, least in member.pretended.items():
        saved = ground.known[digest]
        yield OwnCopy(digest, saved.checkpoint, saved.version, saved.up_to(least))

"""Drawn fleets: joins, losses of nodes and zones, wipes, partitions, liars, greedy, full nodes."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Final

from ckptd.copies.counts import CopyCounts
from ckptd.copies.zones import Zone
from ckptd.limits import GIB, SECOND
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.shards import Shard, shard_name
from ckptd.model.words import Criticality
from ckptd.sim.fleet.plan import (
    MINUTE,
    FleetPlan,
    Lie,
    MemberPlan,
    Mishap,
    MishapKind,
    SavePlan,
)

_COUNTS: Final = ((3, 2, 1), (3, 2, 1), (2, 2, 2), (2, 2, 1), (2, 1, 0), (3, 3, 2), (1, 1, 1))
_SHARES: Final = ((0.1, 0.7, 0.2), (0.0, 1.0, 0.0), (0.02, 0.58, 0.4))
"""How much of a version is critical, normal, deferred."""
_QUIET_NS: Final = 40 * MINUTE
"""Nothing goes wrong for so long before the end."""


def draw_fleet(seed: int) -> FleetPlan:
    """Draw a fleet and what goes wrong in it.

    Args:
        seed: Equal seeds give equal fleets.
    """
    rng = Random(f"fleet/{seed}")  # noqa: S311 (no secret)
    zones = _draw_zones(rng)
    members = _draw_members(rng, zones)
    counts = CopyCounts(*rng.choice([each for each in _COUNTS if each[0] <= len(zones)]))
    largest = rng.choice((2, 8, 24)) * GIB
    saves = _draw_saves(rng, members, largest)
    grace_ns = rng.choice((2, 4, 8)) * MINUTE
    quiet_from_ns = rng.randint(25, 45) * MINUTE
    members = tuple(_equip(rng, member, largest, len(saves)) for member in members)
    return FleetPlan(
        seed=seed,
        counts=counts,
        keep=rng.choice((1, 2, 2, 3)),
        grace_ns=grace_ns,
        pair=rng.choice(("", "", "", "+n/2", "+1")),
        members=members,
        saves=saves,
        mishaps=_draw_mishaps(rng, members, quiet_from_ns, grace_ns),
        ends_at_ns=quiet_from_ns + grace_ns + _QUIET_NS,
    )


def _draw_zones(rng: Random) -> list[Zone]:
    count = rng.randint(2, 6)
    rows = rng.choice((0, 0, 2))
    return [
        (f"row-{index % rows}", f"rack-{index}") if rows else (f"rack-{index}",)
        for index in range(count)
    ]


def _draw_members(rng: Random, zones: list[Zone]) -> tuple[MemberPlan, ...]:
    """Draw nodes; some lie, some join later, of some others do not know where they stand."""
    count = rng.randint(max(4, len(zones)), 18)
    liars_max = (count - 1) // 6
    is_unknown = rng.random() < 1 / 10
    usual = rng.choice((("llama*", "evals/*"), ("llama*", "evals/*"), ("*",)))
    members: list[MemberPlan] = []
    for index in range(count):
        zone = zones[index % len(zones)]
        liars = sum(each.lie is not None for each in members)
        is_liar = rng.random() < 1 / 7 and liars < liars_max
        is_late = index >= len(zones) and rng.random() < 1 / 7
        lists = rng.choice((usual, usual, usual, ("llama*",), ()))
        members.append(
            MemberPlan(
                node=NodeId(f"n{index:02d}"),
                zone=zone,
                known_zone=() if is_unknown else zone,
                lists=lists if index >= len(zones) else usual,
                quota_bytes=0,
                disk_bytes=0,
                rate_bytes_per_s=0,
                joins_at_ns=rng.randint(1, 25) * MINUTE if is_late else 0,
                lie=rng.choice(tuple(Lie)) if is_liar else None,
            )
        )
    return tuple(members)


def _equip(rng: Random, member: MemberPlan, largest: int, names: int) -> MemberPlan:
    """Give a node a disk; one in ten has no room for long."""
    is_full = rng.random() < 1 / 10
    quota = int(largest * (rng.uniform(0.2, 2.0) if is_full else 6 * names))
    disk = int(quota * rng.uniform(1.0, 1.5)) if is_full else 4 * quota
    rate = int(largest / rng.uniform(5, 40))
    return replace(member, quota_bytes=quota, disk_bytes=disk, rate_bytes_per_s=rate)


def _draw_saves(rng: Random, members: tuple[MemberPlan, ...], largest: int) -> tuple[SavePlan, ...]:
    """Draw a job in shards, single checkpoints, and now and then one that nobody wants."""
    there = [member.node for member in members if not member.joins_at_ns]
    shares = rng.choice(_SHARES)
    sizes = _sizes(largest, shares)
    first_ns, every_ns = rng.randint(5, 60) * SECOND, rng.randint(4, 9) * MINUTE
    count, kept = rng.randint(2, 5), rng.choice((1, 2, 9))
    ranks = rng.sample(there, min(rng.choice((1, 2, 4, 6)), len(there)))
    spare = rng.choice((0, 0, 1))  # so many more nodes save the same as each rank
    saves: list[SavePlan] = []
    for index, node in enumerate(ranks):
        alike = rng.sample([other for other in there if other != node], spare)
        saves.append(
            SavePlan(
                checkpoint=shard_name(CheckpointName("llama"), Shard(index, len(ranks))),
                writers=(node, *alike),
                sizes=sizes,
                first_ns=first_ns + rng.randint(0, 5) * SECOND,
                every_ns=every_ns,
                count=count,
                kept=kept,
            )
        )
    if rng.random() < 2 / 3:
        saves.append(_single(rng, "evals/a", there, _sizes(largest // 4, shares)))
    if rng.random() < 1 / 3:  # greedy: a name that hardly anybody lists, and what fits nowhere
        saves.append(_single(rng, "scratch/mine", there, sizes))
    if rng.random() < 1 / 7:
        whole = (0.0, 1.0, 0.0)  # not even what is critical fits anywhere
        saves.append(_single(rng, "evals/huge", there, _sizes(largest * 1000, whole)))
    return tuple(saves)


def _single(rng: Random, name: str, nodes: list[NodeId], sizes: dict[Criticality, int]) -> SavePlan:
    return SavePlan(
        checkpoint=CheckpointName(name),
        writers=(rng.choice(nodes),),
        sizes=sizes,
        first_ns=rng.randint(1, 10) * MINUTE,
        every_ns=rng.randint(3, 9) * MINUTE,
        count=rng.randint(1, 4),
        kept=rng.choice((1, 2, 9)),
    )


def _sizes(total: int, shares: tuple[float, float, float]) -> dict[Criticality, int]:
    return {each: int(total * share) for each, share in zip(Criticality, shares, strict=True)}


def _draw_mishaps(
    rng: Random, members: tuple[MemberPlan, ...], until_ns: int, grace_ns: int
) -> tuple[Mishap, ...]:
    """Draw one thing after another; the next one may come before what it broke is mended."""
    mishaps: list[Mishap] = []
    at_ns = rng.randint(2, 8) * MINUTE
    dead: set[NodeId] = set()
    while at_ns < until_ns:
        kind = rng.choice(tuple(MishapKind))
        there = [each for each in members if each.joins_at_ns < at_ns and each.node not in dead]
        nodes = _draw_nodes(rng, kind, there)
        is_short = kind is MishapKind.SPLIT or rng.random() < 1 / 2
        longest_ns = grace_ns if is_short else 3 * grace_ns
        for_ns = 3 * SECOND if kind is MishapKind.RESTART else rng.randint(MINUTE, longest_ns)
        if kind is MishapKind.DIE:
            if len(dead) + len(nodes) > len(members) // 4:
                continue
            dead.update(nodes)
        mishaps.append(Mishap(kind, nodes, at_ns, for_ns))
        # Mostly after what it broke is mended; now and then on top of it, but not of itself.
        at_ns += for_ns + MINUTE + (0 if rng.random() < 1 / 5 else grace_ns + 5 * MINUTE)
    return tuple(mishaps)


def _draw_nodes(rng: Random, kind: MishapKind, there: list[MemberPlan]) -> tuple[NodeId, ...]:
    """Draw whom it happens to: one node, or all of a zone."""
    if kind is MishapKind.SPLIT:
        return tuple(each.node for each in rng.sample(there, rng.randint(1, len(there) // 2)))
    first = rng.choice(there)
    if kind is not MishapKind.ROT and rng.random() < 2 / 5:
        return tuple(each.node for each in there if each.zone == first.zone)
    return (first.node,)

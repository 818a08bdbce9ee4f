"""Draws clusters that recover a job: late, split, returning, lying and slow nodes."""

from __future__ import annotations

from random import Random
from typing import Final

from ckptd.core.events import JobRequest
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.ids import CheckpointName, NodeId, Version
from ckptd.model.shards import Shard, shard_name
from ckptd.model.words import Criticality
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.faults import Crash, Forget, Freeze, Mute, Publish, Slow, Split, Unheard
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion, UnitPlan

JOB: Final = CheckpointName("job")
_VERSIONS: Final = (100, 200, 300)


def draw_jobs(seed: int) -> Scenario:
    """Draw a cluster of holders of shards and of nodes that want the job, and what goes wrong."""
    rng = Random(f"jobs/{seed}")  # noqa: S311 (no secret)
    count = rng.randint(1, 6)
    versions = {number: _draw_version(rng, count, number) for number in _VERSIONS}
    holders = [NodeId(f"h{index}") for index in range(rng.randint(2, 5))]
    wanting = [NodeId(f"r{index}") for index in range(rng.randint(2, 4))]
    copies = rng.randint(1, 2)
    held: dict[NodeId, list[SavedVersion]] = {name: [] for name in (*holders, *wanting)}
    faults: list[Fault] = []
    moments_ns = [rng.randrange(12 * SECOND) for _ in range(3)]
    for number, shards in versions.items():
        for index, shard in enumerate(shards):
            for copy in range(copies):
                node = holders[(index + copy) % len(holders)]
                match rng.choice(_FATES[number]):
                    case "there":
                        held[node].append(shard)
                    case "late":
                        at_ns = rng.choice(moments_ns) + rng.randrange(-500, 500) * MS
                        at_ns = max(at_ns, 0)
                        faults.append(Publish(node=node, at_ns=at_ns, versions=(shard,)))
                    case _:
                        pass
    if _happens(rng, 5):  # a rank published the newest version alone before it was wiped
        lone = wanting[0]
        held[lone].append(versions[300][rng.randrange(count)])
    nodes = [_plan(rng, name, held[name], is_holder=name in holders) for name in held]
    if _happens(rng, 4):
        nodes.append(_draw_liar(rng, count))
    faults += _draw_faults(rng, holders, wanting, versions)
    begun_ns = [max(rng.choice(moments_ns) + rng.randrange(-800, 800) * MS, 0) for _ in wanting]
    wishes = [
        Wish(
            name,
            JoinedVersion(JOB, versions[100]),
            at_ns=at_ns,
            is_named=False,
            job=JobRequest(_draw_selection(rng, count)),
        )
        for name, at_ns in zip(wanting, begun_ns, strict=True)
    ]
    return Scenario(
        name=f"jobs {seed}",
        seed=seed,
        nodes=tuple(nodes),
        wishes=tuple(wishes),
        faults=tuple(faults),
        jitter=rng.choice((0.0, 0.2)),
        announcing_pace_ns=rng.choice((100, 100, 500)) * MS,
    )


_FATES: Final = {
    100: ("there",),
    200: ("there", "there", "there", "there", "late", "never"),
    300: ("there", "late", "late", "never"),
}
"""What becomes of each copy of a shard: the oldest version is whole from the beginning."""


def _draw_version(rng: Random, count: int, version: int) -> list[SavedVersion]:
    return [
        SavedVersion(
            shard_name(JOB, Shard(index, count)),
            version,
            [
                UnitPlan(Criticality.CRITICAL, rng.randint(1, 2) * MIB),
                *(
                    UnitPlan(Criticality.NORMAL, rng.randint(1, 12) * MIB)
                    for _ in range(rng.randint(1, 3))
                ),
            ],
            MIB,
            prefix=f"rank-{index}/",
        )
        for index in range(count)
    ]


def _plan(rng: Random, name: NodeId, held: list[SavedVersion], *, is_holder: bool) -> NodePlan:
    rate = rng.choice((1, 4, 16, 64)) * MIB
    return NodePlan(
        name,
        egress_bytes_per_s=64 * MIB if is_holder else rate,
        ingress_bytes_per_s=rate,
        holds=tuple(InitialHolding(version) for version in held),
    )


def _draw_liar(rng: Random, count: int) -> NodePlan:
    """Draw a node that claims shards of a version that does not exist, and says it recovers it."""
    invented = _draw_version(rng, count, 900)
    return NodePlan(
        NodeId("liar"),
        invents=tuple(invented[: rng.randint(1, count)]),
        announces=((JOB, Version(900)),) if _happens(rng, 7) else (),
    )


def _draw_selection(rng: Random, count: int) -> frozenset[int] | None:
    if _happens(rng, 5):
        return None
    return frozenset(rng.sample(range(count), rng.randint(1, count)))


def _draw_faults(
    rng: Random,
    holders: list[NodeId],
    wanting: list[NodeId],
    versions: dict[int, list[SavedVersion]],
) -> list[Fault]:
    faults: list[Fault] = []
    if _happens(rng, 4):
        return faults  # most of what can go wrong does so by itself
    everybody = [*holders, *wanting]
    for _ in range(rng.randint(1, 3)):
        node, at_ns = rng.choice(everybody), rng.randrange(20) * SECOND + rng.randrange(SECOND)
        for_ns = rng.randint(1, 20) * SECOND
        match rng.choice(("crash", "freeze", "mute", "slow", "split", "lost", "unheard")):
            case "crash":
                faults.append(Crash(node=node, at_ns=at_ns, for_ns=for_ns))
            case "freeze":
                faults.append(Freeze(node=node, at_ns=at_ns, for_ns=for_ns))
            case "mute":
                faults.append(Mute(node=rng.choice(holders), at_ns=at_ns, for_ns=for_ns))
            case "slow":
                faults.append(Slow(node=node, at_ns=at_ns, for_ns=for_ns, egress_bytes_per_s=MIB))
            case "split":
                half = frozenset(rng.sample(everybody, len(everybody) // 2))
                faults.append(Split(node=node, at_ns=at_ns, for_ns=for_ns, half=half))
            case "lost":
                holder = rng.choice(holders)
                shard = rng.choice(versions[rng.choice(_VERSIONS)])
                faults.append(Forget(node=holder, at_ns=at_ns, for_ns=SECOND, digest=shard.digest))
                back_ns = at_ns + for_ns + SECOND
                faults.append(Publish(node=holder, at_ns=back_ns, versions=(shard,)))
            case _:
                faults.append(Unheard(node=node, at_ns=at_ns))
    return faults


def _happens(rng: Random, in_ten: int) -> bool:
    return rng.randrange(10) < in_ten

"""What a simulation begins with: nodes, versions, wishes, and the script of faults."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.events import JobRequest
from ckptd.limits import MIB, MS
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, NodeId, Version
from ckptd.model.unit_choice import Choice
from ckptd.sim.node.node import NodeOptions
from ckptd.sim.node.shelf import NearbyBlocks
from ckptd.sim.node.source_side import Ruse
from ckptd.sim.script.fault import Fault
from ckptd.sim.world.layouts import SavedVersion
from ckptd.sim.world.processors import UNBOUNDED, Processors


@dataclass(frozen=True, slots=True)
class InitialHolding:
    """What a node has of a version from the beginning.

    Attributes:
        version: Which.
        blocks: Some of its blocks; ``None`` for all.
    """

    version: SavedVersion
    blocks: BlockSet | None = None


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node.

    Attributes:
        name: Who it is.
        egress_bytes_per_s: What it can send.
        ingress_bytes_per_s: What it can receive.
        serving_bytes_per_s: What it sends to one receiver at most; ``None``: all it can.
        flow_bytes_per_s: What it sends on one connection at most; ``None``: all it can.
        disk_bytes_per_s: How fast its disk is.
        nearby: What lies on it in older versions.
        nearby_bytes_per_s: How fast that is copied; ``None``: as fast as the disk is.
        latency_ns: Its part of the way to any other node.
        holds: What it has.
        announces: Versions of jobs that it says it recovers, and does not.
        invents: What it claims to have, and nobody has.
        bad_share: Share of the blocks it sends that are wrong although it stands by them.
        ruse: How it gets around being blamed for them.
        serves_by_class: It sends what is more urgent first; a web server in its place does not.
        path_count: At how many addresses it is reached; each is a path of its own.
        processors: What moves its bytes.
    """

    name: NodeId
    egress_bytes_per_s: int = 128 * MIB
    ingress_bytes_per_s: int = 128 * MIB
    serving_bytes_per_s: int | None = None
    flow_bytes_per_s: int | None = None
    disk_bytes_per_s: int = 1024 * MIB
    latency_ns: int = MS // 4
    nearby: tuple[NearbyBlocks, ...] = ()
    nearby_bytes_per_s: int | None = None
    holds: tuple[InitialHolding, ...] = ()
    announces: tuple[tuple[CheckpointName, Version], ...] = ()
    invents: tuple[SavedVersion, ...] = ()
    bad_share: float = 0.0
    ruse: Ruse = field(default_factory=Ruse)
    serves_by_class: bool = True
    path_count: int = 1
    processors: Processors = UNBOUNDED


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants a version on a node.

    Attributes:
        node: On which node.
        version: Which version.
        at_ns: When it is asked for.
        is_named: The version is named; else the newest is asked for that can be had.
        patience_ns: How long blocks are waited for that nobody has; ``None`` for ever.
        is_background: It leaves sources to recoveries that are not.
        allow_partial: It may be placed without required units once patience ends.
        is_name_awaited: A name of which nobody has anything is waited for.
        is_on_demand: Only what is read is fetched, until somebody wants the rest.
        is_chosen: Somebody said that it is this content, of several.
        from_node: Somebody said that it is the content of this node.
        job: These shards of a job are wanted; the version is what they are joined to.
        choice: Which units are wanted; ``None``: all.
        is_progressive: Each phase is placed when it is complete.
    """

    node: NodeId
    version: SavedVersion
    at_ns: int = 0
    is_named: bool = True
    patience_ns: int | None = None
    is_background: bool = False
    allow_partial: bool = False
    is_name_awaited: bool = True
    is_on_demand: bool = False
    is_chosen: bool = False
    from_node: NodeId | None = None
    job: JobRequest | None = None
    choice: Choice | None = None
    is_progressive: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """A cluster and what happens to it.

    Attributes:
        name: For people.
        seed: Decides what is left to chance.
        nodes: The nodes.
        wishes: What is recovered.
        faults: What goes wrong, and when.
        options: How nodes behave.
        jitter: A message takes up to this share longer than usual.
        following_max: How many peers a node follows besides those that hold something from the
            beginning; ``None`` for all.
        rates_pace_ns: Rates of flows are worked out at most this often.
        announcing_pace_ns: A node announces changes at most this often.
        checks_every: The scheduler's invariants are checked after every so many events; 0: never.
        limit_ns: The simulation ends then at the latest; ``None``: when every recovery had to be
            over.
        asks_again: A version is requested again whenever a recovery ends without it.
        comes_to_rest: It goes on until nothing is due any more, and that is checked.
    """

    name: str
    seed: int
    nodes: tuple[NodePlan, ...]
    wishes: tuple[Wish, ...]
    faults: tuple[Fault, ...] = ()
    options: NodeOptions = field(default_factory=NodeOptions)
    jitter: float = 0.0
    following_max: int | None = None
    rates_pace_ns: int = 0
    announcing_pace_ns: int = 100 * MS
    checks_every: int = 1
    limit_ns: int | None = None
    asks_again: bool = False
    comes_to_rest: bool = False

    @property
    def quiet_ns(self) -> int:
        """From when on nothing goes wrong any more."""
        return max((fault.over_ns for fault in self.faults), default=0)

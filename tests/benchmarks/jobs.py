"""``make bench ROWS=jobs``: a job of many shards as one recovery, and many shards that are known.

    python -m tests.benchmarks.jobs --size 2GiB --rounds 5 recover known

``recover``: 64 shards that eight daemons have, eight each, against one checkpoint of as many bytes
that all eight have; a node that has nothing recovers both in turns, in memory. How long the stages
took is beside it, and in how many rounds the job was only waiting for nodes that began as well.
``known``: a daemon hears of 1,024 shards of ten versions, each from two of 64 peers.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

from ckptd.cli.demo.demo_checkpoint import PlannedFile, compare, write_checkpoint
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.core.events import DiscoverySettled, HoldingsArrived, JobRequest, RecoveryRequested
from ckptd.core.options import JobOptions
from ckptd.core.scheduler import Scheduler
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Epoch,
    NodeId,
    Origin,
    RecoveryId,
    Version,
)
from ckptd.model.shards import Shard, shard_name
from ckptd.wire.holdings_document import encode_holdings
from tests.benchmarks.__main__ import Line, Told
from tests.benchmarks.groups import finish, line_of, measure, parse
from tests.benchmarks.memory import kept_warm, touch_memory
from tests.benchmarks.places import choose_place
from tests.benchmarks.shaping import knows
from tests.support.cluster import Cluster, Node, eventually
from tests.support.hostile_peers import Reply, hostile_peer

JOB, ONE = CheckpointName("bench-job"), CheckpointName("bench-one")
DAEMONS, SHARDS = 8, 64
KNOWN_SHARDS, KNOWN_VERSIONS, KNOWN_PEERS, COPIES = 1024, 10, 64, 2
_SETTLE_S = JobOptions().settle_ns / SECOND
STAND_INS = 8
"""So many processes' worth of peers answer for the 64, each for eight of them."""


def recover(told: Told) -> list[Line]:
    """64 shards from eight daemons in one command, and one checkpoint of the same bytes."""
    with (
        tempfile.TemporaryDirectory("-jobs", dir=choose_place(4 * told.size_bytes)) as place,
        contextlib.redirect_stdout(sys.stderr),
        kept_warm(4 * told.size_bytes),
        Cluster(Path(place)) as cluster,
    ):
        memory = Path(place)
        published = memory / "published"
        published.mkdir()
        nodes = [cluster.add(f"n{number}", root=published) for number in range(DAEMONS)]
        for node in nodes:
            node.wait_ready()
        _publish(nodes, published, told.size_bytes)
        receiver = cluster.node("r", peers=[node.address for node in nodes])
        knows(receiver, ONE, DAEMONS)
        seconds: dict[str, list[float]] = {"all": [], "": []}
        stages: dict[str, list[dict[str, float]]] = {"all": [], "": []}
        for number in range(told.rounds):
            for shards, measured in seconds.items():
                touch_memory(memory, told.size_bytes)
                measured.append(_turn(receiver, shards, published / "one", number))
                stages[shards].append(_stages(receiver))
    ratios = [job / one for job, one in zip(seconds["all"], seconds[""], strict=True)]
    medians = [statistics.median(each) for each in seconds.values()]
    waited = sum(_until_placing(each) < 1.05 * _SETTLE_S for each in stages["all"])
    of_stages = ", ".join(
        f"{stage} {_median(stages['all'], stage):.2f} against {_median(stages[''], stage):.2f}"
        for stage in ("describing", "transferring", "placing")
    )
    detail = (
        f"{medians[0]:.2f} s against {medians[1]:.2f} s; {of_stages}; "
        f"{waited} rounds only waited for others in the end"
    )
    name = "time of 64 shards from 8 daemons, times that of one checkpoint"
    return [line_of("recover", name, ratios, 1.1, detail)]


def _publish(nodes: Sequence[Node], published: Path, size_bytes: int) -> None:
    one = published / "one"
    for number in range(SHARDS):
        directory = published / "shards" / str(number)
        files = [PlannedFile(f"shard-{number}", size_bytes // SHARDS)]
        write_checkpoint(str(directory), files, seed=number)
        shutil.copytree(directory, one, dirs_exist_ok=True)
        name = shard_name(JOB, Shard(number, SHARDS))
        nodes[number % DAEMONS].publish(directory, name, 1, critical=(), deferred=())
    for node in nodes:
        node.publish(one, ONE, 1, critical=(), deferred=())


def _turn(receiver: Node, shards: str, expected: Path, number: int) -> float:
    """Recover one or the other, compare, and remove what was recovered."""
    target = receiver.path(f"turn-{number}{shards}")
    request = RecoverRequest(
        checkpoint=JOB if shards else ONE, version=1, to=str(target), shards=shards
    )
    begun_s = time.perf_counter()
    last = finish(receiver, receiver.client.recover(request).recovery)
    seconds = time.perf_counter() - begun_s
    assert last.bytes_received == last.bytes_total, "it was to travel"
    seen = compare(str(expected), str(target))
    assert not seen.differences, seen.differences[:3]
    shutil.rmtree(target)
    here = "bench-job" if shards else "bench-one"
    eventually(
        lambda: (
            not any(
                row.places
                for row in receiver.client.checkpoints()
                if row.checkpoint.startswith(here)
            )
        ),
        "what was removed is known to be gone",
    )
    return seconds


def _stages(receiver: Node) -> dict[str, float]:
    """Return how long the last recovery was in each stage, in seconds."""
    (*_, ended) = receiver.events("recovery.ended")
    moments = [
        (str(event.facts["stage"]), event.at_s)
        for event in receiver.events("recovery.stage")
        if event.facts["recovery"] == ended.facts["recovery"]
    ]
    ends = [*(at_s for _, at_s in moments[1:]), ended.at_s]
    return {stage: end - at_s for (stage, at_s), end in zip(moments, ends, strict=True)}


def _until_placing(stages: Mapping[str, float]) -> float:
    """Return how long after its choice a recovery placed what it had."""
    return stages["preparing"] + stages["transferring"]


def _median(rounds: Sequence[Mapping[str, float]], stage: str) -> float:
    return statistics.median(each[stage] for each in rounds)


def claims_of(peer: int, rng: Random) -> tuple[Holding, ...]:
    """Return what one of the peers has: its part of each version."""
    found = []
    for version in range(KNOWN_VERSIONS):
        for index in range(KNOWN_SHARDS):
            if peer % KNOWN_PEERS in {(index + copy) % KNOWN_PEERS for copy in range(COPIES)}:
                name = shard_name(JOB, Shard(index, KNOWN_SHARDS))
                digest = Digest(f"{version:032x}{index:032x}")
                blocks = BlockSet.full(8)
                found.append(Holding(name, Version(version), digest, 8 * MIB, 8, blocks))
    rng.shuffle(found)
    return tuple(found)


def known(told: Told) -> list[Line]:
    """A daemon hears of 1,024 shards of ten versions: what it takes to list and to choose."""
    rng = Random(5)
    claims = [claims_of(peer, rng) for peer in range(KNOWN_PEERS)]
    lines = _in_the_core(claims, told.rounds)
    said = [
        Holdings(NodeId(f"s{stand_in}"), Epoch(7), 1, _of_stand_in(claims, stand_in))
        for stand_in in range(STAND_INS)
    ]
    with (
        tempfile.TemporaryDirectory("-jobs") as place,
        contextlib.redirect_stdout(sys.stderr),
        ExitStack() as peers,
        Cluster(Path(place)) as cluster,
    ):
        addresses = [
            peers.enter_context(
                hostile_peer({"/v1/holdings": Reply(encode_holdings(each), fields=_fields(each))})
            ).address
            for each in said
        ]
        node = cluster.node("r", peers=addresses)
        count = KNOWN_SHARDS * KNOWN_VERSIONS
        eventually(lambda: len(node.client.checkpoints()) == count, "all is known")
        seconds = []
        for _ in range(told.rounds):
            begun_s = time.perf_counter()
            node.client.checkpoints()
            seconds.append(time.perf_counter() - begun_s)
    name = f"ms for the list of {count:,} shards, with reading it"
    return [*lines, line_of("known", name, [1000 * each for each in seconds], 100)]


def _of_stand_in(claims: Sequence[tuple[Holding, ...]], stand_in: int) -> tuple[Holding, ...]:
    of_peers = claims[stand_in::STAND_INS]
    return tuple({each.digest: each for claim in of_peers for each in claim}.values())


def _fields(said: Holdings) -> dict[str, str]:
    return {
        "Ckptd-Node": said.node,
        "Ckptd-Epoch": str(said.epoch),
        "ETag": f'"{said.epoch}-{said.revision}"',
        "Content-Type": "application/json",
    }


def _having_heard(claims: Sequence[tuple[Holding, ...]]) -> tuple[Scheduler, list[float]]:
    """Return a scheduler that has heard of all, and how many ms each peer took."""
    scheduler, hearing = Scheduler(Random(1)), []
    for peer, held in enumerate(claims):
        node = NodeId(f"n{peer}")
        arrived = HoldingsArrived(node, Epoch(7), held, node, Origin(node))
        begun_s = time.perf_counter()
        scheduler.handle(arrived, now=MS)
        hearing.append(1000 * (time.perf_counter() - begun_s))
    scheduler.handle(DiscoverySettled(), now=MS)
    return scheduler, hearing


def _in_the_core(claims: Sequence[tuple[Holding, ...]], rounds: int) -> list[Line]:
    """Measure the scheduler alone: how long a choice takes, how much it keeps for each shard."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    counted, _ = _having_heard(claims)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del counted
    now = MS
    scheduler, hearing = _having_heard(claims)
    request = RecoveryRequested(RecoveryId("r"), JOB, job=JobRequest())
    choosing = []
    for _ in range(rounds):
        begun_s = time.perf_counter()
        found = scheduler.newest_of_job(request, now=now)
        choosing.append(1000 * (time.perf_counter() - begun_s))
        assert found.version == KNOWN_VERSIONS - 1
    count = KNOWN_SHARDS * KNOWN_VERSIONS
    return [
        line_of("known", "ms for choosing a version, in one go", choosing, 20),
        line_of("known", "ms for hearing of what a peer has", hearing, 5),
        line_of("known", "bytes kept for a shard of a version", [kept / count], 1024),
    ]


CASES: dict[str, Callable[[Told], list[Line]]] = {"recover": recover, "known": known}


def main() -> int:
    """Measure, print one table, write one JSON file."""
    told, names = parse(__doc__, CASES, rounds=5)
    measure("jobs", told, names, CASES, lambda name: CASES[name](told))
    return 0


if __name__ == "__main__":
    sys.exit(main())

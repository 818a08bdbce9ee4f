"""Nodes are killed at random points of recoveries; each must end complete and bit-exact.

    python -m tests.benchmarks.kill_anywhere --rounds 50 --size 512MiB
    python -m tests.benchmarks.kill_anywhere --rounds 50 --size 512MiB --shards 16
    python -m tests.benchmarks.kill_anywhere --rounds 200 --size 256MiB --place progressive

Placed ``progressive`` it is in phases, with a commit marker in the first one;
all the time what is visible has to be in order. With ``--shards`` it is a job, of which each
source has every other shard and the first one.

A failure names its seed; ``--seed`` plays that round first.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.errors import DaemonUnreachable
from ckptd.limits import refetch_bytes_max
from ckptd.model.quantities import format_size, parse_size
from ckptd.model.words import PlaceMode, Result
from tests.support.cluster import (
    Cluster,
    FileFacts,
    Node,
    checkpoint_files,
    eventually,
    make_checkpoint,
    tree_digest,
)
from tests.support.fault_proxy import FaultProxy, fault_proxy

JOB = "job"
MARKER = ".metadata"
STATE = ".ckptd-state.json"
PHASES_OF_SHARDS = (("0-core", "*config*"), ("0-core", f"*{MARKER}"), ("1-rest", "*"))
PHASES = (
    ("0-core", "config*"),
    ("0-core", f"*{MARKER}"),
    ("1-serving", "*model*1*"),
    ("2-weights", "*model*"),
    ("3-rest", "*"),
)
Phases: TypeAlias = tuple[tuple[str, str], ...]

KILLS_MAX = 4
JITTER_S_MAX = 0.03
"""After a point was reached: a commit or a rename takes less."""
KILLED_WHILE_STARTING = 0.3
"""How often a node that starts again is killed before it is ready."""
START_S = 0.6


@dataclass(frozen=True)
class Kill:
    """``node`` is killed when this share of the version is verified, and a little later."""

    node: str
    share: float
    jitter_s: float


@dataclass(frozen=True)
class Round:
    """How one went.

    Attributes:
        kills: How often a process was killed.
        answered_bytes: What the sources sent, over all lives of everybody.
        bound_bytes: What they may send at most.
        resumed_bytes: What the last life of the receiver found verified.
    """

    kills: int
    answered_bytes: int
    bound_bytes: int
    resumed_bytes: int


def draw_kills(rng: Random) -> list[Kill]:
    """Draw a plan; shares rise, or most kills would come too late to be carried out."""
    shares = sorted(rng.uniform(0, 1) for _ in range(rng.randint(1, KILLS_MAX)))
    return [
        Kill(rng.choice(("r", "r", "a", "b")), share, rng.uniform(0, JITTER_S_MAX))
        for share in shares
    ]


class Arena:
    """Two sources behind links that count, and a receiver.

    The links move the version in about half a second, so that there is a middle to kill in.
    """

    def __init__(
        self,
        cluster: Cluster,
        links: contextlib.ExitStack,
        size_bytes: int,
        shards: int = 0,
        place: PlaceMode = PlaceMode.ATOMIC,
    ) -> None:
        self.size_bytes = size_bytes
        self.shards = shards
        self.place = place
        self.phases: Phases = ()
        if place is PlaceMode.PROGRESSIVE:
            self.phases = PHASES_OF_SHARDS if shards else PHASES
        sources = [cluster.add("a"), cluster.add("b")]
        for source in sources:
            source.wait_ready()
        if shards:
            self.published = publish_shards(sources, size_bytes, shards, self.phases)
        else:
            for source in sources:
                make_checkpoint(source.path("100"), files=files_of(size_bytes, place))
                source.publish(source.path("100"), phases=self.phases)
            self.published = dict(tree_digest(sources[0].path("100")))
        self.links: list[FaultProxy] = [
            links.enter_context(fault_proxy(source.data_port, rate_bytes_per_s=size_bytes))
            for source in sources
        ]
        receiver = cluster.node("r", peers=[link.address for link in self.links])
        self.nodes: dict[str, Node] = {node.node: node for node in (*sources, receiver)}
        self.receiver = receiver

    def play(self, seed: int) -> Round:
        """Recover while nodes are killed; check everything that was promised."""
        rng = Random(seed)
        answered_before = sum(link.replies.passed_bytes for link in self.links)
        target = self.receiver.path(f"round-{seed}")
        recovery = self._begin(target)
        kills = 0
        with self._watched(target):
            for kill in draw_kills(rng):
                if self._wait_share(recovery, kill.share):
                    break
                threading.Event().wait(kill.jitter_s)
                kills += self._kill(self.nodes[kill.node], rng)
            for node in self.nodes.values():
                node.wait_ready()
            result = self.receiver.result(recovery)
        assert (result.result, result.is_degraded) == (Result.COMPLETE, False), result
        found = dict(tree_digest(target))
        if self.place is PlaceMode.PROGRESSIVE:
            assert json.loads((target / STATE).read_bytes())["complete"], f"seed {seed}: {STATE}"
            del found[STATE]
        assert found == self.published, f"seed {seed}: other bytes"
        left = os.listdir(self.receiver.root)
        assert left == [target.name], f"seed {seed}: {left} is left"
        shutil.rmtree(target)
        answered = sum(link.replies.passed_bytes for link in self.links) - answered_before
        refetch = refetch_bytes_max(self.size_bytes)
        # Heads, holdings and manifests are counted too: a few KiB for each life.
        bound = self.size_bytes + kills * refetch + (1 + kills) * self.size_bytes // 100
        assert answered <= bound, f"seed {seed}: {answered} bytes, more than {bound}"
        return Round(kills, answered, bound, result.bytes_resumed)

    def _begin(self, target: Path) -> str:
        if not self.shards:
            return self.receiver.begin(to=target, place=self.place)
        request = RecoverRequest(checkpoint=JOB, shards="all", to=str(target), place=self.place)
        return self.receiver.client.recover(request).recovery

    @contextlib.contextmanager
    def _watched(self, target: Path) -> Iterator[None]:
        """Look all the time whether what is visible is in order, if it is placed by phases."""
        if self.place is PlaceMode.ATOMIC:
            yield
            return
        is_over, problems = threading.Event(), list[str]()

        def watch() -> None:
            while not is_over.wait(0.002) and not problems:
                if problem := disorder(target, self.published, self.phases):
                    problems.append(problem)

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield
        finally:
            is_over.set()
            watching.join()
        assert not problems, problems

    def _wait_share(self, recovery: str, share: float) -> bool:
        """Wait until so much is verified; tell whether the recovery has ended."""

        def look() -> str:
            try:
                view = self.receiver.client.recovery(recovery)
            except DaemonUnreachable:
                return ""
            if view.stage.is_ended:
                return "ended"
            return "reached" if view.bytes_verified >= share * self.size_bytes else ""

        return eventually(look, f"{share:.0%} verified") == "ended"

    def _kill(self, node: Node, rng: Random) -> int:
        """Kill a node and start it again, with bad luck several times."""
        node.kill()
        kills = 1
        node.start()
        while rng.random() < KILLED_WHILE_STARTING:
            threading.Event().wait(rng.uniform(0, START_S))
            node.kill()
            node.start()
            kills += 1
        return kills


def files_of(size_bytes: int, place: PlaceMode) -> list[PlannedFile]:
    """Return what a version consists of."""
    files = list(checkpoint_files(size_bytes))
    return [*files, PlannedFile(MARKER, 200)] if place is PlaceMode.PROGRESSIVE else files


def phase_of(path: str, phases: Phases) -> str:
    """Return in which phase a unit is."""
    return next(name for name, glob in phases if fnmatch.fnmatch(path, glob))


def disorder(target: Path, published: Mapping[str, object], phases: Phases) -> str:
    """Return what is visible too early; empty if all is in order.

    Later phases are looked at first: what comes between two looks hides nothing.
    """
    of = {path: phase_of(path, phases) for path in published}
    paths = sorted((path for path in published if Path(path).name != MARKER), key=of.__getitem__)
    marks = [path for path in published if Path(path).name == MARKER]
    if any((target / path).exists() for path in marks):
        missing = [path for path in paths if not (target / path).exists()]
        return f"{MARKER} before {missing}" if missing and target.exists() else ""
    seen = [path for path in reversed(paths) if (target / path).exists()]
    latest = max((of[path] for path in seen), default="")
    missing = [path for path in paths if of[path] < latest and not (target / path).exists()]
    return f"{seen[:3]} before {missing[:3]}" if missing and target.exists() else ""


def publish_shards(
    sources: Sequence[Node], size_bytes: int, shards: int, phases: Phases = ()
) -> dict[str, FileFacts]:
    """Publish the shards of a job, the first by all; return what all of them are together."""
    published: dict[str, FileFacts] = {}
    for number in range(shards):
        files = [
            PlannedFile(f"rank-{number}/model", size_bytes // shards),
            PlannedFile(f"rank-{number}/config.json", 300),
            *([PlannedFile(f"rank-{number}/{MARKER}", 200)] if phases else ()),
        ]
        for source in sources if number == 0 else sources[number % 2 : number % 2 + 1]:
            directory = source.path("100", str(number))
            make_checkpoint(directory, seed=number, files=files)
            name = f"{JOB}/shard-{number}-of-{shards}"
            source.publish(directory, name, deferred=(), phases=phases)
            published |= tree_digest(directory)
    return published


@contextlib.contextmanager
def arena(
    directory: Path, size_bytes: int, shards: int = 0, place: PlaceMode = PlaceMode.ATOMIC
) -> Iterator[Arena]:
    with Cluster(directory) as cluster, contextlib.ExitStack() as links:
        yield Arena(cluster, links, size_bytes, shards, place)


def main() -> int:
    """Play rounds until one fails; say which."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_RAW)
    parser.add_argument("--rounds", type=int, default=50, metavar="N")
    parser.add_argument("--size", type=parse_size, default="512MiB", metavar="SIZE")
    parser.add_argument("--shards", type=int, default=0, metavar="N", help="of a job")
    parser.add_argument("--place", choices=tuple(PlaceMode), default="atomic", type=PlaceMode)
    parser.add_argument("--seed", type=int, metavar="N", help="of the first round")
    arguments = parser.parse_args()
    first = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    worst = 0.0
    with (
        tempfile.TemporaryDirectory(prefix="kill-") as directory,
        arena(Path(directory), arguments.size, arguments.shards, arguments.place) as played,
    ):
        for seed in range(first, first + arguments.rounds):
            try:
                seen = played.play(seed)
            except BaseException:
                print(f"seed {seed} failed; again with: --seed {seed}", file=sys.stderr)
                raise
            again = max(seen.answered_bytes - arguments.size, 0)
            worst = max(worst, again / max(seen.kills, 1))
            print(
                f"seed {seed}: complete and bit-exact after {seen.kills} kills; "
                f"fetched again {format_size(again)}, resumed {format_size(seen.resumed_bytes)}",
                flush=True,
            )
    print(f"{arguments.rounds} rounds; at worst {format_size(int(worst))} again for each kill")
    return 0


_RAW = argparse.RawDescriptionHelpFormatter


if __name__ == "__main__":
    sys.exit(main())

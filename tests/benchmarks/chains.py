"""``make bench ROWS=chains``: full versions of chains, each by the way that is taken to be fastest.

    python -m tests.benchmarks.chains --size 64MiB --rounds 3 1 10 64

A chain of 64 deltas at a source, what another node has made of it and published, both behind 1
Gbit/s, and a follower that has the full version of some steps before. Of each way there is a node
for which it is the only one, or the fastest by far; the last one knows all ways and has to choose.
Sources are on hosts of their own, so it needs root.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from ckptd.control.messages.life_cycle import RemoveRequest
from ckptd.control.messages.materialising import MaterialiseRequest, MaterialiseResult
from ckptd.limits import MIB
from tests.benchmarks.__main__ import Line
from tests.benchmarks.deltas import LINK_MBIT, Stage
from tests.benchmarks.groups import line_of, measure_on_hosts
from tests.benchmarks.shaping import knows
from tests.support.cluster import Node
from tests.support.delta_versions import Training, assert_same, tensors_in, write_chain

NAME: Final = "policy"
COPY: Final = f"{NAME}.full"
LENGTH: Final = 64
BYTES_MAX: Final = 32 * MIB
"""Of a full version: 64 deltas on it are half as long again as all of it."""
ROW_BYTES: Final = 64 * 5
COPIES: Final = 1
WITHIN: Final = 1.1
"""Of two ways that take about as long either is the fastest."""


@dataclass
class Follower:
    """A node that wants the latest version in full.

    Attributes:
        node: It.
        has: Up to which version it has the chain; ``None``: it has nothing.
        took_s: How long each turn took.
        ways: By which way.
    """

    node: Node
    has: int | None
    took_s: list[float]
    ways: list[str]

    def turn(self, number: int, training: Training) -> None:
        """Make the latest version, and let what that brought go again."""
        target = self.node.path(f"turn-{number}")
        begun_s = time.perf_counter()
        result = materialise(self.node, LENGTH, target.name)
        self.took_s.append(time.perf_counter() - begun_s)
        self.ways.append(result.ways[0].text.partition(":")[0])
        assert_same(tensors_in(target), training.tensors)
        if not forget(self.node, COPY, LENGTH):
            for path in target.iterdir():
                path.unlink()
            target.rmdir()
        for version in range(LENGTH, -1 if self.has is None else self.has, -1):
            forget(self.node, NAME, version)


def materialise(node: Node, version: int, to: str, *, publish: bool = False) -> MaterialiseResult:
    """Make a full version."""
    request = MaterialiseRequest(
        checkpoint=NAME, version=version, to=str(node.path(to)), publish=publish
    )
    *_, result = node.client.materialise(request)
    assert isinstance(result, MaterialiseResult)
    return result


def forget(node: Node, checkpoint: str, version: int) -> bool:
    """Remove a version with its files, if it stands here; return whether it did."""
    rows = node.client.checkpoints()
    is_here = any(
        (row.checkpoint, row.version) == (checkpoint, version) and node.node in row.nodes
        for row in rows
    )
    if is_here:
        list(node.client.remove(RemoveRequest(checkpoint=checkpoint, version=version)))
    return is_here


def behind(count: int, stage: Stage) -> list[Line]:
    """Return what is measured of a follower that has the version of some steps before."""
    size_bytes = min(stage.told.size_bytes, BYTES_MAX)
    training, source = Training(rows=size_bytes // ROW_BYTES), stage.node("s", rate_mbit=LINK_MBIT)
    for path in write_chain(source.path(), LENGTH, training):
        source.publish(path, NAME, int(path.name), critical=(), deferred=())
    maker = stage.node("m", source, rate_mbit=LINK_MBIT)
    materialise(maker, LENGTH, "made", publish=True)
    followers = {
        "chain": _follower(stage, "c", source, has=LENGTH - count),
        "full": _follower(stage, "f", source),
        "copy": _follower(stage, "p", source, maker),
        "all": _follower(stage, "a", source, maker, has=LENGTH - count),
    }
    for number in range(stage.told.rounds + 1):
        for follower in followers.values():
            follower.turn(number, training)
    return [_line(count, followers)]


def _follower(stage: Stage, name: str, *peers: Node, has: int | None = None) -> Follower:
    node = stage.node(name, *peers)
    knows(node, NAME)
    if len(peers) > 1:
        knows(node, COPY)
    if has == 0:
        node.recover(NAME, 0)
    elif has is not None:
        # As a follower has it that followed: what it was made of, and the copy, published.
        materialise(node, has, "had", publish=True)
    return Follower(node, has, [], [])


def _line(count: int, followers: Mapping[str, Follower]) -> Line:
    """Return how long the chosen way took, to the fastest; the first turn learns the rates."""
    taken = {name: each.took_s[1:] for name, each in followers.items()}
    chosen = taken.pop("all")
    fastest = [min(times) for times in zip(*taken.values(), strict=True)]
    medians = ", ".join(
        f"{name} {statistics.median(seconds):.2f} s" for name, seconds in taken.items()
    )
    ways = followers["all"].ways[1:]
    return line_of(
        str(count),
        f"{count} behind: time of the chosen way, to that of the fastest",
        [mine / least for mine, least in zip(chosen, fastest, strict=True)],
        WITHIN,
        f"{statistics.median(chosen):.2f} s, {max(set(ways), key=ways.count)}; {medians}",
    )


CASES: Final = {str(count): partial(behind, count) for count in (1, 10, 64)}
for _count, _case in CASES.items():
    _case.__doc__ = f"A follower {_count} behind, of a chain of {LENGTH}."


if __name__ == "__main__":
    sys.exit(measure_on_hosts("chains", __doc__, CASES, COPIES, Stage))

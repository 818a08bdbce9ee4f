"""Versions that come and go with retention while recoveries read them: real files, no network.

A trainer saves, two nodes bring copies, and an archive gets them later, is away now and then, and
has no retention. Peers that recover read in pieces, as they do over the network: each piece is
asked for by itself, from the node where they began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final
from unittest.mock import patch

from ckptd.config.sections import RetentionSection
from ckptd.errors import CkptdError
from ckptd.model.ids import Digest
from ckptd.model.retention import FreeRoom
from ckptd.model.words import RemovableKind
from ckptd.store.files.roots import Root
from tests.support.retaining import RetainingNode, RetainingNodes
from tests.support.stores import bytes_of

VERSION_BYTES: Final = 4096
CAPACITY_BYTES: Final = 40 * VERSION_BYTES
FREE_PERCENT: Final = 20
MARK_BYTES: Final = CAPACITY_BYTES * (100 - FREE_PERCENT) // 100
"""More is on a disk only while nothing may go: the archive is away, and these are last copies."""
_STEP_S: Final = 200.0
_PIECES: Final = 4
_SMALL: Final = RetentionSection(  # every_s: kept only while there is room
    newest=2, every_s=400, min_free=FreeRoom(percent=FREE_PERCENT), remove=RemovableKind.ALL
)


@dataclass
class Tally:
    """What was seen.

    Attributes:
        saved: Versions that were saved.
        removed: How many of them went from a node by retention.
        read: Recoveries that read all of a version.
        lost: What recoveries lost in the middle.
        gone: Versions of which no file was left anywhere.
        most_bytes: The most that was on the disk of a node with retention.
        over_mark: How often a disk was above its mark though something could have gone.
    """

    saved: int = 0
    removed: int = 0
    read: int = 0
    lost: list[str] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    most_bytes: int = 0
    over_mark: int = 0


class _Reader:
    """A peer that recovers one version after the other."""

    def __init__(self, nodes: list[RetainingNode], rng: Random, tally: Tally) -> None:
        self._nodes, self._rng, self._tally = nodes, rng, tally
        self._source: tuple[RetainingNode, Digest] | None = None
        self._pieces = 0

    async def step(self) -> None:
        """Ask for the next piece, of the version that it reads or of another one."""
        if self._source is None:
            node = self._rng.choice(self._nodes)
            offered = node.said.holdings
            if not offered:
                return
            self._source, self._pieces = (node, self._rng.choice(offered).digest), 0
        node, digest = self._source
        try:
            node.retention.leases.note_asked(digest)
            served = await node.catalog.open_version(digest)
            start = served.size_bytes * self._pieces // _PIECES
            end = served.size_bytes * (self._pieces + 1) // _PIECES
            for piece in served.pieces(start, end):
                bytes_of(piece)
        except CkptdError as error:
            if self._pieces:
                self._tally.lost.append(str(error))
            self._source = None  # it had nothing of it yet: another node has
            return
        self._pieces += 1
        if self._pieces == _PIECES:
            self._tally.read += 1
            self._source = None


async def come_and_go(directory: Path, *, versions: int, seed: int, readers: int = 8) -> Tally:
    """Let versions come and go; return what was seen."""
    rng, tally, now_s = Random(seed), Tally(), [0.0]
    with _small_disks():
        async with RetainingNodes(directory, lambda: now_s[0]) as nodes:
            small = [await nodes.add(name, _SMALL) for name in ("trainer", "b", "c")]
            archive = await nodes.add("archive", RetentionSection())
            for node in small:
                node.retention.leases._clock = lambda: now_s[0]
            reading = [_Reader(small, rng, tally) for _ in range(readers)]
            late: list[int] = []
            digests: dict[int, Digest] = {}
            for version in range(1, versions + 1):
                now_s[0] += _STEP_S
                for node in small:
                    if node is small[0] or rng.random() < 0.7:
                        node.placed_at_s = 1000.0 + now_s[0]
                        digests[version] = await node.save(
                            version, content=_content(version), is_published=node is small[0]
                        )
                tally.saved += 1
                late.append(version)
                archive.is_mute = rng.random() < 0.4
                while late and not archive.is_mute and rng.random() < 0.7:
                    await archive.save(late[0], content=_content(late.pop(0)))
                nodes.spread()
                for node in small:
                    for peer in node.state.peers.values():
                        peer.is_live = not (archive.is_mute and peer.node == archive.id)
                await asyncio.gather(
                    *(node.retaining._round() for node in small),
                    *(reader.step() for reader in reading),
                )
                await _look(tally, [*small, archive], digests)
            tally.removed = sum(node.retaining.seen.removed.total() for node in small)
    return tally


async def _look(tally: Tally, nodes: list[RetainingNode], digests: dict[int, Digest]) -> None:
    """Look what is left, and how full disks are."""
    *small, _ = nodes
    tally.most_bytes = max(tally.most_bytes, *(used_bytes(node.root) for node in small))
    for node in small:
        if used_bytes(node.root) > MARK_BYTES:
            outcomes = await node.collect(is_dry_run=True)
            tally.over_mark += any(each.goes for each in outcomes)
    left = {version for node in nodes for version in node.on_disk}
    tally.gone += [version for version in digests if version not in left]
    known = {held.holding.digest for node in nodes for held in node.catalog.versions()}
    tally.gone += [version for version, digest in digests.items() if digest not in known]


def used_bytes(root: Root) -> int:
    """Return how many bytes of files are below a root."""
    return sum(file.stat().st_size for file in Path(root.path).rglob("*") if file.is_file())


@contextmanager
def _small_disks() -> Iterator[None]:
    """Let each root have a small disk of its own."""
    with (
        patch.object(Root, "free_bytes", lambda root: CAPACITY_BYTES - used_bytes(root)),
        patch.object(Root, "size_bytes", lambda _: CAPACITY_BYTES),
    ):
        yield


def _content(version: int) -> bytes:
    return version.to_bytes(8, "big") * (VERSION_BYTES // 8)

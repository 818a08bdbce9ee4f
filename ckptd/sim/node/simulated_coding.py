"""Coded blocks at both ends: which are asked for, what they are on their way, and what comes out.

The counterpart of ``ckptd.daemon.recover.coded_asking``, around the real choice. Of versions of
jobs nothing is asked for coded here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from ckptd.core.effects import FetchRange
from ckptd.core.options import LaneOptions
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest, NodeId, PathId, RecoveryId
from ckptd.sim.node.range_request import RangeRequest
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion
from ckptd.sim.world.processors import Body, Processors, coded_body
from ckptd.sim.world.virtual_time import World
from ckptd.traffic.coding_choice import BodyNote, CodingChoice, CodingSource
from ckptd.traffic.coding_outcomes import CameRange, CodingOutcomes
from ckptd.wire.coding_fields import BASES_MAX

LANES_MAX: Final = LaneOptions().per_source_max


class SimulatedCoding:
    """Decides for each range in one life of a node, and looks at its bases.

    Args:
        world: Time.
        processors: Those of the node.
        server: Its serving side, which knows what rotted at its places.
        places: What stands on the node under a final name, by digest.

    Attributes:
        coded_bytes: How long the blocks were that came coded …
        sent_bytes: … and how many bytes they were on their way.
        lane_count: Returns how many lanes lead to a node.
        lost: Units of versions of which a block was not what it was.
    """

    def __init__(
        self,
        world: World,
        processors: Processors,
        server: Server,
        places: Mapping[Digest, tuple[SavedVersion, BlockSet]],
    ) -> None:
        self.lane_count: Callable[[NodeId], int] = lambda _: 1
        self._world = world
        self._processors = processors
        cores = 1 if math.isinf(processors.cores) else int(processors.cores)
        self._lanes_max = max(1, min(cores, LANES_MAX))
        self._server = server
        self._places = places
        self._sources: dict[PathId, CodingSource] = {}
        self._choices: dict[tuple[RecoveryId, PathId], CodingChoice] = {}
        self._outcomes = CodingOutcomes()
        self.coded_bytes = self.sent_bytes = 0
        self.lost: dict[tuple[Digest, int], None] = {}

    def ask(
        self, order: FetchRange, server: Server, version: SavedVersion
    ) -> tuple[Digest, ...] | None:
        """Return against which versions a range is asked for coded; ``None``: as it is.

        Args:
            order: The order.
            server: Who is asked.
            version: Of what.
        """
        if not self._processors.asks or isinstance(version, JoinedVersion):
            return None
        size_bytes = version.run_bytes(*order.blocks)
        lanes = self.lane_count(server.node)
        if not self._choice(order, version).is_coded(size_bytes, now=self._world.now, lanes=lanes):
            return None
        first, end = order.blocks
        units = range(version.space.unit_of(first), version.space.unit_of(end - 1) + 1)
        return tuple(
            digest
            for digest in self._near(server, version)
            if not any((digest, unit) in self.lost for unit in units)
        )

    def note(self, request: RangeRequest, server: Server, *, began_ns: int) -> None:
        """Learn how a range came.

        Args:
            request: Which.
            server: From whom.
            began_ns: When it could come first.
        """
        body, is_coded = request.body, request.bases is not None
        assert body is not None, "it did not come"
        if is_coded:
            self.coded_bytes += body.plain_bytes
            self.sent_bytes += body.size_bytes
        if self._processors.asks:
            note = BodyNote(
                is_coded=is_coded,
                is_offered=server.coding_time is not None,
                plain_bytes=body.plain_bytes,
                sent_bytes=body.size_bytes,
                elapsed_ns=self._world.now - began_ns,
            )
            order, version = request.order, request.staging.known_version()
            choice = self._choice(order, version)
            choice.note(note, now=self._world.now)
            came = CameRange(
                is_coded,
                body.plain_bytes,
                body.size_bytes,
                note.elapsed_ns,
                self._world.now,
                has_base=bool(self._near(server, version)),
                is_chosen=choice.is_chosen,
            )
            self._outcomes.note(order.source, version.checkpoint, came)

    def factors(
        self, version: SavedVersion, servers: Mapping[PathId, Server]
    ) -> dict[PathId, float]:
        """Return how many times as fast as they were seen last sources of a version will be."""
        with_base = {
            path for path in self._outcomes.shown_gains() if self._near(servers[path], version)
        }
        return self._outcomes.factors(version.checkpoint, with_base)

    def _near(self, server: Server, version: SavedVersion) -> tuple[Digest, ...]:
        """Return the versions that both ends say they have, the nearest first."""
        near = [
            other
            for other, _ in self._places.values()
            if other.digest in version.shares and server.claims_version(other.digest)
        ]
        near.sort(key=lambda other: abs(other.version - version.version))
        return tuple(other.digest for other in near[:BASES_MAX])

    def lost_among(self, request: RangeRequest, start: int, end: int) -> int | None:
        """Return the first block of some whose base is not here any more, or not what it was."""
        body, first = request.body, request.order.blocks.start
        if body is None or not body.bases:
            return None
        for block in range(start, end):
            base = body.bases.get(block - first)
            if base is not None and not self.reads_base(base, block):
                unit = request.staging.known_version().space.unit_of(block)
                self.lost[base, unit] = None
                return block
        return None

    def wrong_among(self, request: RangeRequest, start: int, end: int) -> tuple[int, ...]:
        """Return which blocks come out wrong, since the base of either end is not what it was."""
        body, first = request.body, request.order.blocks.start
        if body is None or not body.bases:
            return ()
        found = []
        for block in range(start, end):
            base = body.bases.get(block - first)
            is_wrong = base is not None and not self._server.is_right(base, block)
            if is_wrong or block - first in body.wrong:
                found.append(block)
        return tuple(found)

    def reads_base(self, base: Digest, block: int) -> bool:
        """Return whether a block is here that others are differences from; it is hashed again."""
        return block in self.held_blocks(base) and self._server.is_right(base, block)

    def held_blocks(self, digest: Digest) -> BlockSet:
        """Return the blocks of a version that were here when that was looked at last."""
        return self._places[digest][1] if digest in self._places else BlockSet()

    def _choice(self, order: FetchRange, version: SavedVersion) -> CodingChoice:
        key = (order.recovery, order.source)
        choice = self._choices.get(key)
        if choice is None:
            known = self._sources.setdefault(order.source, CodingSource())
            choice = self._choices[key] = CodingChoice(
                known, version.checkpoint, lanes_max=self._lanes_max
            )
        return choice


def body_of(
    server: Server,
    run: BlockRun,
    version: SavedVersion,
    bases: tuple[Digest, ...] | None,
    processors: Processors,
    *,
    now: int,
) -> Body:
    """Return what a source sends of a version.

    Args:
        server: The source.
        run: Which blocks.
        version: Of what.
        bases: What the receiver has as well; ``None``: blocks are asked for as they are.
        processors: Those of the source.
        now: The moment.
    """
    if bases is None or server.coding_time is None:
        return Body(version.run_bytes(*run))
    blocks = range(run.start, run.end)
    body = coded_body(
        [version.run_bytes(block, block + 1) for block in blocks],
        [
            next((base for base in bases if server.reads_base(base, block)), None)
            for block in blocks
        ],
        version.shares,
        processors,
        server.coding_time,
        now=now,
    )
    wrong = {
        place for place, base in body.bases.items() if not server.is_right(base, run.start + place)
    }
    return replace(body, wrong=wrong) if wrong else body

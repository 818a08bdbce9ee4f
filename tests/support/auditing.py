"""Peers that are audited; there is no network between them and the node that does it.

The scheduler is the real one. What each peer does with the question for a block is what it was
given for that: an outcome, and whether the block is the right one.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from ckptd.config.copy_values import CopiesSection
from ckptd.config.sections import RetentionSection
from ckptd.core.peers.paths import PathEnd
from ckptd.daemon.audit.auditing import Auditing
from ckptd.daemon.recover.sampling import Sample, SampledRun
from ckptd.errors import NotFound
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, PathId
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.audit_records import AuditRecords
from ckptd.store.records.database import Database
from tests.support.scheduling import A, B, C, Saved, Script, holds


@dataclass
class AuditedPeer:
    """What a peer answers."""

    outcome: RangeOutcome = RangeOutcome.DELIVERED
    is_wrong: bool = False
    manifest: Exception | None = None


@dataclass
class Asked:
    """A block that was asked for."""

    node: NodeId
    version: int
    block: int


class AuditingNode:
    """A node that audits; its moments are those of the script."""

    def __init__(self, database: Database, catalog: Catalog, *listed: str, seed: int = 1) -> None:
        self.script = Script()
        self.script.now_ms = 100_000
        self.peers = {node: AuditedPeer() for node in (A, B, C)}
        self.asked: list[Asked] = []
        self.manifests_asked: list[PathId] = []
        self.versions: dict[Digest, Saved] = {}
        recovering = SimpleNamespace(
            scheduler=self.script.scheduler,
            manifests=SimpleNamespace(from_peer=self._manifest),
            peering=SimpleNamespace(
                end_of=lambda path: PathEnd(NodeId(path.partition(" ")[0]), (path, 1))
            ),
            pool=None,
            runtime=SimpleNamespace(report=self.script.tell, now=lambda: self.script.now),
        )
        parts = SimpleNamespace(
            storage=SimpleNamespace(catalog=catalog, audits=AuditRecords(database)),
            transport=SimpleNamespace(identity=None, throttles=None),
            boot="boot",
            wall_clock=lambda: 1e9,
            config=SimpleNamespace(
                copies=CopiesSection(names=listed), retention=RetentionSection()
            ),
        )
        self.auditing = Auditing(cast("Any", parts), cast("Any", recovering), Random(seed))
        self.proofs = self.auditing.proofs

    def hear(self, node: NodeId, *held: Saved | Holding) -> None:
        """Hear what a peer claims."""
        self.versions |= {each.digest: each for each in held if isinstance(each, Saved)}
        self.script.tell(holds(node, *held))

    async def audit_due(self) -> list[Asked]:
        """Audit everything that is due; return which blocks were asked for."""
        before = len(self.asked)
        while await self.auditing.audit_next():
            pass
        return self.asked[before:]

    async def _manifest(self, path: PathId, _: CheckpointName, digest: Digest) -> object:
        self.manifests_asked.append(path)
        error = self.peers[NodeId(path)].manifest
        if error is not None:
            raise error
        if digest not in self.versions:
            raise NotFound("manifest", "is not held by the peer")
        return SimpleNamespace(space=self.versions[digest].space)

    async def fetch_run(
        self, address: tuple[str, int], run: SampledRun, *_: object, **__: object
    ) -> Sample:
        """Stand in for the network."""
        assert run.urgency is Urgency.BACKGROUND
        assert run.blocks.block_count == 1
        node = NodeId(address[0].partition(" ")[0])
        peer = self.peers[node]
        version = self.versions[run.digest].version
        self.asked.append(Asked(node, version, run.blocks.start))
        return Sample(1, 0.1, 0.1, 1, int(peer.is_wrong), peer.outcome)

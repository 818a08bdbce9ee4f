"""A node that hears of a second peer while it waits for a manifest of the first one.

The scheduler, the catalog and whoever answers are real; manifests come from memory.
"""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast

from ckptd.core.events import DiscoverySettled, Event, HoldingsArrived, PeerLost
from ckptd.core.scheduler import Scheduler
from ckptd.daemon.answer.proven_versions import ProvenVersions
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.coded_asking import CodedAsking
from ckptd.daemon.recover.manifests import VerifiedManifest
from ckptd.daemon.recover.own_versions import OwnVersions
from ckptd.daemon.recover.recoveries import RecoveryBook
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.recover.reuse import Reuse
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Origin, PathId
from ckptd.model.words import PeerState
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from tests.support.scheduling import Saved, holding, saved

FIRST, SECOND = NodeId("a"), NodeId("b")
PLAIN: Final = CheckpointName("llama")
JOB: Final = CheckpointName("gpt")
SHARD: Final = CheckpointName("gpt/shard-0-of-1")


class Hearing:
    """A node that asked one of its two peers, and hears of the other when it asks for a manifest.

    Attributes:
        versions: What both peers hold, by digest; all of one version.
        storage: What is here: nothing.
        recovering: Where the scheduler and the manifests are.
        proven: Chooses versions of jobs.
        meanwhile: What becomes known while a manifest is waited for.
    """

    def __init__(
        self, checkpoint: CheckpointName, catalog: Catalog, root: Root, *, contents: int = 1
    ) -> None:
        made = [saved(3, checkpoint=checkpoint), saved(2, checkpoint=checkpoint)]
        self.versions: dict[Digest, Saved] = {each.digest: each for each in made[:contents]}
        self.storage = cast("Storage", SimpleNamespace(catalog=catalog, roots=Roots([root])))
        self._scheduler = Scheduler(Random(1))
        self._peers: dict[NodeId, PeerState] = {}
        self.meanwhile: list[Event] = [self._said(SECOND), DiscoverySettled()]
        self._hear(self._said(FIRST))
        self.recovering = cast(
            "Recovering",
            SimpleNamespace(
                scheduler=self._scheduler,
                runtime=SimpleNamespace(now=lambda: 0),
                book=RecoveryBook(lambda: 0, lambda: 0.0),
                manifests=SimpleNamespace(from_peer=self._fetch),
                peering=SimpleNamespace(
                    names=lambda: {checkpoint} if self._peers else set(), peers=self._peer_rows
                ),
                own=OwnVersions(self.storage, Reuse(())),
                own_shards={},
                placed=dict,
                terms=SimpleNamespace(size_problem=lambda _: ""),
                staging=SimpleNamespace(could_free=lambda _: ""),
                coded=CodedAsking(lambda *_: False, lambda: 0, is_on=True),
            ),
        )
        self.proven = ProvenVersions(self.recovering, catalog)

    def _said(self, node: NodeId) -> HoldingsArrived:
        held = tuple(map(holding, self.versions.values()))
        return HoldingsArrived(node, Epoch(1), held, PathId(node), Origin(node))

    def lose(self) -> None:
        """Lose the first peer while a manifest is waited for, and hear of nobody else."""
        self.meanwhile = [PeerLost(PathId(FIRST)), DiscoverySettled()]

    def _hear(self, *events: Event) -> None:
        self._scheduler.handle(*events, now=0)
        self._peers |= {
            each.node: PeerState.LIVE for each in events if isinstance(each, HoldingsArrived)
        }

    def _peer_rows(self) -> list[Any]:
        return [
            SimpleNamespace(name=node, state=self._peers.get(node, PeerState.UNKNOWN))
            for node in (FIRST, SECOND)
        ]

    async def _fetch(
        self, source: PathId, checkpoint: CheckpointName, digest: Digest
    ) -> VerifiedManifest:
        version = self.versions[digest]
        assert version.checkpoint == checkpoint, f"{source} was asked for another checkpoint"
        events, self.meanwhile = self.meanwhile, []
        if events:
            self._hear(*events)
        return VerifiedManifest(memoryview(b""), (), version.space)

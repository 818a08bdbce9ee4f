"""What is known of another daemon."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ckptd.core.report.evidence import Evidence
from ckptd.core.state.doubts import Doubts
from ckptd.core.state.link import Link
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    Digest,
    Epoch,
    NodeId,
)


@dataclass(slots=True)
class Peer:
    """Another daemon, as it presents itself.

    Attributes:
        node: Who it is.
        epoch: Which life of it.
        is_live: It answered when it was asked last.
        holdings: What it has, by digest. A version it turned out not to have is taken out.
        claimed_ns: When it said so last.
        link: The path to it.
        questioned: Versions of which it is asked whether it stands by some blocks that were
            bad, and which blocks. Not asked for ranges of these meanwhile.
        doubts: What came of bad blocks, by version.
        evidence: What it sent wrongly, in this life and before.
    """

    node: NodeId
    epoch: Epoch
    is_live: bool = True
    holdings: dict[Digest, Holding] = field(default_factory=dict)
    claimed_ns: int = 0
    link: Link = field(default_factory=Link)
    questioned: dict[Digest, BlockSet] = field(default_factory=dict)
    doubts: dict[Digest, Doubts] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)

    def holding_of(self, digest: Digest | None) -> Holding | None:
        """Return what it has of a version; ``None`` also while no version is chosen."""
        return None if digest is None else self.holdings.get(digest)

    def withdraw(self, digest: Digest, blocks: BlockSet | None = None) -> None:
        """Rely on it no more for some blocks of a version, or for all, until it claims them again.

        Args:
            digest: Which version.
            blocks: Which blocks; ``None``: all.
        """
        holding = self.holdings.pop(digest, None)
        left = BlockSet() if holding is None or blocks is None else holding.blocks - blocks
        if holding is not None and left:
            self.holdings[digest] = replace(holding, blocks=left)

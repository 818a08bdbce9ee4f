"""What is known of another daemon."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.report.evidence import Evidence
from ckptd.core.state.link import Link
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
        link: The path to it.
        questioned: Versions it was asked to stand by after a bad block, and how much trust
            hangs on the answer. Not asked for ranges of these meanwhile.
        evidence: What it sent wrongly, in this life and before.
    """

    node: NodeId
    epoch: Epoch
    is_live: bool = True
    holdings: dict[Digest, Holding] = field(default_factory=dict)
    link: Link = field(default_factory=Link)
    questioned: dict[Digest, int] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)

    def holding_of(self, digest: Digest | None) -> Holding | None:
        """Return what it has of a version; ``None`` also while no version is chosen."""
        return None if digest is None else self.holdings.get(digest)

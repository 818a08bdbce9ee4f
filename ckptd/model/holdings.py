"""Holdings: what a node says it has."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version


@dataclass(frozen=True, slots=True)
class Holding:
    """What a node has of one manifest.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version of it.
        digest: Identity of the manifest.
        size_bytes: Length of the whole version.
        block_count: Blocks of the whole version.
        blocks: Which of them the node can serve, verified.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    size_bytes: int
    block_count: int
    blocks: BlockSet

    @property
    def is_complete(self) -> bool:
        """Every block is there."""
        return len(self.blocks) == self.block_count


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything a node says it has, at one moment.

    Attributes:
        node: Who says it.
        epoch: Which life of that node.
        revision: Grows with every change within one epoch.
        holdings: One for each manifest.
    """

    node: NodeId
    epoch: Epoch
    revision: int
    holdings: tuple[Holding, ...]

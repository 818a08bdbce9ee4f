"""A copy that this node is to have, as it is asked of whoever begins recoveries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from ckptd.model.ids import CheckpointName, Digest, RecoveryId, Version
from ckptd.model.unit_choice import Choice


class CopyWanted(NamedTuple):
    """A copy that this node is to have.

    Attributes:
        checkpoint: Of which checkpoint.
        version: Which version.
        digest: Which content.
        choice: Which units; ``None``: all.
        patience_s: How long it waits for blocks that nobody has.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    choice: Choice | None
    patience_s: float


BeginCopy: TypeAlias = Callable[[CopyWanted], Awaitable[RecoveryId]]
"""Begins to bring a copy; raises ``CkptdError`` if that is refused."""

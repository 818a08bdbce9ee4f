"""Several contents under one checkpoint and version, for people. Values; they never change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ckptd.model.ids import CheckpointName, Digest, NodeId, Version, shortened
from ckptd.model.quantities import format_size

_NODES_SHOWN: Final = 3
_RIVALS_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Rival:
    """One of several contents that go by the same checkpoint and version.

    Attributes:
        digest: Its identity.
        size_bytes: Length of the version.
        nodes: Who has any of it, by name.
        signers: Trusted keys that signed it.
        is_trusted: One of them may sign this checkpoint.
        is_own: This node has it, or had it.
    """

    digest: Digest
    size_bytes: int
    nodes: tuple[NodeId, ...]
    signers: tuple[str, ...] = ()
    is_trusted: bool = False
    is_own: bool = False


def conflict_message(checkpoint: CheckpointName, version: Version, rivals: Iterable[Rival]) -> str:
    """Say for a person which contents there are, and how to choose one."""
    rivals = list(rivals)
    name = f"{checkpoint}@{version}"
    listed = "; ".join(map(_described, rivals[:_RIVALS_SHOWN]))
    if len(rivals) > _RIVALS_SHOWN:
        listed += f"; and {len(rivals) - _RIVALS_SHOWN} more"
    choice = f"ckptctl recover {name} --digest PREFIX, or --from NODE"
    return f"{name} has {len(rivals)} contents: {listed}. Choose one: {choice}"


def _described(rival: Rival) -> str:
    nodes = ", ".join(rival.nodes[:_NODES_SHOWN])
    if len(rival.nodes) > _NODES_SHOWN:
        nodes += f" and {len(rival.nodes) - _NODES_SHOWN} more"
    signed = f"signed by {', '.join(rival.signers)}" if rival.signers else "not signed"
    where = f"at {nodes}" if nodes else "here"
    return f"{shortened(rival.digest)}, {format_size(rival.size_bytes)}, {where}, {signed}"

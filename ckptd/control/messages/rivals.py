"""Several contents that go by one checkpoint and version."""

from __future__ import annotations

import msgspec


class RivalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of the contents.

    Attributes:
        digest: Digest of its manifest.
        size_bytes: Length of the version.
        nodes: Nodes that have any of it, sorted.
        signers: Trusted keys that signed it.
        is_trusted: One of them may sign this checkpoint.
        is_own: This node has it, or had it.
    """

    digest: str
    size_bytes: int
    nodes: tuple[str, ...]
    signers: tuple[str, ...] = ()
    is_trusted: bool = False
    is_own: bool = False

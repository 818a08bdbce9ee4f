"""What a version stands on that is a delta."""

from __future__ import annotations

import msgspec


class ChainView(msgspec.Struct, frozen=True, kw_only=True):
    """What a delta version stands on, by its manifest and by what stands on this node.

    Attributes:
        base: The version that it is a delta on.
        base_digest: Which content of it; ``None``: its publisher did not have it.
        encoding: How it is encoded; empty: its publisher said nothing.
        deltas: How many deltas one after another there are on this node, itself included.
        full: The full version that the first of them is a delta on; ``None``: it is not here.
        lacking: The base version that is not here, or of which several contents are and nobody said
            which is meant; ``None`` if the chain is known down to a full version.
    """

    base: int
    base_digest: str | None
    encoding: str
    deltas: int
    full: int | None
    lacking: int | None

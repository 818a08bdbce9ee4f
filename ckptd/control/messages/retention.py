"""What may go from this node, and what stays, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from ckptd.model.words import GoesBecause, KeptBecause


class CollectRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Remove now what nothing keeps by the rules of ``[retention]``.

    Attributes:
        name: Only of this checkpoint or job; ``None``: of all.
        is_dry_run: Only say what would be done, by what peers said last.
        free_bytes: So much is to be free on the disk of each root, if that is more than
            ``min_free``; ``None``: as that says.
    """

    name: str | None = None
    is_dry_run: bool = False
    free_bytes: int | None = None


class CollectedRow(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="version"):
    """A version on this node; of a job all shards of it that are here.

    Attributes:
        checkpoint: Name of the checkpoint, or of the job.
        version: Which version.
        size_bytes: How much of it stands here.
        is_gone: It was removed, or would be.
        goes_because: By which rule: ``old``, ``room``; ``None`` if it stays.
        kept_because: Why it stays; ``None`` if it goes.
        why: The same as a sentence for people.
        freed_bytes: How much that freed, or would.
        copies_elsewhere: How many other nodes have all of it, by what they said last.
        directories: Where it stands, or stood.
    """

    checkpoint: str
    version: int
    size_bytes: int
    is_gone: bool
    goes_because: GoesBecause | None
    kept_because: KeptBecause | None
    why: str
    freed_bytes: int
    copies_elsewhere: int
    directories: tuple[str, ...]


class CollectResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """What went, and what stays.

    Attributes:
        is_on: A rule of ``[retention]`` lets versions go.
        removed: How many versions went, or would.
        freed_bytes: How much that freed, or would.
        kept: How many stay for what reason.
        short_bytes: What is short of ``min_free`` all the same, by root; as it was seen last.
        is_dry_run: Nothing was done: so it would be.
    """

    is_on: bool
    removed: int
    freed_bytes: int
    kept: Mapping[str, int]
    short_bytes: Mapping[str, int]
    is_dry_run: bool


CollectEvent: TypeAlias = CollectedRow | CollectResult

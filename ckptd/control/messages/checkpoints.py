"""Versions of checkpoints that are held, and publishing them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ckptd.model.words import Location


class CheckpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version that this node or a peer holds.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Its identity.
        size_bytes: Length of the whole version.
        held: ``here`` if this node holds all of it.
        is_complete: Every block can be had, here or from reachable peers together.
        is_stale: Published here, but its files changed since.
        nodes: Who holds all of it, this node included, sorted.
        directory: Where it stands on this node; ``None`` if it does not.
        units: How many units; ``None`` if the manifest is not here.
        critical_bytes: Bytes of its critical units; ``None`` likewise.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    held: Location
    is_complete: bool
    is_stale: bool
    nodes: tuple[str, ...]
    directory: str | None = None
    units: int | None = None
    critical_bytes: int | None = None


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hash a directory and serve it in place.

    Attributes:
        directory: Absolute path, below a root.
        checkpoint: Name to publish it under.
        version: Which version it is.
        critical: Patterns of the paths that are critical.
        deferred: Patterns of the paths that can wait.
        replace: The version may be held already with other content.
    """

    directory: str
    checkpoint: str
    version: int
    critical: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    replace: bool = False


class PublishProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a directory is hashed."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


class PublishResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """A version is published.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Its identity.
        size_bytes: Length of the whole version.
        units: How many units.
        is_new: It was not held before with the same content.
        directory: Where it stands.
        duration_s: How long that took.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    units: int
    is_new: bool
    directory: str
    duration_s: float


PublishEvent: TypeAlias = PublishProgress | PublishResult

"""Versions that are let go: withdrawn from the offer, forgotten, removed with their files."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class LetGoRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Withdraw or forget versions; their files stay.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version; ``None``: all of them that are here.
        place: Absolute path of the directory that it concerns; ``None``: wherever they stand.
        is_dry_run: Only say what would be done.
    """

    checkpoint: str
    version: int | None = None
    place: str | None = None
    is_dry_run: bool = False


class LetGoRow(msgspec.Struct, frozen=True, kw_only=True):
    """One place of a version that was let go.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Digest of its manifest.
        size_bytes: Length of the whole version.
        directory: Where it stands.
        is_elsewhere: It stands on this node at another place, too, and stays on offer from there.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    directory: str
    is_elsewhere: bool


class LetGo(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions were withdrawn or forgotten.

    Attributes:
        places: Each place of each of them; of a withdrawal those that were not withdrawn before.
        is_dry_run: Nothing was done: so it would be.
    """

    places: tuple[LetGoRow, ...]
    is_dry_run: bool


class RemoveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Remove a version with its files.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        place: Absolute path of the directory to remove it from; ``None``: wherever it stands.
        overwrite: Also remove files that were changed since they were published or recovered.
        is_dry_run: Only say what would be done.
    """

    checkpoint: str
    version: int
    place: str | None = None
    overwrite: bool = False
    is_dry_run: bool = False


class RemoveProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a version is examined: files that look different are hashed before any is removed."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


class RemovedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One place that a version was removed from.

    Attributes:
        digest: Digest of its manifest.
        directory: Where it stood.
        files: How many files and symbolic links were removed.
        removed_bytes: Length of the files together; what a link leads to stays.
        changed: Units among them whose files had been changed, at most 20.
        kept: Units whose files changed in the meantime, and stay; at most 20.
        is_directory_gone: The directory went, too; else something else is in it.
    """

    digest: str
    directory: str
    files: int
    removed_bytes: int
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    is_directory_gone: bool


class RemoveResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """A version was removed.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        places: Each place that it was removed from.
        is_dry_run: Nothing was done: so it would be.
    """

    checkpoint: str
    version: int
    places: tuple[RemovedRow, ...]
    is_dry_run: bool


RemoveEvent: TypeAlias = RemoveProgress | RemoveResult

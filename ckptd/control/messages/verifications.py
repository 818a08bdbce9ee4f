"""Hashing again what this node has on offer."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hash everything on offer again, or some of it.

    Attributes:
        checkpoint: Name of the checkpoint; ``None``: all of them.
        version: Which version of it; ``None``: all of them.
        repair: Put right what is wrong or missing: by a recovery for each directory.
    """

    checkpoint: str | None = None
    version: int | None = None
    repair: bool = False


class VerifyProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far it is, in everything that was asked for."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


class BadUnit(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="unit"):
    """A unit that is not what was published, or cannot be read.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Digest of its manifest.
        directory: The directory of the place.
        path: The unit's path in it.
        is_changed: It is known not to be right; otherwise it could not be read to its end.
        is_rotten: Its file looks as it did when it was right.
        why: What is wrong, a sentence.
    """

    checkpoint: str
    version: int
    digest: str
    directory: str
    path: str
    is_changed: bool
    is_rotten: bool
    why: str


class RepairBegun(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="repair"):
    """What is wrong in a directory is being put right.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        directory: The directory.
        recovery: The recovery that does it, in the background.
    """

    checkpoint: str
    version: int
    directory: str
    recovery: str


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """Everything that was asked for was hashed.

    Attributes:
        places: Directories that were looked through.
        units: Units that were hashed.
        read_bytes: How much was read; holes are not.
        changed_units: Units that are not what was published.
        unread_units: Units that could not be read to their end.
        duration_s: How long it took.
    """

    places: int
    units: int
    read_bytes: int
    changed_units: int
    unread_units: int
    duration_s: float


VerifyEvent: TypeAlias = VerifyProgress | BadUnit | RepairBegun | VerifyResult

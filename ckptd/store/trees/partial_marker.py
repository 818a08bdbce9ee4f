"""The file that says what a version lacks that is here in part: ``.ckptd-partial.json`` beside it.

It appears and goes with the units: before a directory gets its final name, and after the last file
of one that stands already was put right. A directory that has it is not published, for whoever
loads from it must not take it for everything that was saved.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import msgspec

from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest
from ckptd.store.files.layout import PARTIAL_MARKER, inside
from ckptd.store.files.roots import Root
from ckptd.store.trees.own_files import move_own, remove_own, stage_own

LISTED_MAX: Final = 10_000
"""Units that are listed, at about 100 bytes each; the others are counted."""


def describe_partial(
    manifest: Manifest,
    digest: Digest,
    left_out: Collection[int],
    *,
    at_s: float,
    is_by_choice: bool = False,
) -> bytes:
    """Say what a version is placed without, as JSON for people and programs.

    Args:
        manifest: What it should consist of.
        digest: Its identity.
        left_out: Units that are missing, by index.
        at_s: The moment, in Unix time.
        is_by_choice: Nobody asked for the required ones of them.

    Returns:
        The content of the marker; empty if no required unit is missing.
    """
    missing = [manifest.units[unit] for unit in sorted(left_out)]
    if all(unit.is_optional for unit in missing):
        return b""
    why = "has only units that were chosen" if is_by_choice else "lacks required units"
    said = {
        "what": f"This directory {why} of the version. 'ckptctl recover' of the same version to "
        "the same directory brings the others, and removes this file.",
        "is_by_choice": is_by_choice,
        "checkpoint": manifest.checkpoint,
        "version": manifest.version,
        "digest": digest,
        "placed_at": datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds"),
        "missing_units": len(missing),
        "missing_bytes": sum(unit.size_bytes for unit in missing),
        "missing": [
            {"path": unit.path, "size_bytes": unit.size_bytes, "is_optional": unit.is_optional}
            for unit in missing[:LISTED_MAX]
        ],
    }
    return msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n"


def write_marker(tree: Root, content: bytes) -> None:
    """Put a marker into a staging directory, durably but for its name.

    Raises:
        StorageError: The system refused.
    """
    stage_own(tree, PARTIAL_MARKER, content)


def move_marker(root: Root, tree: Root, target: str) -> None:
    """Move the marker from a staging directory to where its version stands, over an older one.

    Raises:
        StorageError: The system refused.
    """
    move_own(root, tree, PARTIAL_MARKER, target)


def remove_marker(root: Root, target: str) -> None:
    """Remove the marker of a version that lacks nothing any more.

    Raises:
        StorageError: The system refused.
    """
    if root.stat(inside(target, PARTIAL_MARKER)) is not None:
        remove_own(root, PARTIAL_MARKER, target)

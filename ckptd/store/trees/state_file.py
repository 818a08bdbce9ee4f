"""The file that says how far a version is that is placed phase by phase: ``.ckptd-state.json``.

It is for readers without the daemon's socket: beside the units, replaced by one rename, and never
ahead of them. A phase is complete there once all required units of it stand under their names and
are durable; commit markers of the format are not counted, for they come last of all. What it says
stays true when the recovery ends, however that is.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ckptd.errors import Conflict
from ckptd.model.completeness import is_commit_marker
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.manifest import Manifest
from ckptd.store.files.layout import STATE_FILE, inside
from ckptd.store.files.roots import Root
from ckptd.store.files.version_state import STATE_FORMAT, PhaseState, VersionState, read_state
from ckptd.store.trees.directories import make_staging
from ckptd.store.trees.own_files import move_own, remove_own, stage_own

DescribeState: TypeAlias = Callable[[Callable[[int], bool], int], bytes]
"""Says how far one version is while its recovery goes on, as :func:`describe_state` does."""


def describe_state(
    manifest: Manifest,
    digest: Digest,
    is_here: Callable[[int], bool],
    phases_placed: int,
    *,
    is_under_way: bool,
) -> bytes:
    """Say how far a version is.

    Args:
        manifest: What it consists of.
        digest: Its identity.
        is_here: Says whether a unit stands under its name.
        phases_placed: So many phases were placed; no other is complete.
        is_under_way: A recovery goes on.

    Returns:
        What the file says, as JSON.
    """
    counts = [0] * len(manifest.phases)
    here = [0] * len(manifest.phases)
    lacks = [False] * len(manifest.phases)
    is_whole = True
    for index, unit in enumerate(manifest.units):
        counts[unit.phase] += 1
        if is_here(index):
            here[unit.phase] += 1
        elif not unit.is_optional:
            is_whole = False
            lacks[unit.phase] |= not is_commit_marker(unit.path)
    said = VersionState(
        format=STATE_FORMAT,
        checkpoint=CheckpointName(manifest.checkpoint),
        version=Version(manifest.version),
        digest=digest,
        complete=is_whole and not is_under_way,
        under_way=is_under_way,
        units=sum(counts),
        units_placed=sum(here),
        phases=tuple(
            PhaseState(
                name, number < phases_placed and not lacks[number], counts[number], here[number]
            )
            for number, name in enumerate(manifest.phases)
        ),
    )
    return _encoded(said)


def _encoded(said: VersionState) -> bytes:
    return msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n"


def stage_state(tree: Root, content: bytes) -> None:
    """Put the file into a staging directory, durably but for its name.

    Raises:
        StorageError: The system refused.
    """
    stage_own(tree, STATE_FILE, content)


def replace_state(root: Root, staging: str, directory: str, content: bytes) -> None:
    """Replace the file in a version's directory, or make it, by one rename. Durable.

    Args:
        root: Where the version stands.
        staging: A recovery's directory, for what is renamed; made if it is not there.
        directory: The version's.
        content: What the file is to say.

    Raises:
        Conflict: What has its name was not written by ckptd.
        StorageError: The system refused.
    """
    path = inside(directory, STATE_FILE)
    facts = root.stat(path)
    is_regular = facts is not None and stat.S_ISREG(facts.st_mode)
    if facts is not None and not (is_regular and read_state(root, directory)):
        raise Conflict(
            f"file {root.absolute(path)}",
            "is in the way: it was not written by ckptd, which says there how far a version is",
            "Move it away.",
        )
    tree = make_staging(root, staging)
    try:
        stage_state(tree, content)
        move_own(root, tree, STATE_FILE, directory)
    finally:
        tree.close()


def note_ended(root: Root, staging: str, directory: str) -> None:
    """Have the file say that no recovery brings the rest, if one did.

    Args:
        root: Where the version stands.
        staging: As for :func:`replace_state`.
        directory: The version's.

    Raises:
        StorageError: The system refused.
    """
    said = read_state(root, directory)
    if said is not None and said.under_way:
        said = msgspec.structs.replace(said, under_way=False)
        replace_state(root, staging, directory, _encoded(said))


def remove_state(root: Root, directory: str) -> None:
    """Remove the file, if ckptd wrote it.

    Raises:
        StorageError: The system refused.
    """
    if read_state(root, directory) is not None:
        remove_own(root, STATE_FILE, directory)

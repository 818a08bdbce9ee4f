"""What the state file in a version's directory says; ``store/trees/state_file.py`` writes it."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from ckptd.errors import NotFound
from ckptd.limits import KIB
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.layout import STATE_FILE, inside
from ckptd.store.files.roots import Root

STATE_FORMAT: Final = 1
_BYTES_MAX: Final = 64 * KIB
"""More than the names of all phases of a version take."""


class PhaseState(msgspec.Struct, frozen=True):
    """How far a phase is.

    Attributes:
        name: What it is called.
        complete: All required units of it stand here, but for commit markers.
        units: How many units it has.
        units_placed: How many of those stand here.
    """

    name: str
    complete: bool
    units: int
    units_placed: int


class VersionState(msgspec.Struct, frozen=True):
    """What the file says.

    Attributes:
        format: 1; a reader must refuse another number.
        checkpoint: What it is a version of.
        version: Which version.
        digest: Its identity.
        complete: All required units stand here, commit markers too, and all links.
        under_way: A recovery goes on bringing the rest; else that has ended.
        units: How many units the version has.
        units_placed: How many of those stand here.
        phases: How far each phase is, in order.
    """

    format: int
    checkpoint: CheckpointName
    version: Version
    digest: Digest
    complete: bool
    under_way: bool
    units: int
    units_placed: int
    phases: tuple[PhaseState, ...]


def read_state(root: Root, directory: str) -> VersionState | None:
    """Return what the file in a directory says; ``None``: there is none that this ckptd wrote.

    Raises:
        StorageError: The system refused.
    """
    try:
        fd = root.open_file(inside(directory, STATE_FILE), os.O_RDONLY)
    except NotFound:
        return None
    try:
        with mapping_os_errors(root.absolute(directory)):
            content = os.pread(fd, _BYTES_MAX + 1, 0)
    finally:
        os.close(fd)
    if len(content) > _BYTES_MAX:
        return None
    try:
        said = msgspec.json.decode(content, type=VersionState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return said if said.format == STATE_FORMAT else None

"""Where the demonstration works, and what it publishes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Final, NamedTuple

from ckptd.cli.demo.demo_checkpoint import SIZE_BYTES_MIN, files_below
from ckptd.errors import NotFound, OutOfSpace
from ckptd.limits import MIB
from ckptd.model.quantities import format_size

_SPACE_MARGIN_BYTES: Final = 256 * MIB
"""What the demonstration leaves of a file system."""
_ELSEWHERE: Final = "Name a directory with more: TMPDIR=/path ckptctl demo"


class Material(NamedTuple):
    """What is published.

    Attributes:
        directory: The version.
        root: Root of every source: holds the directory and whatever links in it lead to.
    """

    directory: str
    root: str


def root_of(directory: str) -> str:
    """Return the directory itself, or the one above it that its symbolic links stay within.

    Model caches keep files in one place and versions made of links in another.
    """
    targets = [
        os.path.realpath(os.path.join(inner, name))
        for inner, directories, names in os.walk(directory)
        for name in (*directories, *names)
        if os.path.islink(os.path.join(inner, name))
    ]
    return os.path.commonpath([directory, *targets])


def choose_place(free: Mapping[str, int], size_bytes: int, *, copies: int) -> tuple[str, int]:
    """Choose where to work: the first directory with enough room, else the roomiest.

    Args:
        free: Directories, best first, and how many bytes may be written there.
        size_bytes: How large a checkpoint is wanted.
        copies: How many of it must fit.

    Returns:
        The directory, and how large the checkpoint may be.

    Raises:
        OutOfSpace: There is no room worth mentioning anywhere.
    """
    room = {path: (left - _SPACE_MARGIN_BYTES) // copies for path, left in free.items()}
    for path, fitting_bytes in room.items():
        if fitting_bytes >= size_bytes:
            return path, size_bytes
    roomiest = max(room, key=lambda path: room[path], default="")
    if not roomiest or room[roomiest] < SIZE_BYTES_MIN:
        raise OutOfSpace(
            " and ".join(free) or "every directory for temporary files",
            "has too little room for a demonstration",
            _ELSEWHERE,
        )
    return roomiest, room[roomiest] // MIB * MIB


def places(forbidden_root: str = "") -> dict[str, int]:
    """Return writable directories for temporary files, and the bytes that are free in each.

    Args:
        forbidden_root: Directories in it are left out: no daemon's files may lie in a root.
    """
    found = dict.fromkeys((tempfile.gettempdir(), "/var/tmp"))  # noqa: S108  only looked at
    return {
        path: shutil.disk_usage(path).free
        for path in map(os.path.realpath, found)
        if os.access(path, os.W_OK | os.X_OK)
        and not (forbidden_root and os.path.commonpath([path, forbidden_root]) == forbidden_root)
    }


def place_beside(material: Material) -> str:
    """Choose where to work with somebody's directory.

    Raises:
        OutOfSpace: A second copy fits nowhere.
    """
    size_bytes = sum(facts.st_size for facts in files_below(material.directory).values())
    place, fitting_bytes = choose_place(places(material.root), size_bytes, copies=1)
    if fitting_bytes < size_bytes:
        raise OutOfSpace(place, f"has no room for another {format_size(size_bytes)}", _ELSEWHERE)
    return place


def material_of(directory: str) -> Material:
    """Return somebody's directory as what is published.

    Raises:
        NotFound: There is no such directory.
    """
    path = os.path.realpath(directory)
    if not os.path.isdir(path):
        raise NotFound(f"directory {directory}", "does not exist")
    return Material(path, root_of(path))

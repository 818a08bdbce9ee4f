"""Paths of a version: each is below its directory, and none is a directory of another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckptd.errors import InvalidManifest
from ckptd.limits import PATH_BYTES_MAX, PATH_COMPONENT_BYTES_MAX, PATH_DEPTH_MAX

RESERVED_PREFIX: Final = ".ckptd"
"""No path of a unit begins with it: such names in a version's directory are ckptd's own."""


def check_path(path: str) -> None:
    """Check that a path names something strictly below a directory, on any file system.

    Raises:
        InvalidManifest: Absolute, empty, ``.`` or ``..`` components, control characters, not
            UTF-8, too long, or reserved for ckptd's own files.
    """
    if is_plain(path):
        return
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise invalid(f"has the path {path[:80]!r}, which is not UTF-8") from error
    shown = repr(path[:80])
    if not 0 < len(encoded) <= PATH_BYTES_MAX:
        raise invalid(f"has a path of {len(encoded)} bytes, not 1 to {PATH_BYTES_MAX}: {shown}")
    if any(character < " " or character == "\x7f" for character in path):
        raise invalid(f"has control characters in the path {shown}")
    if path.startswith(RESERVED_PREFIX):
        raise invalid(
            f"has the path {shown}: names that begin with {RESERVED_PREFIX} are ckptd's own"
        )
    components = path.split("/")
    if len(components) > PATH_DEPTH_MAX:
        raise invalid(f"has a path of more than {PATH_DEPTH_MAX} components: {shown}")
    for component in components:
        if component in {"", ".", ".."}:
            raise invalid(f"has the path {shown}, which leads out of the version's directory")
        if len(component.encode()) > PATH_COMPONENT_BYTES_MAX:
            raise invalid(
                f"has a path component of more than {PATH_COMPONENT_BYTES_MAX} bytes: {shown}"
            )


def is_plain(path: str) -> bool:
    """Return whether a path is of the kind that nearly all are, and right; ten times faster."""
    return (
        path.isascii()
        and path.isprintable()
        and 0 < len(path) <= PATH_COMPONENT_BYTES_MAX
        and path[0] not in "/."
        and path[-1] != "/"
        and "//" not in path
        and "/." not in path
        and path.count("/") < PATH_DEPTH_MAX
    )


class PathTree:
    """Paths in ascending order, none of them twice, none of them a directory of another.

    All that begin with a path follow it without a gap. So those that the latest one begins with
    are all that it can be below of.
    """

    def __init__(self) -> None:
        self._beginnings: list[str] = []
        self._lengths: set[int] = set()

    def take(self, path: str) -> None:
        """Take the next one.

        Raises:
            InvalidManifest: It is there already, or another one is a directory of it.
        """
        beginnings = self._beginnings
        while beginnings and not path.startswith(beginnings[-1]):
            self._lengths.discard(len(beginnings.pop()))
        if beginnings:
            if beginnings[-1] == path:
                raise invalid("lists a path twice")
            self._check_directories(path, len(beginnings[-1]))
        beginnings.append(path)
        self._lengths.add(len(path))

    def _check_directories(self, path: str, longest: int) -> None:
        end = path.find("/", 0, longest + 1)
        while end >= 0:
            if end in self._lengths:
                raise invalid(f"has {path[:end][:80]!r} as a file and as a directory")
            end = path.find("/", end + 1, longest + 1)


def directories_of(paths: Iterable[str]) -> list[str]:
    """Return every directory on the way to some files, parents first, without ``""``."""
    found: set[str] = set()
    for path in paths:
        directory = path.rpartition("/")[0]
        while directory and directory not in found:
            found.add(directory)
            directory = directory.rpartition("/")[0]
    return sorted(found)


def invalid(problem: str) -> InvalidManifest:
    """Return the error that a manifest breaks a rule."""
    return InvalidManifest("manifest", problem)

"""Very many paths in little memory: their bytes in pieces, in the order in which they came."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, overload

_PIECE_PATHS: Final = 256
"""So many are together: one is found by splitting as many, and few are objects at once."""
_BETWEEN: Final = "\0"
_NUMBER_BITS: Final = 24
_NUMBER: Final = 2**_NUMBER_BITS - 1
_HASH: Final = 2 ** (64 - _NUMBER_BITS) - 1
_PART_SHIFT: Final = 58
_PARTS: Final = 2 ** (64 - _PART_SHIFT)
"""Rows are sorted in so many parts: one call for all keeps other threads out for too long."""


class PackedPaths(Sequence[str]):
    """Paths, none of which has a NUL byte in it.

    Whoever makes them may append more until others have them. Then any thread may read.

    Args:
        paths: What to begin with; gone through once.
    """

    __slots__ = ("_last", "_latest", "_pieces")

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._pieces: list[bytes] = []
        self._last: list[str] = []  # not enough for a piece
        self._latest: tuple[int, list[str]] | None = None  # in one piece: threads share it
        for path in paths:
            self.append(path)

    def append(self, path: str) -> None:
        """Add a path behind the others."""
        self._last.append(path)
        if len(self._last) == _PIECE_PATHS:
            self._pieces.append(_BETWEEN.join(self._last).encode(errors="surrogateescape"))
            self._last = []

    def __len__(self) -> int:
        return len(self._pieces) * _PIECE_PATHS + len(self._last)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"path {index} of {count}")
        number, within = divmod(index % count, _PIECE_PATHS)
        if number == len(self._pieces):
            return self._last[within]
        latest = self._latest
        if latest is None or latest[0] != number:
            self._latest = latest = number, _split(self._pieces[number])
        return latest[1][within]

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            yield from _split(piece)
        yield from self._last


class PathIndex:
    """Finds out whether a path is one of very many: eight bytes for each, a few microseconds.

    Args:
        paths: Which ones.
    """

    __slots__ = ("_paths", "_rows")

    def __init__(self, paths: PackedPaths) -> None:
        assert len(paths) <= _NUMBER, "a row has no room for the number of a path"
        parts, before = [array("Q") for _ in range(_PARTS)], ""
        for number, path in enumerate(paths):
            row = _row(path, number)
            parts[row >> _PART_SHIFT].append(row)
            directory = path.rpartition("/")[0]
            if directory != before:
                for each in _new_directories(directory, before):
                    row = _row(each, number)
                    parts[row >> _PART_SHIFT].append(row)
                before = directory
        self._paths = paths
        self._rows = array("Q")
        for part in parts:
            self._rows.extend(sorted(part))

    def has(self, path: str) -> bool:
        """Return whether a path is one of them, or a directory above one."""
        first = _row(path, 0)
        for at in range(bisect_left(self._rows, first), len(self._rows)):
            number = self._rows[at] - first
            if number > _NUMBER:
                return False
            found = self._paths[number]
            if found == path or found.startswith(f"{path}/"):
                return True
        return False


def _row(path: str, number: int) -> int:
    """Return a number whose first bits are of a path's text, and the others say which it is."""
    return (hash(path) & _HASH) << _NUMBER_BITS | number


def _new_directories(directory: str, before: str) -> Iterator[str]:
    """Yield a directory and those above it, but those in which another one is."""
    while directory and not f"{before}/".startswith(f"{directory}/"):
        yield directory
        directory = directory.rpartition("/")[0]


def _split(piece: bytes) -> list[str]:
    return piece.decode(errors="surrogateescape").split(_BETWEEN)

"""Very many paths in little memory: their bytes in pieces, in the order in which they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, overload

_PIECE_PATHS: Final = 256
"""So many are together: one is found by splitting as many, and few are objects at once."""
_BETWEEN: Final = "\0"


class PackedPaths(Sequence[str]):
    """Paths, none of which has a NUL byte in it.

    Args:
        paths: Which ones; gone through once.
    """

    __slots__ = ("_count", "_latest", "_pieces")

    def __init__(self, paths: Iterable[str]) -> None:
        self._pieces: list[bytes] = []
        self._count = 0
        self._latest: tuple[int, list[str]] | None = None  # in one piece: threads share it
        coming = iter(paths)
        while piece := list(islice(coming, _PIECE_PATHS)):
            self._pieces.append(_BETWEEN.join(["", *piece, ""]).encode(errors="surrogateescape"))
            self._count += len(piece)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(self._count)))
        if not -self._count <= index < self._count:
            raise IndexError(f"path {index} of {self._count}")
        number, within = divmod(index % self._count, _PIECE_PATHS)
        latest = self._latest
        if latest is None or latest[0] != number:
            self._latest = latest = number, _split(self._pieces[number])
        return latest[1][within]

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            yield from _split(piece)

    def has(self, path: str) -> bool:
        """Return whether a path is one of them, or a directory above one. Cost: O(bytes)."""
        encoded = path.encode(errors="surrogateescape")
        one, above = b"\0" + encoded + b"\0", b"\0" + encoded + b"/"
        return any(one in piece or above in piece for piece in self._pieces)


def _split(piece: bytes) -> list[str]:
    return piece.decode(errors="surrogateescape").split(_BETWEEN)[1:-1]

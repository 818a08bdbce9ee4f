"""Draws inputs: takes one that is known apart, changes a little, and puts it together again."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Final

from tests.fuzz.targets import Target, join_tree, split_tree

_POOL_MAX: Final = 1024
_NUMBER: Final = re.compile(rb"\d+")
_NUMBERS: Final = (
    0, 1, -1, 31, 32, 33, 127, 128, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    10**6, 10**6 + 1, 2**21, 2**21 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63),
)  # fmt: skip
_VALUES: Final[tuple[object, ...]] = (
    *_NUMBERS, None, True, False, 0.5, 1e308, "", "a", "..", "a/..", "all", "\x00", "x" * 300,
    "ab" * 32, b"", b"\0" * 32, [], {}, [[]], [[0, 1]], [[0, 1]] * 100, {"": ""},
)  # fmt: skip

Tree = dict[object, object] | list[object]


class Mutator:
    """Draws inputs for a target; the same seed draws the same.

    Args:
        target: What reads them.
        seed: Of the draws.
    """

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._rng = Random(seed)
        self._pool = list(target.seeds())
        self._rough = (
            self._flip, self._cut, self._double, self._insert, self._renumber, self._splice,
        )  # fmt: skip
        self._fine: tuple[Callable[[bytes], bytes], ...] = {
            "bytes": (),
            "lines": (self._move_lines, self._insert_line),
            "json": (self._change_tree,),
            "msgpack": (self._change_tree,),
        }[target.grain]

    def draw(self) -> bytes:
        """Return the next input."""
        rng = self._rng
        data = rng.choice(self._pool)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
            steps = self._fine if self._fine and rng.random() < 0.6 else self._rough
            # Each time: lines repeated 300 times, five times over, would be more than any memory.
            data = rng.choice(steps)(data)[: self._target.input_bytes_max]
        return data

    def keep(self, data: bytes) -> None:
        """Draw from an input as well: it was refused or accepted in a new place."""
        if len(self._pool) < _POOL_MAX:
            self._pool.append(data)

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return b"\0"
        changed = bytearray(data)
        at = self._rng.randrange(len(data))
        changed[at] = self._rng.choice((changed[at] ^ 1 << self._rng.randrange(8), 0, 32, 255))
        return bytes(changed)

    def _span(self, data: bytes) -> tuple[int, int]:
        start = self._rng.randint(0, len(data))
        return start, min(len(data), start + int(2 ** (self._rng.random() * 8)))

    def _cut(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[end:] if self._rng.random() < 0.8 else data[:start]

    def _double(self, data: bytes) -> bytes:
        start, end = self._span(data)
        times = self._rng.choice((2, 2, 2, 3, 33, 1000))
        room = self._target.input_bytes_max // max(end - start, 1)
        return data[:start] + data[start:end] * min(times, room) + data[end:]

    def _insert(self, data: bytes) -> bytes:
        start, end = self._span(data)
        word = self._rng.choice(self._target.words)
        return data[:start] + word + data[end if self._rng.random() < 0.3 else start :]

    def _renumber(self, data: bytes) -> bytes:
        found = list(_NUMBER.finditer(data))
        if not found:
            return self._insert(data)
        at = self._rng.choice(found)
        return data[: at.start()] + b"%d" % self._rng.choice(_NUMBERS) + data[at.end() :]

    def _splice(self, data: bytes) -> bytes:
        other = self._rng.choice(self._pool)
        return data[: self._span(data)[0]] + other[self._span(other)[0] :]

    def _move_lines(self, data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        if not lines:
            return self._insert(data)
        line = lines.pop(self._rng.randrange(len(lines)))
        for _ in range(self._rng.choice((0, 1, 2, 2, 33, 300))):
            lines.insert(self._rng.randint(0, len(lines)), line)
        return b"".join(lines)

    def _insert_line(self, data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        at = self._rng.randint(0, len(lines))
        lines.insert(at, self._rng.choice(self._target.words))
        return b"".join(lines)

    def _change_tree(self, data: bytes) -> bytes:
        try:
            before, tree = split_tree(self._target, data)
        except ValueError:
            return self._flip(data)
        places = list(_places(tree))
        if not places:
            return self._insert(data)
        for _ in range(self._rng.choice((1, 1, 2, 4))):
            self._change_place(*self._rng.choice(places))
        try:
            return join_tree(self._target, before, tree)
        except ValueError:
            return self._flip(data)

    def _change_place(self, parent: Tree, key: int | str) -> None:
        rng = self._rng
        if isinstance(parent, list):
            at = int(key)
            if at >= len(parent):
                return  # an earlier change took it
            match rng.randrange(4):
                case 0:
                    del parent[at]
                case 1:
                    parent[at:at] = [parent[at]] * rng.choice((1, 2, 50))
                case 2:
                    parent.reverse()
                case _:
                    parent[at] = rng.choice(_VALUES)
            return
        match rng.randrange(4):
            case 0:
                parent.pop(key, None)
            case 1:
                parent[str(key) + "x"] = parent.get(key)
            case 2:
                parent[key] = rng.choice(list(parent.values()) or [None])
            case _:
                parent[key] = rng.choice(_VALUES)


def _places(tree: object) -> list[tuple[Tree, int | str]]:
    """Return every place of a document: what holds it, and under which key."""
    found: list[tuple[Tree, int | str]] = []
    pending = [tree]
    while pending and len(found) < 500:
        node = pending.pop()
        if isinstance(node, dict):
            found += ((node, key) for key in node)
            pending += node.values()
        elif isinstance(node, list):
            found += ((node, at) for at in range(len(node)))
            pending += node
    return found

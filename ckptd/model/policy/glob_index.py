"""Many patterns against many paths: of each path only those are tried that begin as it does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ckptd.model.patterns import compile_pattern

_SPECIAL: Final = re.compile(r"[*?\[]")


class GlobIndex:
    """Patterns that have a number, which several may share.

    Recognisers propose rules for each of many directories: a thousand of them, tried one after
    another on half a million paths, take minutes; those of the other directories fall away here.

    Args:
        globs: Each with its number.
    """

    def __init__(self, globs: Iterable[tuple[int, str]]) -> None:
        self._by_length: dict[int, dict[str, list[tuple[int, str, re.Pattern[str]]]]] = {}
        for number, glob in globs:
            special = _SPECIAL.search(glob)
            beginning = glob[: special.start()] if special else glob
            same_length = self._by_length.setdefault(len(beginning), {})
            same_length.setdefault(beginning, []).append((number, glob, compile_pattern(glob)))

    def matching(self, names: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield the patterns that match any of some names, with their numbers, in no order.

        One that matches several of the names comes several times.
        """
        for name in names:
            for length, beginnings in self._by_length.items():
                for number, glob, pattern in beginnings.get(name[:length], ()):
                    if pattern.match(name):
                        yield number, glob

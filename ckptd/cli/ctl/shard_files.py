"""Which files of a directory belong to which shard, where several ranks saved into it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Final

from ckptd.errors import NotFound, UsageError
from ckptd.limits import SHARDS_MAX
from ckptd.model.patterns import compile_pattern, escape_pattern

MARK: Final = "{shard}"
"""Where the number of the shard stands in a pattern."""


class ShardFiles:
    """Reads the numbers of shards in the paths of files.

    Args:
        pattern: A pattern for paths with one ``{shard}`` in it: digits, zeros before them or not.

    Raises:
        UsageError: It has none, or several.
    """

    def __init__(self, pattern: str) -> None:
        if pattern.count(MARK) != 1:
            raise UsageError(
                f"pattern {pattern[:80]!r}",
                f"does not have one {MARK} where the number of the shard stands",
                f"Write it so: --shards-by 'zero_pp_rank_{MARK}_*.pt'.",
            )
        self._before, _, self._behind = pattern.partition(MARK)
        before, behind = compile_pattern(self._before), compile_pattern(self._behind)
        self._form = re.compile(f"{_inner(before)}([0-9]+){_inner(behind)}", re.ASCII | re.DOTALL)

    def numbers(self, paths: Iterable[str]) -> dict[int, set[str]]:
        """Return the digits by which each shard goes, by its number.

        Raises:
            NotFound: No path has any.
            UsageError: More than a job can have.
        """
        found: dict[int, set[str]] = {}
        for path in paths:
            match = self._form.fullmatch(path)
            if match is None:
                continue
            if int(match[1]) >= SHARDS_MAX:
                raise UsageError(
                    f"file {path[-80:]!r}", f"has a number that is not below {SHARDS_MAX}"
                )
            found.setdefault(int(match[1]), set()).add(match[1])
        if not found:
            raise NotFound(
                f"pattern {self._before}{MARK}{self._behind}",
                "matches no file of the directory",
                "Patterns are compared with paths relative to the directory.",
            )
        return found

    def of_others(self, numbers: dict[int, set[str]], shard: int) -> tuple[str, ...]:
        """Return patterns of the files of all other shards."""
        return tuple(
            f"{self._before}{escape_pattern(digits)}{self._behind}"
            for number, texts in sorted(numbers.items())
            if number != shard
            for digits in sorted(texts)
        )


def _inner(pattern: re.Pattern[str]) -> str:
    """Return the expression of a pattern without what holds it to the ends of a text."""
    return pattern.pattern.removeprefix("(?s:").removesuffix(r")\Z")


def paths_below(directory: str) -> Iterator[str]:
    """Yield the paths of all files below a directory, relative to it.

    Raises:
        NotFound: It cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise NotFound(f"directory {directory}", f"cannot be read: {error.strerror}") from error

    for path, _, names in os.walk(directory, onerror=refuse):
        inside = os.path.relpath(path, directory)
        yield from (name if inside == "." else f"{inside}/{name}" for name in names)

"""What is proposed of a directory whose format is known, and what recognisers have in common.

A recogniser is given names and sizes, and reads a file only where a format says there what is in
the others. It returns rules, each with its reason; of several formats in one directory each says
its part. What no rule names is needed with the weights: nobody knows that it is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ckptd.model.patterns import compile_pattern, escape_pattern
from ckptd.model.policy.recognition import RECOGNISED
from ckptd.model.policy.rules import Rule
from ckptd.model.words import Criticality

CORE: Final = "core"
"""The phase of weights, and of what is read to load them."""
REST: Final = "rest"
"""The phase of what only a job that goes on training needs, or nobody has to have."""
DIRECTORIES_MAX: Final = 64
"""Directories of a format that rules are made for; each rule is compared with each path."""
_NAMED_MAX: Final = 64
"""Files of a kind that can come later and are named one by one."""


class Tree:
    """The files of a version by the directories that they are in.

    Args:
        sizes: Length of each file, by its path.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.names: dict[str, set[str]] = {}
        for path in sizes:
            parent, _, name = path.rpartition("/")
            self.names.setdefault(parent, set()).add(name)

    def with_any(self, pattern: re.Pattern[str]) -> list[str]:
        """Return the first directories in which a name is of a kind, the deepest of them first.

        The rules of a directory come before those of the directories above it, whose patterns
        match below it as well.
        """
        return deepest_first(
            directory
            for directory, names in self.names.items()
            if any(map(pattern.fullmatch, names))
        )


def deepest_first(directories: Iterable[str]) -> list[str]:
    """Return the first few directories, each before those that it lies in."""
    chosen = sorted(directories)[:DIRECTORIES_MAX]
    return sorted(chosen, key=lambda each: (-each.count("/") - bool(each), each))


@dataclass(frozen=True, slots=True)
class Kind:
    """Files of a format that are needed for the same thing.

    Attributes:
        globs: Patterns of their names.
        phase: When they are useful.
        criticality: How urgent they are then.
        why: What they are, for people.
        is_optional: Nobody has to have them; ``None``: nothing is said of that.
    """

    globs: tuple[str, ...]
    phase: str
    criticality: Criticality
    why: str
    is_optional: bool | None = None


def loading(why: str, *globs: str) -> Kind:
    """Return a kind of files that are read before any weights."""
    return Kind(globs, CORE, Criticality.CRITICAL, why)


def weights(why: str, *globs: str) -> Kind:
    """Return a kind of files that have weights."""
    return Kind(globs, CORE, Criticality.NORMAL, why)


def later(why: str, *globs: str) -> Kind:
    """Return a kind of files that only a job needs that goes on."""
    return Kind(globs, REST, Criticality.DEFERRED, why)


def rules_of(
    format_name: str, directory: str, names: Iterable[str], kinds: Iterable[Kind]
) -> Iterator[Rule]:
    """Yield a rule for each kind of files that is in a directory.

    Args:
        format_name: Of the format, for people.
        directory: Which directory.
        names: What is in it; of several kinds that a name is of the first counts.
        kinds: What there can be.
    """
    left, below = set(names), escape_pattern(directory)
    for kind in kinds:
        found: list[str] = []
        for glob in kind.globs:
            matched = set(filter(compile_pattern(glob).match, left))
            if matched:
                left -= matched
                found += (path_in(below, each) for each in _narrow(kind, glob, matched))
        if found:
            yield rule_of(format_name, found, kind)


def _narrow(kind: Kind, glob: str, matched: set[str]) -> list[str]:
    """Return the names themselves of what can come later, unless those are many.

    A pattern matches below directories as well: of ``optim*`` also what is in ``optimal/``, which
    may be needed with the weights.
    """
    if kind.phase == CORE or len(matched) > _NAMED_MAX:
        return [glob]
    return [escape_pattern(name) for name in sorted(matched)]


def rule_of(
    format_name: str, paths: Iterable[str], kind: Kind, after: tuple[str, ...] | None = None
) -> Rule:
    """Return what is said of the files that any of some patterns matches.

    Args:
        format_name: Of the format, for people.
        paths: The patterns, of whole paths.
        kind: What they are.
        after: Patterns of what has to be visible before them; ``None``: nothing is said of that.
    """
    return Rule(
        tuple(paths),
        kind.phase,
        kind.criticality,
        after,
        kind.is_optional,
        f"{RECOGNISED}{format_name}: {kind.why}",
    )


def path_in(directory: str, name: str) -> str:
    """Return the path of a file in a directory of the version."""
    return f"{directory}/{name}" if directory else name

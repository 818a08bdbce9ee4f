"""Patterns: those that name units by their paths, and those that find a version in a name."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Final

from ckptd.errors import UsageError
from ckptd.limits import PATH_BYTES_MAX, VERSION_MAX
from ckptd.model.ids import Version, parse_version

LOG_NAMES: Final = ("*.log", "events.out.tfevents.*", "slurm-*.out")
"""Of files that jobs go on writing to beside their checkpoints: logs, TensorBoard's events."""


def is_log(path: str) -> bool:
    """Return whether a file is, by its name, one that a job goes on writing to."""
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in LOG_NAMES)


def check_pattern(pattern: str) -> str:
    """Check a pattern of paths that somebody wrote.

    Raises:
        UsageError: It is empty, or longer than any path.
    """
    if not pattern or len(pattern.encode(errors="surrogatepass")) > PATH_BYTES_MAX:
        problem = f"is empty, or has more than {PATH_BYTES_MAX} bytes"
        raise UsageError(f"pattern {pattern[:40]!r}", problem)
    return pattern


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern whose ``match`` is true for paths, relative to the version's directory.

    As of ``fnmatch``: ``*`` and ``?`` match ``/`` too, so ``optimizer/*`` is everything below
    that directory. Every text is a pattern.
    """
    return re.compile(fnmatch.translate(pattern))


def escape_pattern(path: str) -> str:
    """Return the pattern that one path matches and nothing else."""
    return re.sub(r"([*?[])", r"[\1]", path)


def version_from(expression: str, paths: Iterable[str]) -> Version:
    """Return the version that a name says, e.g. 1200 of ``checkpoint-1200``.

    The names of each path are looked at from the last to the first, so that a step in the name of
    the directory comes before one in that of its run.

    Args:
        expression: A regular expression with a group, which matches digits.
        paths: Where to look, in this order.

    Raises:
        UsageError: No such expression, or it finds no version.
    """
    subject = f"--version-from {expression[:80]!r}"
    try:
        pattern = re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(subject, f"is no regular expression: {error}") from error
    if pattern.groups != 1:
        raise UsageError(
            subject,
            f"has {pattern.groups} groups, not one",
            "Put the digits in brackets: 'checkpoint-([0-9]+)'; others are '(?:…)'.",
        )
    tried = list(paths)
    for path in tried:
        for name in reversed(path.split("/")):
            found = pattern.search(name)
            if found is None or found[1] is None:
                continue
            digits = found[1]
            if not (digits.isascii() and digits.isdigit()):
                raise UsageError(subject, f"finds {digits[:80]!r} in {name!r}, which is no number")
            if len(digits.lstrip("0")) > len(str(VERSION_MAX)):
                raise UsageError(subject, f"finds more digits in {name!r} than a version has")
            return parse_version(int(digits))
    raise UsageError(subject, f"finds nothing in {' or '.join(dict.fromkeys(tried))}")

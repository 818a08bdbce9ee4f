"""Patterns that name units by their paths: the same when publishing and when prioritizing."""

from __future__ import annotations

import fnmatch
import re


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern whose ``match`` is true for paths, relative to the version's directory.

    As of ``fnmatch``: ``*`` and ``?`` match ``/`` too, so ``optimizer/*`` is everything below
    that directory. Every text is a pattern.
    """
    return re.compile(fnmatch.translate(pattern))

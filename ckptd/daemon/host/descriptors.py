"""How many file descriptors this process has, and how many of them a listener may take."""

from __future__ import annotations

import os
import resource
from typing import NamedTuple


class Descriptors(NamedTuple):
    """Those of this process.

    Attributes:
        used: How many are open.
        limit: How many may be; ``RLIM_INFINITY``: as many as it wants.
    """

    used: int
    limit: int


def descriptors() -> Descriptors:
    """Count the descriptors of this process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        return Descriptors(len(os.listdir("/proc/self/fd")), limit)
    except OSError:  # there is none left to look with
        return Descriptors(limit, limit)


def affordable(wanted: int, *, one_in: int) -> int:
    """Return how many connections a listener may have, so that files and lanes can be opened too.

    Args:
        wanted: What it may have where there are enough descriptors.
        one_in: It gets no more than one in so many of them.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == resource.RLIM_INFINITY else max(min(wanted, limit // one_in), 1)

"""How much memory the cgroups of this process leave it: at the limit the kernel kills somebody.

What is recovered into a file system in memory counts against the limit of whoever wrote it, so the
room that the file system says it has may be more than can be used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_ROOT: Final = "/sys/fs/cgroup"
_TEXT_BYTES_MAX: Final = 16_384
_UNLIMITED_BYTES: Final = 2**62
"""Version 1 writes the largest multiple of a page for no limit."""
_NONE: Final = "max"


class _Layout(NamedTuple):
    """The files of one version of cgroups, and what a line of the statistics is called in it."""

    root: str
    limit: str
    used: str
    file: str
    memory: str


_UNIFIED: Final = _Layout("", "memory.max", "memory.current", "file", "shmem")
_OLDER: Final = _Layout(
    "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem"
)


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The tightest limit that counts for this process.

    Attributes:
        limit_bytes: What may be used.
        left_bytes: What is left of it, if the kernel drops all pages of files that it may drop.
        cgroup: Whose limit it is.
    """

    limit_bytes: int
    left_bytes: int
    cgroup: str


def memory_bytes() -> int:
    """Return how much memory this process can have: the machine's, or what its cgroups permit."""
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = memory_limit()
    return machine_bytes if limit is None else min(machine_bytes, limit.limit_bytes)


def memory_limit(root: str = _ROOT, own: str = "/proc/self/cgroup") -> MemoryLimit | None:
    """Return the limit that leaves the least; ``None`` if there is none, or none can be read.

    Args:
        root: Where the file systems of cgroups are mounted.
        own: Says in which cgroups this process is.
    """
    limits = [
        limit
        for layout, path in _own_groups(_read(own))
        for above in _with_ancestors(path)
        if (limit := _limit_of(root, layout, above)) is not None
    ]
    return min(limits, key=lambda limit: limit.left_bytes, default=None)


def _own_groups(text: str) -> Iterator[tuple[_Layout, str]]:
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield _UNIFIED, path
        elif "memory" in controllers.split(","):
            yield _OLDER, path


def _with_ancestors(path: str) -> Sequence[str]:
    """Return a cgroup and all above it; what is above a container's is not seen from inside."""
    names = [name for name in path.split("/") if name not in {"", "..", "."}]
    return ["/".join(names[:count]) for count in range(len(names), -1, -1)]


def _limit_of(root: str, layout: _Layout, path: str) -> MemoryLimit | None:
    directory = f"{root}{layout.root}/{path}"
    try:
        limit = _read(f"{directory}/{layout.limit}").strip()
        if limit in {"", _NONE} or int(limit) >= _UNLIMITED_BYTES:
            return None
        used = int(_read(f"{directory}/{layout.used}"))
        facts = dict(line.split()[:2] for line in _read(f"{directory}/memory.stat").splitlines())
        droppable = int(facts.get(layout.file, 0)) - int(facts.get(layout.memory, 0))
        left = int(limit) - used + max(droppable, 0)
    except ValueError:
        return None
    return MemoryLimit(int(limit), max(left, 0), f"/{path}")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(_TEXT_BYTES_MAX)
    except OSError:
        return ""

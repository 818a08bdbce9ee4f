"""Whether the memory that this node may use is enough, also for what is recovered into memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import failed, passed, warned
from ckptd.daemon.host.memory_limits import MemoryLimit, memory_limit
from ckptd.limits import MIB
from ckptd.model.holdings import Holding
from ckptd.model.quantities import format_size
from ckptd.store.files.roots import Root

OWN_BYTES: Final = 448 * MIB
"""What a daemon needs beside its lanes' buffers: docs/operating.md, "Memory". A manifest of the
largest size among it; not the units of versions of more than 100,000."""
_RAISE: Final = "raise MemoryMax in a drop-in (docs/operating.md, 'Memory')"


def judge_memory(
    limit: MemoryLimit | None,
    buffers_bytes: int,
    roots: Iterable[Root],
    largest: Holding | None,
) -> Iterable[CheckRow]:
    """Judge the limit of the cgroup.

    Args:
        limit: It; ``None``: there is none.
        buffers_bytes: What lanes may use.
        roots: Where versions stand.
        largest: The largest version that this node or a live peer has.
    """
    if limit is None:
        yield passed("memory", "this process", "has no limit but that of the machine")
        return
    needed_bytes = OWN_BYTES + buffers_bytes
    finding = f"may use {format_size(limit.limit_bytes)} (cgroup {limit.cgroup})"
    if limit.limit_bytes < needed_bytes:
        yield warned(
            "memory",
            "this process",
            f"{finding}, and may need {format_size(needed_bytes)}",
            f"Lower 'buffers', or {_RAISE}.",
        )
    else:
        yield passed("memory", "this process", finding)
    for root in roots:
        if root.is_in_memory() and largest is not None and limit.left_bytes < largest.size_bytes:
            yield failed(
                "memory",
                f"root {root.name}",
                f"is in memory, and {format_size(limit.left_bytes)} are left below the limit of "
                f"cgroup {limit.cgroup}: a recovery of {largest.checkpoint}@{largest.version} "
                f"({format_size(largest.size_bytes)}) would be killed",
                f"Use a root on a disk, or {_RAISE}.",
            )


async def look_at_memory(
    buffers_bytes: int, roots: Iterable[Root], holdings: Callable[[], Iterable[Holding]]
) -> AsyncGenerator[CheckRow, None]:
    """Look at the limit now; see :func:`judge_memory`."""
    largest = max(holdings(), key=lambda holding: holding.size_bytes, default=None)
    for row in judge_memory(memory_limit(), buffers_bytes, roots, largest):
        yield row

"""Says what the configuration asks for, by ``[[recover]]``, and why it did not come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import warned


async def look_at_unmet(unmet: Callable[[], Mapping[str, str]]) -> AsyncGenerator[CheckRow, None]:
    """Yield what did not come.

    Args:
        unmet: Returns why, by checkpoint or job.
    """
    for checkpoint, why in sorted(unmet().items()):
        yield warned(
            "recover",
            f"[[recover]] {checkpoint}",
            why,
            "Nothing that stands here was touched. Put that right: at = 'missing' tries again by "
            f"itself, else do it with 'ckptctl recover {checkpoint}'.",
        )

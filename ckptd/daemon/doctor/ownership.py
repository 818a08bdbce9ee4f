"""Whether what is recovered can be given to the owner that the configuration names."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import failed, passed
from ckptd.store.trees.ownership import REMEDY, Owner, giving_obstacle


async def look_at_owner(owner: Owner | None) -> AsyncGenerator[CheckRow, None]:
    """Try it, where one is named."""
    if owner is not None:
        yield judge_owner(owner, giving_obstacle(owner))


def judge_owner(owner: Owner, obstacle: str) -> CheckRow:
    """Judge whether recoveries could end.

    Args:
        owner: Whose everything becomes.
        obstacle: Why this process cannot do that; empty: it can.
    """
    if obstacle:
        return failed("owner", "recovered files", obstacle, REMEDY)
    user = "the daemon's user" if owner.uid is None else f"uid {owner.uid}"
    group = "the daemon's group" if owner.gid is None else f"gid {owner.gid}"
    return passed("owner", "recovered files", f"become {user}'s, with {group}")

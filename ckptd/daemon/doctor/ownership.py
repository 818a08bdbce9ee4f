"""Whether what is recovered can be given to the owner that the configuration names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import failed, passed
from ckptd.store.trees.ownership import REMEDY, Owner, giving_obstacle


async def look_at_owners(owners: Mapping[str, Owner | None]) -> AsyncGenerator[CheckRow, None]:
    """Try each that is named.

    Args:
        owners: Whose everything becomes, by root.
    """
    for owner in dict.fromkeys(owners.values()):
        if owner is not None:
            roots = [root for root, other in owners.items() if other == owner]
            where = "" if len(roots) == len(owners) else f" in {', '.join(roots)}"
            yield judge_owner(owner, giving_obstacle(owner), where)


def judge_owner(owner: Owner, obstacle: str, where: str = "") -> CheckRow:
    """Judge whether recoveries could end.

    Args:
        owner: Whose everything becomes.
        obstacle: Why this process cannot do that; empty: it can.
        where: In which roots, if not in all.
    """
    subject = f"recovered files{where}"
    if obstacle:
        return failed("owner", subject, obstacle, REMEDY)
    user = "the daemon's user" if owner.uid is None else f"uid {owner.uid}"
    group = "the daemon's group" if owner.gid is None else f"gid {owner.gid}"
    return passed("owner", subject, f"become {user}'s, with {group}")

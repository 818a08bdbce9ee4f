"""Whether what happens to files on offer is noticed at once."""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.daemon.keep.keeping import Keep


def judge_appeared(keep: Keep) -> Iterator[CheckRow]:
    """Yield what came to directories after they were published: their job had not finished."""
    for path in keep.appeared:
        yield warned(
            "place",
            path,
            "came after its directory was published, and is no part of that version",
            "If it belongs there, publish the directory again, as another version or --replace.",
        )


def judge_watching(keep: Keep) -> CheckRow:
    """Judge whether the kernel reports what happens at all places."""
    if keep.obstacle:
        return warned(
            "watch",
            f"{keep.unwatched_places} directories on offer",
            f"are looked at only every [store] check_every: {keep.obstacle}",
            "Raise fs.inotify.max_user_watches and max_user_instances with sysctl.",
        )
    finding = f"{keep.watched_directories} directories; what happens there is known at once"
    return passed("watch", "this node", finding)

"""Whether what happens to files on offer, and what jobs save, is noticed at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.daemon.keep.keeping import Keep
from ckptd.daemon.keep.taking_saves import WatchedDirectory
from ckptd.model.words import NotTaken

_WANTED: Final = frozenset({NotTaken.OLD, NotTaken.WITHDRAWN})
"""Why a save is not taken where somebody wants it so."""


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
    count = keep.watched_directories
    directories = f"{count} director{'y' if count == 1 else 'ies'} on offer"
    return passed("watch", "this node", f"{directories}; what happens there is known at once")


def judge_saves(watched: Sequence[WatchedDirectory]) -> Iterator[CheckRow]:
    """Judge whether what jobs save into the directories of ``[[watch]]`` is on offer."""
    is_well = True
    for each in watched:
        newest = each.verdicts[0] if each.verdicts else None
        if each.obstacle:
            is_well = False
            yield warned(
                "saves",
                each.rule.directory,
                f"cannot be looked into, so nothing saved there is on offer: {each.obstacle}",
                "Let its job make it, and the daemon read it; or correct directory in [[watch]].",
            )
        elif newest is not None and newest.reason and newest.reason not in _WANTED:
            is_well = False
            yield warned(
                "saves",
                f"{each.rule.directory}/{newest.name}",
                f"is not on offer: {newest.why}",
                "'ckptctl watches' shows all that was seen.",
            )
    if watched and is_well:
        directories = f"{len(watched)} watched director{'y' if len(watched) == 1 else 'ies'}"
        yield passed("saves", directories, "the newest save is on offer, or will be")

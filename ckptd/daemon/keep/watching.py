"""Learns from the kernel at which places something happened, so that they are looked at soon.

Each place has a watch on every directory in which a file of it lies, and one on each directory
above up to the root, which only reports when that is moved or removed. Reports are collected for a
moment: a job that writes a thousand files costs one look. Whoever looks into a directory by itself
can have it watched beside that (:meth:`Watching.listen`).

Where there are no watches to be had, a place is *unwatched*: it is looked at from time to time, as
all others are, and :attr:`Watching.obstacle` says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ckptd.errors import CkptdError, NotFound, StorageError
from ckptd.store.files.roots import Root
from ckptd.store.files.watches import OVERFLOW, WATCHES_MAX, Watches, WatchReport
from ckptd.store.published.checking import Recorded
from ckptd.store.published.saved_listing import is_on_local_disk

COLLECT_S: Final = 0.5
"""For how long reports are collected. With a look that is well below the 5 s in which a change has
to be known to peers."""

_NAMES_MAX: Final = 256
"""Names in one collection that are compared with those of units, a few microseconds each. With more
names the place is looked at."""


@dataclass(slots=True)
class _WatchedPlace:
    """A place that is watched.

    Attributes:
        recorded: Its files.
        directories: The watch of each directory in which files lie, and its path below the root.
        above: The watches of the directories above them.
    """

    recorded: Recorded
    directories: dict[int, set[str]] = field(default_factory=dict)
    above: set[int] = field(default_factory=set)

    def watches(self) -> set[int]:
        return self.above | self.directories.keys()

    def concerns(self, report: WatchReport) -> bool:
        """Return whether a report is about a file or directory of the place."""
        if not report.name:
            return True
        return any(
            self.recorded.has(f"{path}/{report.name}" if path else report.name)
            for path in self.directories.get(report.watch, ())
        )


Listener: TypeAlias = Callable[[Collection[str] | None], None]
"""Called with the names in a directory to which something happened; ``None``: they are not known,
or it happened to the directory itself, which is to be watched again."""


class Watching:
    """Watches places. Made and used on the event loop, but for :meth:`follow`.

    Args:
        on_report: Called with the places at which something happened.
        watches_max: How many directories are watched at most.

    Attributes:
        obstacle: Why not everything is watched; empty if it is.
    """

    def __init__(
        self, on_report: Callable[[set[int]], None], *, watches_max: int = WATCHES_MAX
    ) -> None:
        self.obstacle = ""
        self._on_report = on_report
        self._watches_max = watches_max
        self._watches: Watches | None = None
        self._places: dict[int, _WatchedPlace] = {}
        self._of_watch: dict[int, set[int]] = {}
        self._unwatched: set[int] = set()
        self._listeners: dict[int, list[Listener]] = {}

    def open(self) -> None:
        """Begin; where the kernel has no more of them nothing is watched."""
        try:
            self._watches = Watches()
        except StorageError as error:
            self.obstacle = str(error)

    def close(self) -> None:
        """Watch no more; nobody may be in :meth:`run` or :meth:`follow`."""
        if self._watches is not None:
            self._watches.close()
            self._watches = None

    @property
    def directory_count(self) -> int:
        """How many directories are watched."""
        return len(self._of_watch.keys() | self._listeners.keys())

    @property
    def unwatched_count(self) -> int:
        """How many places are not watched as a whole."""
        return len(self._unwatched)

    async def run(self) -> None:
        """WatchReport until cancelled; returns at once where nothing can be watched."""
        watches = self._watches
        if watches is None:
            return
        while True:
            await _readable(watches.fileno())
            await asyncio.sleep(COLLECT_S)
            reports: set[WatchReport] = set()
            for piece in watches.reports():
                reports |= piece
                await asyncio.sleep(0)  # others first: there can be very many
            concerned = self._concerned(reports)
            if concerned:
                self._on_report(concerned)
            self._tell(reports)

    async def listen(self, root: Root, directory: str, listener: Listener) -> int | None:
        """Watch a directory for somebody who looks into it by itself.

        Args:
            root: Where it lies.
            directory: Its path below the root.
            listener: Called with what happened.

        Returns:
            What :meth:`end` is given; ``None``: not all that happens there is reported, as other
            nodes may write to that file system, or nothing more is watched.

        Raises:
            CkptdError: The directory does not exist, or cannot be opened or watched.
        """
        watches = self._watches
        if watches is None or self.directory_count >= self._watches_max:
            return None

        def add() -> int | None:
            if not is_on_local_disk(root, directory):
                return None
            return watches.add(root, directory, with_files=True)

        watch = await asyncio.to_thread(add)
        if watch is not None:
            self._listeners.setdefault(watch, []).append(listener)
        return watch

    def end(self, watch: int, listener: Listener) -> None:
        """Tell somebody of a directory no more."""
        listeners = self._listeners.get(watch, [])
        listeners.remove(listener)
        if not listeners:
            del self._listeners[watch]
            self._let_go(watch)

    async def follow(self, place: int, root: Root, recorded: Recorded) -> None:
        """Watch a place, or watch it again where its directories are other ones by now.

        Args:
            place: Its number.
            root: Where it lies.
            recorded: Its files.
        """
        watches = self._watches
        if watches is None:
            self._unwatched.add(place)
            return
        watched = _WatchedPlace(recorded)
        room = self._watches_max - self.directory_count
        problem = await asyncio.to_thread(_watch, watches, root, watched, room)
        if problem is None:
            problem = f"more than {self._watches_max} directories would have to be watched"
        before = self._places.get(place)
        self._places[place] = watched
        for watch in watched.watches():
            self._of_watch.setdefault(watch, set()).add(place)
        if before is not None:
            self._release(place, before.watches() - watched.watches())
        if problem:
            self._unwatched.add(place)
            self.obstacle = problem
        else:
            self._unwatched.discard(place)
            if not self._unwatched:
                self.obstacle = ""

    def forget(self, place: int) -> None:
        """Watch a place no more."""
        self._unwatched.discard(place)
        if not self._unwatched and self._watches is not None:
            self.obstacle = ""
        watched = self._places.pop(place, None)
        if watched is not None:
            self._release(place, watched.watches())

    def _release(self, place: int, watches: set[int]) -> None:
        for watch in watches:
            places = self._of_watch.get(watch, set())
            places.discard(place)
            if not places:
                self._of_watch.pop(watch, None)
                self._let_go(watch)

    def _let_go(self, watch: int) -> None:
        """Watch a directory no more that nobody needs."""
        is_needed = watch in self._of_watch or watch in self._listeners
        if not is_needed and self._watches is not None:
            self._watches.remove(watch)

    def _tell(self, reports: set[WatchReport]) -> None:
        """Tell those who listen what happened."""
        names: dict[int, set[str] | None] = {}
        for report in reports:
            if report.watch in self._listeners:
                known = names.setdefault(report.watch, set())
                if not report.name:
                    names[report.watch] = None
                elif known is not None:
                    known.add(report.name)
        if any(report.watch == OVERFLOW for report in reports):
            names = dict.fromkeys(self._listeners)
        for watch, named in names.items():
            is_known = named is not None and len(named) <= _NAMES_MAX
            for listener in tuple(self._listeners.get(watch, ())):
                listener(named if is_known else None)

    def _concerned(self, reports: set[WatchReport]) -> set[int]:
        """Return the places that some reports are about."""
        if any(report.watch == OVERFLOW for report in reports) or len(reports) > _NAMES_MAX:
            watches = {report.watch for report in reports}
            if OVERFLOW in watches:
                return set(self._places)
            return {place for watch in watches for place in self._of_watch.get(watch, ())}
        return {
            place
            for report in reports
            for place in self._of_watch.get(report.watch, ())
            if self._places[place].concerns(report)
        }


async def _readable(fd: int) -> None:
    """Return when a descriptor can be read."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


def _watch(watches: Watches, root: Root, watched: _WatchedPlace, room: int) -> str | None:
    """Watch the directories of a place. Blocks.

    Args:
        watches: By what.
        root: Where the place lies.
        watched: Gets the watches.
        room: How many more there may be.

    Returns:
        Why not all directories are watched; ``None``: there is no room, and none is.
    """
    watched.recorded.index()  # before the event loop asks it
    files = watched.recorded.directories() | {watched.recorded.directory}
    wanted = [(path, True) for path in sorted(files)]
    wanted += [(path, False) for path in sorted(set(_above(files)) - files)]
    if len(wanted) > room:
        return None
    problem = ""
    for path, with_files in wanted:
        try:
            watch = watches.add(root, path, with_files=with_files)
        except NotFound:
            continue  # the look that follows finds that out
        except CkptdError as error:
            problem = problem or str(error)
            continue
        if with_files:
            watched.directories.setdefault(watch, set()).add(path)
        else:
            watched.above.add(watch)
    return problem


def _above(paths: set[str]) -> Iterator[str]:
    """Yield the directories above some paths, not those paths and not the root."""
    for path in paths:
        above = path.rpartition("/")[0]
        while above:
            yield above
            above = above.rpartition("/")[0]

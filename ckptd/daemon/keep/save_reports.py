"""Has the kernel report what happens where saves appear, so that nobody looks while nothing does.

The watched directory is followed, or the nearest one above it while it does not exist, and the
saves in it that are not complete yet. What happens deeper inside them nobody reports: the scan
finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from ckptd.daemon.keep.watching import Listener, Watching
from ckptd.errors import CkptdError, NotFound
from ckptd.model.watched_names import WatchRule
from ckptd.store.files.layout import inside
from ckptd.store.files.roots import Root

_SAVES_MAX: Final = 8
"""So many saves that are not complete are followed; of others the scan notices what happens."""


class SaveReports:
    """Follows one watched directory.

    Args:
        watching: Has the kernel report.
        rule: What the configuration says of the directory.
        root: Where it lies.
        relative: Its path below the root.

    Attributes:
        happened: Set when something happened that may concern saves.
        is_whole: All that is to be followed is.
    """

    def __init__(self, watching: Watching, rule: WatchRule, root: Root, relative: str) -> None:
        self.happened = asyncio.Event()
        self.is_whole = False
        self._watching = watching
        self._rule = rule
        self._root = root
        self._relative = relative
        self._followed: dict[str, tuple[int, Listener]] = {}

    async def follow(self, saves: Collection[str]) -> None:
        """Follow the directory and some saves in it, and nothing else any more.

        Args:
            saves: Names of those that are not complete.
        """
        wanted = {inside(self._relative, name): _anything for name in sorted(saves)[-_SAVES_MAX:]}
        for path in self._followed.keys() - wanted.keys() - {self._relative}:
            self._forget(path)
        is_whole = await self._follow_directory()
        for path, concerns in wanted.items():
            try:
                is_whole &= await self._follow(path, concerns)
            except CkptdError:
                is_whole = False  # gone again, or no directory: the look says so
        self.is_whole = is_whole and len(saves) <= _SAVES_MAX

    def end(self) -> None:
        """Follow nothing any more."""
        for path in tuple(self._followed):
            self._forget(path)

    async def _follow_directory(self) -> bool:
        """Follow the watched directory, or where it will appear."""
        path: str = self._relative
        concerns: Callable[[str], bool] = self._concerns
        while True:
            try:
                return await self._follow(path, concerns)
            except NotFound:
                if not path:
                    return False
                path, concerns = path.rpartition("/")[0], _anything
            except CkptdError:
                return False

    async def _follow(self, path: str, concerns: Callable[[str], bool]) -> bool:
        def note(names: Collection[str] | None) -> None:
            if names is None:
                self._forget(path)  # it may be another directory by now
            if names is None or any(map(concerns, names)):
                self.happened.set()

        watch = await self._watching.listen(self._root, path, note)
        known = self._followed.get(path)
        if watch is not None and known is not None and known[0] == watch:
            self._watching.end(watch, note)  # it is followed, and no other directory by now
            return True
        self._forget(path)
        if watch is None:
            return False
        self._followed[path] = (watch, note)
        return True

    def _forget(self, path: str) -> None:
        known = self._followed.pop(path, None)
        if known is not None:
            self._watching.end(*known)

    def _concerns(self, name: str) -> bool:
        """Return whether something in the directory is, or says which one is, a save."""
        return name == self._rule.pointer or self._rule.version_of(name) is not None


def _anything(_: str) -> bool:
    return True

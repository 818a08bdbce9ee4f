"""How much the log says: what the configuration wants, unless somebody wants otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ckptd.config import Config
from ckptd.control.messages.observation import LevelRequest, LevelView
from ckptd.daemon.settings.reloading import Switch
from ckptd.observe import logs

_log = logs.get_logger()


class Verbosity:
    """The only one that changes the log of a running daemon.

    Args:
        log: The log of this process, as the configuration wants it.
        environ: What decides about its form besides the configuration.
    """

    def __init__(self, log: logs.Log, environ: Mapping[str, str]) -> None:
        self._log = log
        self._environ = environ
        self._configured = log.level
        self._reset: asyncio.TimerHandle | None = None

    def view(self) -> LevelView:
        """Return the level, and for how long it is not the configured one."""
        left_s = None
        if self._reset is not None:
            left_s = max(self._reset.when() - asyncio.get_running_loop().time(), 0.0)
        return LevelView(level=self._log.level, configured=self._configured, left_s=left_s)

    def change(self, request: LevelRequest) -> LevelView:
        """Change the level; a time that was set before is forgotten."""
        self._set(request.level, request.for_s)
        if request.for_s is not None:
            loop = asyncio.get_running_loop()
            self._reset = loop.call_later(request.for_s, self._set_back)
        return self.view()

    def prepare(self, old: Config, new: Config) -> Switch:
        """Follow the configuration: another level there ends what :meth:`change` did."""
        level, form = new.log.level, new.log.format

        def switch() -> None:
            self._configured = level
            if level != old.log.level:
                self._set(level, None)
            if form != old.log.format:
                logs.configure(self._log.level, form, environ=self._environ, log=self._log)

        return switch

    def _set_back(self) -> None:
        self._set(self._configured, None)

    def _set(self, level: logs.LogLevel, for_s: float | None) -> None:
        if self._reset is not None:
            self._reset.cancel()
            self._reset = None
        self._log.set_level(level)
        _log.info("log.level_changed", to=level, for_s=for_s)

"""Takes over a changed configuration while the daemon runs, as a whole or not at all.

Each part that can follow the configuration says which keys it takes over. First every part
prepares, which may fail and changes nothing; then all of them switch, which cannot fail. What no
part takes over waits for the next start, and the answer names it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from ckptd.config import Config
from ckptd.control.messages.daemon_status import ReloadResult
from ckptd.errors import CkptdError, ConfigurationError
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, gauge

Switch: TypeAlias = Callable[[], None]
"""Takes over what was prepared; runs on the event loop, does not wait, does not fail."""

_ENVIRONMENT: Final = "environment"
"""The one field of the configuration that is no section of the file."""

_log = get_logger()


@dataclass(frozen=True, slots=True)
class LivePart:
    """A part of the daemon that follows the configuration.

    Attributes:
        keys: What it takes over: keys, or whole sections (``log`` for ``log.level``).
        prepare: Given the configuration of before and the new one; runs in a thread, may read
            files, and raises :class:`~ckptd.errors.CkptdError` if it cannot follow.
    """

    keys: tuple[str, ...]
    prepare: Callable[[Config, Config], Switch]

    def takes(self, key: str) -> bool:
        """Tell whether this part takes over a key."""
        return any(key == own or key.startswith(f"{own}.") for own in self.keys)


@dataclass(frozen=True, slots=True)
class ReloadState:
    """How the last reload went; the start counts as one.

    Attributes:
        is_successful: It changed what it should.
        succeeded_at_s: Unix time of the last one that did.
    """

    is_successful: bool
    succeeded_at_s: float


RELOAD_METRICS: Final[Sequence[MetricRow[ReloadState]]] = (
    gauge(
        "config_last_reload_successful",
        "1 if the configuration could be used when it was last read.",
        lambda state: state.is_successful,
    ),
    gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration was last read and could be used.",
        lambda state: state.succeeded_at_s,
    ),
)


class Reloading:
    """Reads the configuration again.

    Args:
        config: What the daemon started with.
        load: Reads and checks the file; runs in a thread.
        parts: Who follows.
        wall_clock: Unix time.
        while_reloading: A context that is open while a reload goes on.

    Attributes:
        state: How the last one went.
    """

    def __init__(
        self,
        config: Config,
        *,
        load: Callable[[], Config],
        parts: Sequence[LivePart],
        wall_clock: Callable[[], float],
        while_reloading: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._config = config
        self._in_effect = dict(_flat(config))
        self._load = load
        self._parts = parts
        self._wall_clock = wall_clock
        self._while_reloading = while_reloading
        self._turn = asyncio.Lock()
        self.state = ReloadState(is_successful=True, succeeded_at_s=wall_clock())

    async def reload(self) -> ReloadResult:
        """Read the file and take it over.

        Raises:
            CkptdError: It cannot be used; nothing was changed.
        """
        async with self._turn:
            with self._while_reloading():
                try:
                    result = await self._take_over()
                except CkptdError as error:
                    self.state = ReloadState(
                        is_successful=False, succeeded_at_s=self.state.succeeded_at_s
                    )
                    _log.error("config.refused", why=str(error))
                    raise _refusal(error) from error
            self.state = ReloadState(is_successful=True, succeeded_at_s=self._wall_clock())
            _log.info(
                "config.reloaded",
                applied=",".join(result.applied),
                needs_restart=",".join(result.needs_restart),
            )
            return result

    async def _take_over(self) -> ReloadResult:
        old = self._config
        new, switches = await asyncio.to_thread(self._prepare, old)
        for switch in switches:
            switch()
        self._config = new
        wanted = dict(_flat(new))
        changed = sorted(
            key
            for key in wanted.keys() | self._in_effect.keys()
            if wanted.get(key) != self._in_effect.get(key)
        )
        applied = tuple(key for key in changed if self._is_live(key))
        for key in applied:
            self._in_effect[key] = wanted.get(key)
        return ReloadResult(
            applied=applied, needs_restart=tuple(key for key in changed if key not in applied)
        )

    def _prepare(self, old: Config) -> tuple[Config, list[Switch]]:
        new = self._load()
        return new, [part.prepare(old, new) for part in self._parts]

    def _is_live(self, key: str) -> bool:
        return any(part.takes(key) for part in self._parts)


def _flat(config: Config) -> Iterator[tuple[str, object]]:
    """Yield every key of the file with its value."""
    for section in config.__struct_fields__:
        if section == _ENVIRONMENT:
            continue
        table = getattr(config, section)
        if isinstance(table, tuple):
            yield section, table
        elif isinstance(table, Mapping):
            for name, value in table.items():
                yield f"{section}.{name}", value
        elif table is not None:
            for field in msgspec.structs.fields(type(table)):
                value = getattr(table, field.name)
                if isinstance(value, Mapping):
                    yield from ((f"{section}.{name}", each) for name, each in value.items())
                else:
                    yield f"{section}.{field.encode_name}", value


def _refusal(error: CkptdError) -> CkptdError:
    """Return what is reported to the caller: a failure of the request, not of a start."""
    if not isinstance(error, ConfigurationError):
        return error
    more = f"'ckptd check-config' lists {len(error.others)} more." if error.others else ""
    hint = " ".join(filter(None, (error.hint, more, "The old configuration stays.")))
    return CkptdError(error.subject, error.problem, hint)

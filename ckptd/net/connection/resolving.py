"""Names to addresses, in threads of their own.

Looking up a name ends when name servers please, half a minute later if none answers. The event
loop has four threads for that, and the default pool of Python few more: as many silent names would
keep all others from being looked up, also those that stand in ``/etc/hosts``. So a look-up that
takes long gives its place to the next one and goes on beside it; and names that took long the last
time wait until nobody else does.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from ckptd.model.addresses import Address
from ckptd.net.connection.dialling import numeric_address

LookUp: TypeAlias = Callable[[str, int], tuple[Address, ...]]
"""Returns the addresses of a name; blocks. Raises ``OSError`` or ``UnicodeError``."""

ADDRESSES_PER_NAME_MAX: Final = 256
"""Addresses of one name that count; the first of them in ascending order, so that the order in
which a name server lists them changes nothing."""
_PROMPT_MAX: Final = 8
"""Look-ups that run at the same time and have not taken long yet."""
_LATE_AFTER_S: Final = 0.25
"""After this time a look-up takes long. A name server of the same network answers in a few
milliseconds, a resolver on the same machine in less."""
_LATE_MAX: Final = 248
"""Look-ups that take long at the same time: with 8 others 256 threads, each a few dozen KiB. With
more silent names than that all names wait for one of these to end."""


@dataclass(eq=False, slots=True)
class _LookingUp:
    """One look-up, from when it was asked for until its thread has ended.

    Attributes:
        host: The name.
        port: The port.
        found: Its addresses; done early if nobody waits for them any more.
        is_long: It has taken long.
    """

    host: str
    port: int
    found: asyncio.Future[tuple[Address, ...]]
    is_long: bool = False


class Resolver:
    """Looks up names; used on the event loop.

    Args:
        look_up: Looks up one.
        late_after_s: After so long a look-up takes long.
        late_max: Most look-ups that take long at the same time.
    """

    def __init__(
        self,
        look_up: LookUp | None = None,
        *,
        late_after_s: float = _LATE_AFTER_S,
        late_max: int = _LATE_MAX,
    ) -> None:
        self._look_up = look_up or look_up_name
        self._late_after_s = late_after_s
        self._late_max = late_max
        self._prompt: dict[_LookingUp, None] = {}  # oldest first
        self._late: set[_LookingUp] = set()
        self._waiting: deque[_LookingUp] = deque()
        self._suspects: deque[_LookingUp] = deque()
        self._slow_names: set[str] = set()

    async def addresses_of(self, host: str, port: int) -> tuple[Address, ...]:
        """Return the addresses of a host, each with this port; ascending, at least one.

        Args:
            host: A name, or an IP address, which costs nothing.
            port: The port.

        Raises:
            OSError: It has none, or nobody says so.
        """
        with suppress(OSError):
            return (numeric_address(host, port),)
        found: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()
        queue = self._suspects if host in self._slow_names else self._waiting
        queue.append(_LookingUp(host, port, found))
        self._begin_next()
        return await found  # cancelled with whoever waits: then it is not begun

    def _begin_next(self) -> None:
        """Give free places to those that wait."""
        for looking_up in [each for each in self._prompt if each.is_long]:
            self._make_room(looking_up)
        while len(self._prompt) < _PROMPT_MAX and (self._waiting or self._suspects):
            looking_up = (self._waiting or self._suspects).popleft()
            if not looking_up.found.done():
                self._begin(looking_up)

    def _begin(self, looking_up: _LookingUp) -> None:
        self._prompt[looking_up] = None
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._late_after_s, self._take_long, looking_up)

        def end(outcome: tuple[Address, ...] | OSError) -> None:
            timer.cancel()
            self._end(looking_up, outcome)

        def look_up() -> None:
            outcome: tuple[Address, ...] | OSError
            try:
                outcome = self._look_up(looking_up.host, looking_up.port)
            except OSError as error:
                outcome = error
            except UnicodeError as error:  # a name can be beyond encoding
                outcome = OSError(str(error))
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(end, outcome)

        # A daemon thread: one that hangs must not keep the process from ending.
        thread = threading.Thread(target=look_up, name="look-up", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            loop.call_soon(end, OSError(f"no thread to look it up: {error}"))

    def _take_long(self, looking_up: _LookingUp) -> None:
        looking_up.is_long = True
        self._slow_names.add(looking_up.host)
        self._begin_next()

    def _make_room(self, looking_up: _LookingUp) -> None:
        """Let a look-up that takes long go on beside the others, if there is room for that."""
        if len(self._late) < self._late_max:
            del self._prompt[looking_up]
            self._late.add(looking_up)

    def _end(self, looking_up: _LookingUp, outcome: tuple[Address, ...] | OSError) -> None:
        self._prompt.pop(looking_up, None)
        self._late.discard(looking_up)
        if not looking_up.is_long:
            self._slow_names.discard(looking_up.host)
        if not looking_up.found.done():
            if isinstance(outcome, OSError):
                looking_up.found.set_exception(outcome)
            else:
                looking_up.found.set_result(outcome)
        self._begin_next()


def look_up_name(host: str, port: int) -> tuple[Address, ...]:
    """Ask the system for the addresses of a name; blocks.

    Raises:
        OSError: It has none, or nobody says so.
        UnicodeError: It cannot be a name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = {(str(where[0]), int(where[1])) for _, _, _, _, where in found}
    if not addresses:
        raise OSError("it has no address")
    return tuple(sorted(addresses)[:ADDRESSES_PER_NAME_MAX])

"""Reads ranges of one unit, as a file is read; also while the unit is still being fetched.

What is not here yet goes before everything else of its recovery, and is waited for. So a read is
never short and never has zeros where bytes are missing; it returns what was asked for, or raises.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from ckptd.control.messages.prioritized import (
    NeedBytes,
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
)
from ckptd.errors import CkptdError, UsageError

NeedBytesCall: TypeAlias = Callable[[NeedRequest], Iterator[NeedEvent | bytes]]
"""Asks the daemon; behind each ``NeedBytes`` come the bytes."""

_READER_BYTES: Final = 8


class RangeReader:
    """Reads ranges of one unit. For one thread at a time.

    The first answer says where the unit will stand and which digest it has; from then on that very
    content is read, before its recovery ends and afterwards. If another one takes its place, reads
    are refused.

    Where a reader goes on from one range to the next, the daemon fetches ahead of it.

    Args:
        need: Asks the daemon.
        path: Which unit, as :class:`NeedRequest` has it.
        on_progress: Called once a second while something is waited for.
    """

    def __init__(
        self,
        need: NeedBytesCall,
        path: str,
        on_progress: Callable[[NeedProgress], None] = lambda _: None,
    ) -> None:
        self._need = need
        self._path = path
        self._on_progress = on_progress
        self._reader = secrets.token_hex(_READER_BYTES)
        self._digest = ""
        self._unit = ""
        self._size_bytes: int | None = None

    @property
    def size_bytes(self) -> int:
        """The length of the unit; waits until that is known.

        Raises:
            CkptdError: What the daemon answered with.
        """
        self._locate()
        assert self._size_bytes is not None
        return self._size_bytes

    @property
    def unit(self) -> str:
        """The path of the unit in its version; waits until that is known.

        Raises:
            CkptdError: What the daemon answered with.
        """
        self._locate()
        return self._unit

    @property
    def stands_at(self) -> str:
        """Where the file stands, or will; waits until that is known.

        Raises:
            CkptdError: What the daemon answered with.
        """
        self._locate()
        return self._path

    def _locate(self) -> None:
        if self._size_bytes is None:
            for _ in self._pieces(0, 0):
                raise _contradiction("gave bytes where none were asked for")

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the unit, all that are asked for; waits until they are here.

        Args:
            offset: The first one.
            length: How many.

        Raises:
            UsageError: The unit does not have them.
            CkptdError: What the daemon answered with.
        """
        pieces = list(self.pieces(offset, length))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pieces(self, offset: int, length: int | None = None) -> Iterator[bytes]:
        """Yield bytes of the unit in order, each piece as soon as it is here.

        Args:
            offset: The first one.
            length: How many; ``None``: all up to the end of the unit.

        Raises:
            UsageError: The unit does not have them.
            CkptdError: What the daemon answered with.
        """
        if offset < 0 or (length or 0) < 0:
            raise UsageError("range", "begins before the unit, or is shorter than nothing")
        return self._pieces(offset, length)

    def wait(self, offset: int, length: int | None = None) -> None:
        """Wait until bytes of the unit are here, without reading them.

        Args:
            offset: The first one.
            length: How many; ``None``: all up to the end of the unit.

        Raises:
            UsageError: The unit does not have them.
            CkptdError: What the daemon answered with.
        """
        for _ in self._pieces(offset, length, with_bytes=False):
            raise _contradiction("gave bytes where none were asked for")

    def _pieces(
        self, offset: int, length: int | None, *, with_bytes: bool = True
    ) -> Iterator[bytes]:
        request = NeedRequest(
            path=self._path,
            offset=offset,
            length=length,
            with_bytes=with_bytes,
            reader=self._reader,
            digest=self._digest,
        )
        position, announced_bytes = offset, 0
        for message in self._need(request):
            match message:
                case bytes():
                    if len(message) != announced_bytes:
                        raise _contradiction("gave more or fewer bytes than it said")
                    position += announced_bytes
                    yield message
                case NeedBytes():
                    if message.offset != position:
                        raise _contradiction("gave other bytes than were asked for")
                    announced_bytes = message.size_bytes
                case NeedProgress():
                    self._on_progress(message)
                case NeedResult():
                    self._take(message)
        if self._size_bytes is None:
            raise _contradiction("does not say how long the unit is")
        end = self._size_bytes if length is None else offset + length
        if with_bytes and position != end:
            raise _contradiction("gave more or fewer bytes than were asked for")

    def _take(self, result: NeedResult) -> None:
        """Hold on to the content that was read: others may get its name."""
        if result.unit_bytes is not None and result.digest and result.stands_at:
            self._size_bytes = result.unit_bytes
            self._digest = result.digest
            self._path = result.stands_at
            self._unit = result.unit


def _contradiction(problem: str) -> CkptdError:
    return CkptdError(
        "control socket", problem, "Use the ckptctl of the same version as the daemon."
    )

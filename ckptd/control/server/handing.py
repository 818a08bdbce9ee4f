"""What goes with messages of a stream: descriptors, bytes; and what its client passes in return.

The HTTP server writes and reads bytes and nothing else. So what it has to send is written first;
then the rest of the message is sent past it, with the descriptor, on the same socket. And while a
client is asked for descriptors the server does not read, for it would lose them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from array import array
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from aiohttp import web

from ckptd.control.descriptors import ROOM, Closing, close_all, cut_short, descriptors_in
from ckptd.errors import Shortage, UsageError

_TAKEN_S: Final = 30.0
"""A client that takes nothing for so long is given up."""
_LOOK_S: Final = 0.005
"""How often it is looked whether the socket takes or has more."""
_PASSED_S: Final = 10.0
"""A client that was asked for descriptors opens files of its own, and sends a message."""

_HOW_TO: Final = "Use ckptctl, or ControlClient.publish_passing; or do not set passes_files."

_closing: Final = Closing()


class Handing:
    """What goes with the next message of one stream. For the event loop.

    Args:
        request: What is answered.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._attached: list[int] = []
        self._following: memoryview | None = None

    def follow(self, data: memoryview) -> None:
        """Let bytes follow the next message, which says how many."""
        assert self._following is None, "bytes follow one message"
        self._following = data

    def attach(self, fd: int) -> None:
        """Let a descriptor go with the next message, which says that it does. Takes it over."""
        assert not self._attached, "one message has one descriptor"
        self._attached.append(fd)

    async def write(self, response: web.StreamResponse, line: bytes) -> None:
        """Send a message, with what was attached for it and what follows it.

        Raises:
            ConnectionError: The client is gone, or takes nothing.
            OSError: The kernel refused.
        """
        following, self._following = self._following, None
        if following is not None:
            assert not self._attached, "a descriptor goes with a message alone"
            await _taken(response, line, following)
            return
        if not self._attached:
            await response.write(line)
            return
        try:
            await self._send(response, line, self._attached)
        finally:
            self.close()

    def close(self) -> None:
        """Close what was attached and not sent."""
        attached, self._attached = self._attached, []
        close_all(attached)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Let the server read nothing meanwhile: what the client sends is for :meth:`receive`.

        Raises:
            ConnectionError: The client is gone.
            Shortage: Too many descriptors that clients passed do not close.
        """
        if _closing.is_stuck:
            raise Shortage(
                "descriptors",
                "those that were passed before do not close",
                "A file system that a process serves (FUSE) hangs: end that process.",
            )
        transport = self._reading()
        transport.pause_reading()
        try:
            yield
        finally:
            if not transport.is_closing():
                transport.resume_reading()

    async def receive(self, count: int) -> list[int | None]:
        """Return the descriptors of one message that the client was asked for; within ``asking``.

        Args:
            count: How many it was asked for.

        Returns:
            One for each; ``None`` where the client has none. The caller closes them, by
            :meth:`refuse` unless they are known to be harmless.

        Raises:
            ConnectionError: The client is gone.
            UsageError: It sent something else, or nothing in time.
            Shortage: This process has no room for them.
        """
        transport = self._reading()
        given_up_s = time.monotonic() + _PASSED_S
        with contextlib.closing(_own(transport)) as connected:
            while (message := _message(connected, count + 1)) is None:
                if time.monotonic() > given_up_s:
                    raise UsageError("files", "that were asked for were not passed", _HOW_TO)
                await asyncio.sleep(_LOOK_S)
        # No await from here to the end: nothing that came can be lost on the way.
        said, came, is_whole = message
        if not said and not came:
            raise ConnectionResetError
        is_fit = is_whole and len(said) == count and not said.strip(b"01")
        if is_fit and len(came) == said.count(b"1"):
            passed = iter(came)
            return [next(passed) if each == ord("1") else None for each in said]
        self.refuse(came)
        if not is_whole:
            raise cut_short()
        raise UsageError("files", "that were asked for were not passed as they have to be", _HOW_TO)

    def refuse(self, descriptors: Iterable[int]) -> None:
        """Close descriptors that a client passed, without waiting for it."""
        _closing.close(descriptors)

    def _reading(self) -> asyncio.Transport:
        """Return the connection.

        Raises:
            ConnectionError: The client is gone.
        """
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        return transport

    async def _send(
        self, response: web.StreamResponse, line: bytes, descriptors: list[int]
    ) -> None:
        response.force_close()  # no second request before these were taken
        await response.write(line[:1])  # and with it the head, if there was nothing before
        rest = line[1:]
        if response.headers.get("Transfer-Encoding") == "chunked":
            rest = b"%x\r\n%b\r\n" % (len(rest), rest)
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError
        given_up_s = time.monotonic() + _TAKEN_S
        while transport.get_write_buffer_size():
            await _pause(transport, given_up_s)
        with contextlib.closing(_own(transport)) as connected:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
            while rest:
                try:
                    sent = connected.sendmsg([rest], rights)
                except BlockingIOError:
                    await _pause(transport, given_up_s)
                    continue
                rest, rights = rest[sent:], []  # they went with the first byte


class _Message(NamedTuple):
    """What was received at once: bytes, descriptors, and whether all of these found room."""

    said: bytes
    came: list[int]
    is_whole: bool


def _message(connected: socket.socket, size_bytes: int) -> _Message | None:
    """Receive a message; ``None`` if there is none yet."""
    try:
        said, ancillary, flags, _ = connected.recvmsg(size_bytes, ROOM, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return None
    return _Message(said, descriptors_in(ancillary), not flags & socket.MSG_CTRUNC)


async def _taken(response: web.StreamResponse, line: bytes, following: memoryview) -> None:
    """Send a line and bytes; they are not kept in memory for a client that does not take them.

    Raises:
        ConnectionError: It is gone, or has taken nothing for long.
    """
    try:
        async with asyncio.timeout(_TAKEN_S):
            await response.write(line)
            await response.write(following)
    except TimeoutError:
        raise ConnectionResetError from None


async def _pause(transport: asyncio.BaseTransport, given_up_s: float) -> None:
    """Wait for the client to take something.

    Raises:
        ConnectionError: It is gone, or has taken nothing for long.
    """
    if transport.is_closing() or time.monotonic() > given_up_s:
        raise ConnectionResetError
    await asyncio.sleep(_LOOK_S)


def _own(transport: asyncio.BaseTransport) -> socket.socket:
    """Return another socket object for the connection: the loop's takes no messages."""
    connected = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    connected.settimeout(0)
    return connected

"""Descriptors that go with messages of a stream.

The HTTP server writes bytes and nothing else. So what it has to send is written first; then the
rest of the message is sent past it, with the descriptor, on the same socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from array import array
from typing import Final

from aiohttp import web

from ckptd.control.descriptors import close_all

_TAKEN_S: Final = 30.0
"""A client that takes nothing for so long is given up."""
_LOOK_S: Final = 0.005
"""How often it is looked whether the socket takes more."""


class Handing:
    """What goes with the next message of one stream. For the event loop.

    Args:
        request: What is answered.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._attached: list[int] = []

    def attach(self, fd: int) -> None:
        """Let a descriptor go with the next message, which says that it does. Takes it over."""
        assert not self._attached, "one message has one descriptor"
        self._attached.append(fd)

    async def write(self, response: web.StreamResponse, line: bytes) -> None:
        """Send a message, with what was attached for it.

        Raises:
            ConnectionError: The client is gone, or takes nothing.
            OSError: The kernel refused.
        """
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

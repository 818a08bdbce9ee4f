"""Limits the connections of the control socket: how many, and how long without a request.

A user of the machine may connect ten thousand times, or send half a request and wait. So there
are never more than ``2 * CONTROL_CLIENTS_MAX`` connections, streams included, and a connection
without a complete request head after ``HEAD_TIMEOUT_NS`` is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final, cast

import msgspec
from aiohttp import web

from ckptd.control.messages.error_documents import ErrorDocument, ErrorView
from ckptd.control.server.accepting import Accepting
from ckptd.control.server.callers import user_name
from ckptd.errors import CkptdError, ConfigurationError, Conflict, DaemonUnreachable, StorageError
from ckptd.limits import CONTROL_CLIENTS_MAX, HEAD_TIMEOUT_NS, SECOND

_SOCKET_MODE: Final = 0o660


class Gate:
    """Hands connections on to the HTTP server, or turns them away if there are too many."""

    def __init__(self, http: web.Server) -> None:
        self._http = http
        self._deadlines: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._refused = 0

    def note_head(self, transport: asyncio.BaseTransport | None) -> None:
        """The head of a request has arrived: its connection may stay."""
        if transport is not None:
            self._forget(transport)

    def connect(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Door(self)

    def admit(self, transport: asyncio.Transport) -> bool:
        """Give a connection to the HTTP server if there is room."""
        if len(self._http.connections) >= CONTROL_CLIENTS_MAX:
            return False
        admitted = self._http()
        transport.set_protocol(admitted)
        admitted.connection_made(transport)
        self._limit(transport)
        return True

    def refuse(self, transport: asyncio.Transport) -> bool:
        """Keep a connection until it has asked and can be answered, if there is room for that."""
        if self._refused >= CONTROL_CLIENTS_MAX:
            return False
        self._refused += 1
        self._limit(transport)
        return True

    def end_refused(self, transport: asyncio.Transport) -> None:
        """A connection that was to be answered is gone."""
        self._refused -= 1
        self._forget(transport)

    def close(self) -> None:
        """Cancel every deadline."""
        for deadline in self._deadlines.values():
            deadline.cancel()
        self._deadlines.clear()

    def _limit(self, transport: asyncio.Transport) -> None:
        def end() -> None:
            self._deadlines.pop(transport, None)
            transport.abort()

        # A connection that was closed before it sent anything is only noticed here.
        for known in [known for known in self._deadlines if known.is_closing()]:
            self._forget(known)
        loop = asyncio.get_running_loop()
        self._deadlines[transport] = loop.call_later(HEAD_TIMEOUT_NS / SECOND, end)

    def _forget(self, transport: asyncio.BaseTransport) -> None:
        deadline = self._deadlines.pop(transport, None)
        if deadline is not None:
            deadline.cancel()


class _Door(asyncio.Protocol):
    """A connection until it is handed on, or one that is turned away."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._transport: asyncio.Transport
        self._is_counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: uvloop's transports are no subclasses.
        self._transport = cast("asyncio.Transport", transport)
        if self._gate.admit(self._transport):
            return
        self._is_counted = self._gate.refuse(self._transport)
        if not self._is_counted:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Refuse the request. Not earlier: the client would fail while it sends it."""
        if not self._transport.is_closing():
            self._transport.write(_TOO_MANY)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_counted:
            self._gate.end_refused(self._transport)


@contextlib.asynccontextmanager
async def listening(
    gate: Gate, socket_path: str, inherited: socket.socket | None
) -> AsyncIterator[None]:
    """Listen at a path, or on a socket that the service manager made.

    Our own socket gets its mode before it listens: until then a connection is refused. It is
    removed at the end.

    Raises:
        Conflict: Something lives at the path, or it is no socket.
        ConfigurationError: Others may write to its directory.
        StorageError: The path cannot be bound.
    """
    if inherited is not None:
        accepting = Accepting(inherited, gate.connect)
        try:
            yield
        finally:
            accepting.close()
        return
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _check_directory(socket_path)
        _clear(socket_path)
        listener.bind(socket_path)
        os.chmod(socket_path, _SOCKET_MODE)
        bound = os.lstat(socket_path)
        accepting = Accepting(listener, gate.connect)
    except CkptdError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise StorageError(
            f"control socket {socket_path}",
            f"cannot be bound: {error.strerror or error}",
            "Its directory must exist and be writable; its path has at most 107 bytes.",
        ) from error
    try:
        yield
    finally:
        accepting.close()
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(bound, os.lstat(socket_path)):
                os.unlink(socket_path)


def check_directory(socket_path: str) -> None:
    """Check the directory of a socket if it is there.

    Raises:
        ConfigurationError: Others can put a socket at our path.
        StorageError: It does not answer.
    """
    try:
        _check_directory(socket_path)
    except FileNotFoundError:
        return
    except OSError as error:
        subject = f"listen.control {socket_path}: its directory"
        raise StorageError(subject, error.strerror or str(error)) from error


def _check_directory(socket_path: str) -> None:
    """Check that nobody else can put a socket at our path.

    Raises:
        ConfigurationError: Somebody else owns it, or everybody may write there.
        OSError: It is not there.
    """
    directory = os.path.dirname(socket_path) or "."
    found = os.stat(directory)
    if found.st_uid not in {0, os.geteuid()}:
        problem = f"belongs to uid {found.st_uid}"
        remedy = f"Run 'chown {os.geteuid()} {directory}'"
        if os.geteuid() == 0:  # most likely the daemon's user; 'check-config' has --user for it
            name = user_name(found.st_uid) or str(found.st_uid)
            remedy = f"Run it as user {name} ('ckptd check-config --user {name}')"
    elif found.st_mode & stat.S_IWOTH:
        problem = f"has mode {stat.S_IMODE(found.st_mode):04o}: everybody may write there"
        remedy = f"Run 'chmod o-w {directory}'"
    else:
        return
    raise ConfigurationError(
        f"listen.control {socket_path}: its directory",
        f"{problem}, and who may write there can put another socket in its place",
        f"{remedy}, or choose another path.",
    )


def _clear(socket_path: str) -> None:
    """Remove a socket that nobody listens on.

    Raises:
        Conflict: Something lives at the path, or it is no socket.
    """
    subject = f"control socket {socket_path}"
    try:
        found = os.lstat(socket_path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Conflict(subject, "is taken by something that is no socket", "Remove it first.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)  # a full backlog is an answer too
        if probe.connect_ex(socket_path) != errno.ECONNREFUSED:
            raise Conflict(
                subject, "is in use by another daemon", "Stop it, or configure another path."
            )
    os.unlink(socket_path)


def _too_many() -> bytes:
    error = DaemonUnreachable(
        "control socket",
        f"{CONTROL_CLIENTS_MAX} clients are connected already",
        "Try again when one of them is done.",
    )
    body = msgspec.json.encode(ErrorDocument(error=ErrorView.of(error)))
    return (
        b"HTTP/1.1 %d Service Unavailable\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (HTTPStatus.SERVICE_UNAVAILABLE, len(body), body)
    )


_TOO_MANY: Final = _too_many()

"""Servers of the standard library that answer in a thread while a context is open."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from socketserver import BaseServer
from typing import TypeVar

_Server = TypeVar("_Server", bound=BaseServer)


@contextlib.contextmanager
def answering(server: _Server, closing: threading.Event | None = None) -> Iterator[_Server]:
    """Let a server answer; it is closed at the end.

    Args:
        server: Which one.
        closing: Set before it ends, so that answers that are held back end.
    """
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            if closing is not None:
                closing.set()
            server.shutdown()
            thread.join()

"""Passes descriptors of files that the daemon may not open, and whoever publishes them may."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Final

from ckptd.control.descriptors import DESCRIPTORS_MAX, close_all

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class FilePasser:
    """Opens files of one directory for the daemon; whatever it asks for, no others.

    Args:
        directory: What is published; its links are followed. A single file: that one.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def answer(self, connected: socket.socket, paths: Iterable[str]) -> None:
        """Pass the files that the daemon asks for, as far as they are here and may be opened.

        Args:
            connected: The connection on which it asked.
            paths: Which: relative to the directory, or the name of the file.

        Raises:
            OSError: The daemon is gone.
        """
        opened: list[int] = []
        said = bytearray()
        try:
            for path in paths:
                fd = self._open(path) if len(opened) < DESCRIPTORS_MAX else None
                said += b"0" if fd is None else b"1"
                if fd is not None:
                    opened.append(fd)
            socket.send_fds(connected, [bytes(said)], opened)
        finally:
            close_all(opened)

    def _open(self, path: str) -> int | None:
        if path.startswith("/") or ".." in path.split("/"):
            return None
        full = f"{self._directory.rstrip('/')}/{path}"
        for each in (full, self._directory):
            if each is self._directory and os.path.basename(each) != path:
                return None
            try:
                return os.open(each, _FLAGS)
            except OSError:
                continue
        return None

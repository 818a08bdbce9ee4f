"""Connections that only sit there: half of them say nothing, half trickle a head byte by byte.

A process of its own, so that they cost the tests no time of theirs: ``python -m
tests.support.stallers HOST PORT COUNT AGAIN`` holds COUNT connections from 250 addresses of the
loopback network, opens each again AGAIN seconds after it was cut, and ends with its standard input.
"""

from __future__ import annotations

import contextlib
import heapq
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

_HEAD = b"GET /v1/holdings HTTP/1.1\r\nX: "
_ADDRESSES = 250
_TRICKLE_S = 0.5


class _Staller:
    def __init__(self, number: int) -> None:
        self.local = f"127.0.1.{1 + number % _ADDRESSES}"
        self.trickles = number % 2 == 1
        self.sent = 0
        self.connection: socket.socket | None = None
        self.again_at_s = 0.0
        self.is_due = False


class _Stallers:
    def __init__(self, address: tuple[str, int], count: int, again_s: float) -> None:
        self._again_s = again_s
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin.buffer, selectors.EVENT_READ)
        self._stallers = [_Staller(number) for number in range(count)]
        self._due = [(0.0, number) for number in range(count)]
        self._opened = 0
        self._is_told = False

    def run(self) -> None:
        while True:
            now_s = time.monotonic()
            while self._due and self._due[0][0] <= now_s:
                self._act(heapq.heappop(self._due)[1], now_s)
            if not self._is_told and self._opened >= len(self._stallers):
                print("ready", flush=True)  # noqa: T201
                self._is_told = True
            timeout_s = max(self._due[0][0] - now_s, 0.001) if self._due else None
            for key, _ in self._selector.select(timeout_s):
                if key.fileobj is sys.stdin.buffer:
                    return
                self._end(key.data)

    def _act(self, number: int, now_s: float) -> None:
        staller = self._stallers[number]
        staller.is_due = False
        if staller.connection is None:
            if now_s < staller.again_at_s:
                self._plan(number, staller.again_at_s)
                return
            self._open(staller, number)
        elif staller.trickles:
            with contextlib.suppress(OSError):
                staller.connection.send((_HEAD + b"x" * 5000)[staller.sent : staller.sent + 1])
                staller.sent += 1
        if staller.trickles:
            self._plan(number, now_s + _TRICKLE_S)

    def _plan(self, number: int, at_s: float) -> None:
        if not self._stallers[number].is_due:
            self._stallers[number].is_due = True
            heapq.heappush(self._due, (at_s, number))

    def _open(self, staller: _Staller, number: int) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((staller.local, 0))
        connection.connect_ex(self._address)
        staller.connection, staller.sent = connection, 0
        self._selector.register(connection, selectors.EVENT_READ, number)
        self._opened += 1

    def _end(self, number: int) -> None:
        staller = self._stallers[number]
        assert staller.connection is not None
        self._selector.unregister(staller.connection)
        staller.connection.close()
        staller.connection = None
        staller.again_at_s = time.monotonic() + self._again_s
        self._plan(number, staller.again_at_s)


@contextlib.contextmanager
def stalling(address: tuple[str, int], count: int, *, again_s: float = 5.0) -> Iterator[int]:
    """Hold connections for as long as the context lasts.

    Args:
        address: Of a source.
        count: How many at the same time, if they are let.
        again_s: After how long one that was cut comes again; 5 s is what it lasts if it is not.

    Yields:
        The number of their process.
    """
    host, port = address
    command = [sys.executable, "-m", __spec__.name, host, str(port), str(count), str(again_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process.pid
        finally:
            process.stdin.close()
    assert process.returncode == 0


def main() -> None:
    host, port, count, again_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 100, most), most))
    _Stallers((host, port), count, again_s).run()


if __name__ == "__main__":
    main()

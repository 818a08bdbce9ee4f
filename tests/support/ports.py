"""Ports that stay free for who stopped listening there, whoever else runs tests meanwhile."""

from __future__ import annotations

import itertools
import os
import socket
from typing import Final

_FIRST: Final = 10_000
_PORTS_PER_WORKER: Final = 2_500
"""All below 32768: from there on the kernel gives ports to connections that go out."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 9
_numbers = itertools.cycle(range(_PORTS_PER_WORKER))
for _ in range(os.getpid() * 7 % _PORTS_PER_WORKER):  # two runs at once seldom meet
    next(_numbers)


def free_ports(count: int) -> list[int]:
    """Find ports at which nobody listens, all different; none is found twice for a long time."""
    ports: list[int] = []
    for number in _numbers:
        if len(ports) == count:
            break
        port = _FIRST + _worker * _PORTS_PER_WORKER + number
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        ports.append(port)
    return ports

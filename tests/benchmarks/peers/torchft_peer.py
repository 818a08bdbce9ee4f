"""Either end of torchft's HTTP checkpoint transport; runs with the interpreter that has it.

python torchft_peer.py serve FILE     prints where it serves the file, as one tensor in memory
python torchft_peer.py fetch ADDRESS  for each line on the input fetches, prints seconds
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import torch
from torchft.checkpointing.http_transport import HTTPTransport

TIMEOUT = timedelta(seconds=60)
STEP = 1
CHUNKS = 0
"""None: the default of its own benchmark; more are slower between two processes here."""


def _say_nothing(*_: object) -> None:
    """Take the place of the line that each request is worth to the server."""


def serve(path: str) -> None:
    """Serve a file's bytes until the input ends."""
    with open(path, "rb") as file:
        tensor = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
    setattr(BaseHTTPRequestHandler, "log_message", _say_nothing)  # noqa: B010 (mypy)
    transport = HTTPTransport[dict[str, torch.Tensor]](TIMEOUT, num_chunks=CHUNKS)
    transport.send_checkpoint([0], STEP, {"shard": tensor}, TIMEOUT)
    print(transport.metadata(), flush=True)
    sys.stdin.read()


def fetch(address: str) -> None:
    """Fetch into memory, again and again."""
    transport = HTTPTransport[dict[str, torch.Tensor]](TIMEOUT, num_chunks=CHUNKS)
    for _ in sys.stdin:
        started_s = time.perf_counter()
        received = transport.recv_checkpoint(0, address, STEP, TIMEOUT)
        took_s = time.perf_counter() - started_s
        del received
        print(took_s, flush=True)


if __name__ == "__main__":
    {"serve": serve, "fetch": fetch}[sys.argv[1]](sys.argv[2])

"""What the machine can do: nothing but moving, hashing and writing, with no daemon around it.

    python prototype.py serve FILE             prints its port
    python prototype.py fetch SIZE PORT…       for each path on the input fetches, prints seconds

A serving process sends ranges with ``sendfile``. The receiver has one blocking thread for each of
them, which takes a block off the socket, hashes it and writes it.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
import threading
import time

from blake3 import blake3

BLOCK_BYTES = 1 << 20
RANGE = struct.Struct("QQ")

_turn = threading.Lock()
"""The kernel lets one thread at a time write to a file; whoever waits for it there, spins."""


def serve(path: str) -> None:
    """Send the ranges of a file that are asked for until the input ends."""
    file = os.open(path, os.O_RDONLY)
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    threading.Thread(target=_accept, args=(listening, file), daemon=True).start()
    sys.stdin.read()


def _accept(listening: socket.socket, file: int) -> None:
    while True:
        connection, _ = listening.accept()
        while asked := connection.recv(RANGE.size, socket.MSG_WAITALL):
            offset, end = RANGE.unpack(asked)
            while offset < end:
                offset += os.sendfile(connection.fileno(), file, offset, end - offset)


def fetch(size_bytes: int, ports: list[int]) -> None:
    """Fetch a file, a share from each port, again and again."""
    lanes = [(socket.create_connection(("127.0.0.1", port)), mmap.mmap(-1, BLOCK_BYTES))
             for port in ports]  # fmt: skip
    share = -(-size_bytes // len(lanes) // BLOCK_BYTES) * BLOCK_BYTES
    for line in sys.stdin:
        started_s = time.perf_counter()
        file = os.open(line.strip(), os.O_CREAT | os.O_WRONLY, 0o644)
        os.ftruncate(file, size_bytes)
        threads = [
            threading.Thread(
                target=_take, args=(*lane, file, start, min(start + share, size_bytes))
            )
            for lane, start in zip(lanes, range(0, size_bytes, share), strict=False)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.close(file)
        print(time.perf_counter() - started_s, flush=True)


def _take(connection: socket.socket, memory: mmap.mmap, file: int, start: int, end: int) -> None:
    connection.sendall(RANGE.pack(start, end))
    view = memoryview(memory)
    for offset in range(start, end, BLOCK_BYTES):
        block = view[: min(BLOCK_BYTES, end - offset)]
        assert connection.recv_into(block, len(block), socket.MSG_WAITALL) == len(block)
        blake3(block).digest()
        with _turn:
            assert os.pwrite(file, block, offset) == len(block)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        fetch(int(sys.argv[2]), [int(port) for port in sys.argv[3:]])

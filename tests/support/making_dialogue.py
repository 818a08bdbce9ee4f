"""Records what two daemons say to each other, for tests of their successors.

Run it with the code of the commit whose dialogue is wanted, from the project's root; what it writes
is checked in and stays as it is::

    python -m tests.support.making_dialogue tests/integration/dialogues
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ckptd.limits import KIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, eventually
from tests.support.stagings import content_of
from tests.support.stores import write_files

CHECKPOINT: Final = "llama/rank-3"
VERSION: Final = 100
FILES: Final = {
    "config.json": b'{"layers": 2}\n',
    "empty": b"",
    "weights.bin": content_of(700 * KIB, seed=7),
}
"""What is published: three blocks in one of three files."""
CODED_REQUEST: Final = (
    "GET /v1/coded/{digest}?blocks=0-1 HTTP/1.1\r\nHost: test\r\nCkptd-Class: normal\r\n"
    "Ckptd-Coders: zstd, planes, delta, sparse\r\n\r\n"
)
"""What a receiver that knows coded blocks may ask for, of a source that it takes for one."""
BODIES_OF: Final = "/v1/checkpoints/"
"""Bodies below here are bytes of the version, and not kept."""

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Message(NamedTuple):
    """What one end said at once.

    Attributes:
        head: All of its head.
        body: Its body.
    """

    head: str
    body: bytes


def messages_of(said: bytes, methods: list[str] | None = None) -> list[Message]:
    """Return what one end said over a connection.

    Args:
        said: All its bytes.
        methods: Those of the requests that they answer; ``None``: they are requests.
    """
    messages: list[Message] = []
    at = 0
    while (end := said.find(_HEAD_END, at)) >= 0:
        end += len(_HEAD_END)
        head = said[at:end]
        length = _LENGTH.search(head)
        has_body = methods is not None and methods[len(messages)] == "GET" and b" 304 " not in head
        at = end + (int(length[1]) if length and has_body else 0)
        if at > len(said):
            break  # the connection ended within it
        messages.append(Message(head.decode("latin-1"), said[end:at]))
    return messages


class Recorder:
    """Stands between a receiver and a source, and keeps what they say.

    Args:
        port: Where the source listens.

    Attributes:
        address: Where the receiver finds it.
        said: By connection: what the receiver said, and the source.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.said: list[tuple[bytearray, bytearray]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def exchanges(self) -> Iterator[tuple[str, str, str]]:
        """Return what was asked and answered: both heads, and the body in hexadecimal digits."""
        for asked, answered in list(self.said):
            requests = [message.head for message in messages_of(bytes(asked))]
            methods = [request.split(" ", 1)[0] for request in requests]
            answers = messages_of(bytes(answered), methods)
            for request, (head, body) in zip(requests, answers, strict=False):
                yield request, head, "" if BODIES_OF in request else body.hex()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                kept = bytearray(), bytearray()
                self.said.append(kept)
                for pair in ((near, far, kept[0]), (far, near, kept[1])):
                    threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            kept += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def ask(address: str, request: str) -> Message:
    """Return the answer to one request."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request.encode("latin-1"))
        answer = b""
        while not (messages := messages_of(answer, [request.split(" ", 1)[0]])):
            received = connection.recv(65536)
            assert received, "the source answers"
            answer += received
    return messages[0]


def _make(cluster: Cluster) -> dict[str, object]:
    source = cluster.node("node-a")
    write_files(source.path("published"), FILES)
    published = source.publish(source.path("published"), CHECKPOINT, VERSION, deferred=())
    recorder = Recorder(int(source.address.rpartition(":")[2]))
    with contextlib.closing(recorder):
        receiver = cluster.node("node-b", peers=[recorder.address])
        eventually(lambda: receiver.holders(VERSION), "the receiver knows the source")
        assert receiver.recover(CHECKPOINT, VERSION).result is Result.COMPLETE
        exchanges = list(recorder.exchanges())
    request = CODED_REQUEST.format(digest=published.digest)
    head, body = ask(source.address, request)
    exchanges.append((request, head, body.hex()))
    return {"digest": published.digest, "exchanges": exchanges}


def main(directory: str) -> None:
    """Record."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as temporary, Cluster(Path(temporary)) as cluster:
        made = _make(cluster)
    text = json.dumps(made, indent=1, sort_keys=True)
    Path(directory, f"{commit}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

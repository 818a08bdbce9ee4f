"""A daemon of before coded blocks is understood, and understands: by what it said, word for word.

``tests/integration/dialogues`` has what two daemons of that commit said to each other when one
recovered a version from the other. ``test_mixed.py`` runs such daemons, where the history is.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from ckptd.model.words import Result
from ckptd.wire.heads import parse_request_head, parse_response_head
from tests.support.answering import answering
from tests.support.cluster import WAIT_S, Cluster
from tests.support.making_dialogue import BODIES_OF, CHECKPOINT, FILES, VERSION, ask
from tests.support.stores import write_files

pytestmark = pytest.mark.integration

NEW_FIELDS: Final = {"ckptd-coders"}
"""What is said now and was not then; who does not know a field does not look at it."""
OF_THE_MOMENT: Final = {"date", "etag", "ckptd-epoch", "ckptd-load"}
CONTENT: Final = b"".join(FILES[path] for path in ("config.json", "empty", "weights.bin"))
"""The address space."""
CODED: Final = "/v1/coded/"


class Exchange(NamedTuple):
    request: str
    head: str
    body: bytes


def recorded() -> tuple[str, list[Exchange]]:
    """Return the identity of the version, and all that was said."""
    path = Path(__file__).parent / "dialogues/c15998f7.json"
    said = json.loads(path.read_text())
    exchanges = [(request, head, bytes.fromhex(body)) for request, head, body in said["exchanges"]]
    return said["digest"], [Exchange(*each) for each in exchanges]


DIGEST, EXCHANGES = recorded()


def target_of(request: str) -> str:
    return request.split(" ", 2)[1]


def compared(was: Exchange) -> set[str]:
    """Return the fields of an answer that are the same whenever and wherever it is given."""
    fields = set(parse_response_head(was.head.encode()).fields) - OF_THE_MOMENT
    target = target_of(was.request)
    if target.startswith((BODIES_OF, "/v1/manifests/")):
        return fields | {"etag"}
    return fields - {"content-length"}  # epochs and times have more digits or fewer


def test_an_earlier_receiver_gets_the_answers_that_it_got(cluster: Cluster) -> None:
    source = cluster.node("node-a")
    write_files(source.path("published"), FILES)
    published = source.publish(source.path("published"), CHECKPOINT, VERSION, deferred=())
    assert published.digest == DIGEST, "the same bytes are the same version"
    bodies = {}
    for was in EXCHANGES:
        target = target_of(was.request)
        if target.startswith(CODED):
            continue
        now = ask(source.address, was.request)
        then, head = parse_response_head(was.head.encode()), parse_response_head(now.head.encode())
        assert (head.status, head.keep_alive) == (then.status, then.keep_alive), was.request
        assert head.fields.keys() - then.fields.keys() <= NEW_FIELDS, was.request
        for name in compared(was):
            assert head.fields[name] == then.fields[name], (was.request, name)
        if target.startswith(BODIES_OF):
            start, end = _range(parse_request_head(was.request.encode()).fields["range"])
            assert now.body == CONTENT[start : end + 1]
        bodies[target] = was.body, now.body
    was_body, body = bodies[f"/v1/manifests/{DIGEST}"]
    assert body == was_body
    was_said, said = (json.loads(each) for each in bodies["/v1/holdings"])
    assert said == {**was_said, "epoch": said["epoch"], "revision": said["revision"]}


class EarlierSource(ThreadingHTTPServer):
    """Answers with what was recorded.

    Attributes:
        asked: The targets of all requests.
        unknown: Those of them that it does not know.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.unknown: list[str] = []
        self.closing = threading.Event()
        said = {target_of(each.request): each for each in EXCHANGES}
        (self.refusal,) = (each for target, each in said.items() if target.startswith(CODED))
        self.answers = {t: each for t, each in said.items() if each is not self.refusal}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        source = self.server
        assert isinstance(source, EarlierSource)
        request = self._head()
        if not request:
            self.close_connection = True
            return
        asked = parse_request_head(request)
        source.asked.append(asked.target)
        if "if-none-match" in asked.fields:
            source.closing.wait(WAIT_S)
            self.close_connection = True
            return
        known = source.answers.get(asked.target)
        if known is None:
            source.unknown.append(asked.target)
            known = source.refusal
        head, body = known.head, known.body
        if asked.target.startswith(BODIES_OF):
            start, end = _range(asked.fields["range"])
            body = CONTENT[start : end + 1]
            head = re.sub(r"bytes \d+-\d+", f"bytes {start}-{end}", head)
            head = re.sub(r"(Content-Length:) \d+", rf"\1 {len(body)}", head)
        self.wfile.write(head.encode() + (body if asked.method == "GET" else b""))
        self.close_connection = not asked.keep_alive

    def _head(self) -> bytes:
        head = b""
        while line := self.rfile.readline():
            head += line
            if line == b"\r\n":
                return head
        return b""


def _range(field: str) -> tuple[int, int]:
    start, _, end = field.removeprefix("bytes=").partition("-")
    return int(start), int(end)


@contextlib.contextmanager
def earlier_source() -> Iterator[EarlierSource]:
    source = EarlierSource()
    with answering(source, source.closing):
        yield source


def test_an_earlier_source_is_asked_for_nothing_that_it_does_not_know(cluster: Cluster) -> None:
    with earlier_source() as source:
        receiver = cluster.node("node-b", peers=[source.address])
        result = receiver.recover(CHECKPOINT, VERSION)
        assert result.result is Result.COMPLETE
        for path, content in FILES.items():
            assert Path(result.target, path).read_bytes() == content
        assert f"{BODIES_OF}{DIGEST}" in source.asked
        assert source.unknown == []

"""What one answer is on the wire, and everything that can be wrong with it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from ckptd.limits import KIB
from tests.fuzz.mutating import Mutator
from tests.fuzz.targets import TARGETS

_PIECES_MAX: Final = 40
"""So often a drip pauses: a minute or ten, and it is over."""

_HELD: Final = 1e6
"""Longer than any dialogue."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is written.

    Attributes:
        status: Of the head.
        fields: Of the head; ``Content-Length`` is added where there is none.
        body: What follows.
        is_head_only: It answers a question for the head alone.
        before: What is sent before it.
        behind: What is sent after it.
        raw_head: The head as it is sent, whatever the rest says.
        pauses: Where to wait before going on: an offset in what is sent, and seconds.
        sent_max: The connection is over after so many bytes; ``None``: it stays.
        is_reset: It ends with a reset.
        seen_bytes: How many bytes of a version it brings.
    """

    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_head_only: bool = False
    before: bytes = b""
    behind: bytes = b""
    raw_head: bytes | None = None
    pauses: tuple[tuple[int, float], ...] = ()
    sent_max: int | None = None
    is_reset: bool = False

    @property
    def head(self) -> bytes:
        if self.raw_head is not None:
            return self.raw_head
        named = {"Content-Length": str(len(self.body)), **self.fields}
        lines = [f"HTTP/1.1 {self.status} X", *(f"{key}: {text}" for key, text in named.items())]
        return "\r\n".join((*lines, "", "")).encode("latin-1", "replace")

    def pieces(self) -> list[tuple[bytes, float]]:
        """Return what is sent, each with how long to wait before it."""
        body = b"" if self.is_head_only else self.body
        data = self.before + self.head + body + self.behind
        data = data if self.sent_max is None else data[: self.sent_max]
        found: list[tuple[bytes, float]] = []
        at, pause_s = 0, 0.0
        for offset, next_pause_s in (*self.pauses, (len(data), 0.0)):
            found.append((data[at : max(offset, at)], pause_s))
            at, pause_s = max(offset, at), next_pause_s
        return found


Fault = Callable[[Random, Reply], Reply]


def _status(rng: Random, reply: Reply) -> Reply:
    known = (200, 204, 206, 304, 301, 307, 400, 403, 404, 410, 416, 421, 429, 500, 502, 503, 599)
    status = rng.choice((*known, rng.randint(100, 999)))
    fields = dict(reply.fields)
    if rng.random() < 0.6:
        fields["Retry-After"] = rng.choice(
            ("0", "1", "59", "99999999999999999999999", "-5", "", "Fri, 31 Dec 9999 23:59:59 GMT")
        )
    body = reply.body if rng.random() < 0.3 else b"x" * rng.choice((0, 1, 300, 20_000))
    return replace(reply, status=status, fields=fields, body=body)


def _interim(rng: Random, reply: Reply) -> Reply:
    kind = rng.choice((b"100 Continue", b"103 Early Hints", b"101 Switching Protocols", b"199 "))
    count = rng.choice((1, 2, 30, 3000))
    return replace(reply, before=(b"HTTP/1.1 " + kind + b"\r\n\r\n") * count)


def _head(rng: Random, reply: Reply) -> Reply:
    if rng.random() < 0.3:
        return replace(reply, raw_head=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000)
    mutator = Mutator(TARGETS["response-head"], rng.randrange(2**32))
    mutator._pool = [reply.head, *mutator._pool[:3]]
    return replace(reply, raw_head=mutator.draw())


_VALUES: Final = {
    "Content-Length": ("0", "1", "-1", "+5", "5, 5", "67108864", "18446744073709551616", "x", ""),
    "Transfer-Encoding": ("chunked", "identity", "gzip, chunked"),
    "Content-Encoding": ("gzip", "identity", "zstd"),
    "Content-Range": ("bytes 0-0/1", "bytes */9", "bytes 5-1/9", "bytes 0-262143/9", "x"),
    "ETag": ('""', '"x"', f'"{"ab" * 32}"', '"1-1"', '"9223372036854775807-1"', "W/x", "*"),
    "Ckptd-Node": ("node-a", "node-r", "", "somebody", "x" * 300, "a, b"),
    "Ckptd-Epoch": ("0", "-1", "x", "9" * 30),
    "Ckptd-Load": ("9999999999999999999", "-1", "67108864", "x"),
    "Ckptd-Blocks": ("0-0", "0-99999999", "5-1", "1,1,1", "x", "0," * 300),
    "Retry-After": ("0", "60", "9" * 40),
    "Connection": ("close", "upgrade", "keep-alive, close"),
    "Location": ("http://169.254.169.254/", "/v1/holdings", "//x"),
    "Date": ("Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "x"),
    "Set-Cookie": ("a=b; Domain=.; Max-Age=999999999",),
    "X": ("y" * 5000, "y" * 9000, "\xff", "a\r\n b", "\0"),
}


def _field(rng: Random, reply: Reply) -> Reply:
    fields = dict(reply.fields)
    for name in rng.sample(sorted(_VALUES), rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.15:
            fields.pop(name, None)
        else:
            fields[name] = rng.choice(_VALUES[name])
    return replace(reply, fields=fields)


def _cut(rng: Random, reply: Reply) -> Reply:
    total = len(reply.head) + len(reply.body)
    near_end = max(total - rng.choice((1, 2, 100)), 0)
    sent_max = rng.choice((0, rng.randint(0, len(reply.head)), rng.randint(0, total), near_end))
    pauses = reply.pauses
    if rng.random() < 0.3:
        pauses = (*pauses, (sent_max, rng.choice((0.5, 5.0, 30.0, _HELD))))
    return replace(reply, sent_max=sent_max, is_reset=rng.random() < 0.5, pauses=pauses)


def _drip(rng: Random, reply: Reply) -> Reply:
    start = rng.choice((0, len(reply.head) // 2, len(reply.head)))
    total = max(len(reply.head) + len(reply.body), start + 1)
    count = rng.randint(2, _PIECES_MAX)
    step = rng.choice((1, max((total - start) // count, 1)))
    pause_s = rng.choice((0.05, 0.5, 2.0, 9.0))
    pauses = tuple((start + number * step, pause_s) for number in range(count))
    return replace(reply, pauses=pauses)


def _late(rng: Random, reply: Reply) -> Reply:
    return replace(reply, pauses=((0, rng.choice((0.3, 2.0, 9.0, 25.0, 70.0))), *reply.pauses))


def _more(rng: Random, reply: Reply) -> Reply:
    again = reply.head + reply.body
    more = rng.choice((b"\r\n", b"x" * 70_000, again, b"HTTP/1.1 206 Partial Content\r\n\r\n"))
    return replace(reply, behind=more)


def _mute(_rng: Random, reply: Reply) -> Reply:
    return replace(reply, pauses=((0, _HELD),), sent_max=0)


def _huge(rng: Random, reply: Reply) -> Reply:
    announced = rng.choice((17 * 2**20, 64 * 2**20, 2**40))
    fields = {**reply.fields, "Content-Length": str(announced)}
    return replace(reply, fields=fields, body=bytes(rng.choice((1, 300, 512))) * KIB)


def _nothing(_rng: Random, reply: Reply) -> Reply:
    return Reply(sent_max=0, is_reset=reply.status == 206)


FAULTS: Final[dict[str, Fault]] = {
    "status": _status,
    "interim": _interim,
    "head": _head,
    "field": _field,
    "cut": _cut,
    "drip": _drip,
    "late": _late,
    "more": _more,
    "mute": _mute,
    "huge": _huge,
    "nothing": _nothing,
}
"""Everything that can go wrong with an answer on its way, by name."""

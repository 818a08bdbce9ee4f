"""Request and response heads: the lines before a body, as bytes and as values.

httptools reads them; it is handed exactly one head, never a body, and none of its leniencies
is switched on. What it lets pass and this protocol does not use is refused here: bodies of
requests, transfer and content codings of responses, fields that contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

import httptools

from ckptd.errors import ProtocolViolation
from ckptd.limits import HEAD_BYTES_MAX, HEAD_FIELDS_MAX

METHODS: Final = ("GET", "HEAD")

_HEAD_END: Final = b"\r\n\r\n"
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_SINGULAR: Final = frozenset({
    "authorization", "ckptd-class", "ckptd-epoch", "ckptd-load", "ckptd-node", "content-length",
    "content-range", "content-type", "etag", "host", "if-range", "location", "range",
    "retry-after",
})  # fmt: skip
"""Fields with one value; a second one is an attempt to mean two things at once."""
_NAME: Final = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
_VALUE: Final = re.compile(r"[\x20-\x7e]*", re.ASCII)
_TARGET: Final = re.compile(r"/[\x21-\x7e]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a peer asks for.

    Attributes:
        method: ``"GET"`` or ``"HEAD"``.
        target: The request target as it came.
        fields: Lower-case name → value; values of a repeated field are joined by ``", "``.
        keep_alive: The peer wants to ask more on this connection.
        version: ``"1.0"`` or ``"1.1"``.
    """

    method: str
    target: str
    fields: Mapping[str, str]
    keep_alive: bool
    version: str


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What a source answers.

    Attributes:
        status: The status code.
        fields: Lower-case name → value; values of a repeated field are joined by ``", "``.
        content_length: Length of the body in bytes; ``None`` if the source does not say.
        keep_alive: The source will answer more on this connection.
        comes_in_parts: The body comes in parts, and says itself where it ends.
    """

    status: int
    fields: Mapping[str, str]
    content_length: int | None
    keep_alive: bool
    comes_in_parts: bool = False


def head_end(buffer: bytes | bytearray) -> int | None:
    """Return how many bytes the first head in a buffer has; ``None`` if it is not complete."""
    index = buffer.find(_HEAD_END)
    return None if index < 0 else index + len(_HEAD_END)


def parse_request_head(data: bytes | bytearray) -> RequestHead:
    """Read one request head, from its first byte to the empty line.

    Raises:
        ProtocolViolation: Not a head of this protocol; ``status`` says how to refuse it.
    """
    parser, collected = _feed(httptools.HttpRequestParser, data, "request head")
    method = parser.get_method().decode("ascii")
    if method not in METHODS:
        raise ProtocolViolation(
            "request head", f"has the method {method}", "Use GET or HEAD.", status=405
        )
    fields = collected.fields("request head")
    version = parser.get_http_version()
    if "transfer-encoding" in fields or int(fields.get("content-length", 0)):
        raise ProtocolViolation("request head", "announces a body")
    if version == "1.1" and "host" not in fields:
        raise ProtocolViolation("request head", "has no Host field")
    return RequestHead(
        method=method,
        target=collected.target.decode("latin-1"),
        fields=fields,
        keep_alive=_keeps_alive(fields, version),
        version=version,
    )


def parse_response_head(data: bytes | bytearray, *, in_parts: bool = False) -> ResponseHead:
    """Read one response head, from its first byte to the empty line.

    Args:
        data: Its bytes.
        in_parts: What was asked for may come in parts.

    Raises:
        ProtocolViolation: Not a head of this protocol.
    """
    parser, collected = _feed(httptools.HttpResponseParser, data, "response head")
    fields = collected.fields("response head")
    length = fields.get("content-length")
    is_in_parts = fields.get("transfer-encoding") == "chunked" and length is None
    comes_in_parts = is_in_parts and in_parts
    for coding in ("transfer-encoding", "content-encoding"):
        if coding in fields and not (comes_in_parts and coding == "transfer-encoding"):
            raise ProtocolViolation("response head", f"has the field {coding}")
    return ResponseHead(
        status=parser.get_status_code(),
        fields=fields,
        content_length=None if length is None else int(length),
        # Without a length the end of the connection is the end of the body.
        keep_alive=(length is not None or comes_in_parts)
        and _keeps_alive(fields, parser.get_http_version()),
        comes_in_parts=comes_in_parts,
    )


def request_head(target: str, fields: Mapping[str, str], *, method: str = "GET") -> bytes:
    """Write a request head.

    Raises:
        ValueError: The target, a name or a value has characters that do not belong there.
    """
    if method not in METHODS or not _TARGET.fullmatch(target):
        raise ValueError(f"no request: {method} {target!r}")
    return _write(f"{method} {target} HTTP/1.1", fields)


def response_head(status: int, fields: Mapping[str, str]) -> bytes:
    """Write a response head.

    Raises:
        ValueError: No such status, or a name or a value has characters that do not belong there.
    """
    return _write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", fields)


def _keeps_alive(fields: Mapping[str, str], version: str) -> bool:
    """Tell whether a connection lives on (RFC 9112 section 9.3).

    httptools cannot say: it forgets the answer with the last byte of a message without body.
    """
    options = {option.strip() for option in fields.get("connection", "").lower().split(",")}
    return "close" not in options and (version == "1.1" or "keep-alive" in options)


def _write(first_line: str, fields: Mapping[str, str]) -> bytes:
    lines = [first_line]
    for name, value in fields.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"no header field: {name!r}: {value!r}")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class _Collector:
    """What httptools calls while it reads a head."""

    __slots__ = ("is_complete", "pairs", "target")

    def __init__(self) -> None:
        self.target = b""
        self.pairs: list[tuple[bytes, bytes]] = []
        self.is_complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_complete = True

    def fields(self, subject: str) -> dict[str, str]:
        """Return the fields by lower-case name.

        Raises:
            ProtocolViolation: Too many, or two values where there can be one.
        """
        if len(self.pairs) > HEAD_FIELDS_MAX:
            raise ProtocolViolation(subject, f"has more than {HEAD_FIELDS_MAX} fields", status=431)
        fields: dict[str, str] = {}
        for raw_name, raw_value in self.pairs:
            name = raw_name.decode("latin-1").lower()
            value = raw_value.decode("latin-1").strip(" \t")
            if name not in fields:
                fields[name] = value
            elif name in _SINGULAR:
                raise ProtocolViolation(subject, f"has the field {name} twice")
            else:
                fields[name] += f", {value}"
        return fields


_Parser = TypeVar("_Parser", httptools.HttpRequestParser, httptools.HttpResponseParser)


def _feed(
    parser_type: type[_Parser], data: bytes | bytearray, subject: str
) -> tuple[_Parser, _Collector]:
    if len(data) > HEAD_BYTES_MAX:
        raise ProtocolViolation(subject, f"has more than {HEAD_BYTES_MAX} bytes", status=431)
    collected = _Collector()
    parser = parser_type(collected)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # an offer of another protocol; RFC 9110 section 7.8 lets us ignore it
    except httptools.HttpParserError as error:
        raise ProtocolViolation(subject, f"is not HTTP: {error}") from error
    if not collected.is_complete:
        raise ProtocolViolation(subject, "is not complete")
    if parser.get_http_version() not in _VERSIONS:
        raise ProtocolViolation(subject, "is not HTTP/1.0 or HTTP/1.1", status=505)
    return parser, collected

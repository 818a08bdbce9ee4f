from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import ProtocolViolation
from ckptd.limits import HEAD_BYTES_MAX, HEAD_FIELDS_MAX
from ckptd.wire.heads import (
    RequestHead,
    ResponseHead,
    head_end,
    parse_request_head,
    parse_response_head,
    request_head,
    response_head,
)

NAMES = st.from_regex(r"X-[A-Za-z0-9-]{1,20}", fullmatch=True)
VALUES = st.from_regex(r"[\x21-\x7e](?:[\x20-\x7e]{0,40}[\x21-\x7e])?", fullmatch=True)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=10)


def request(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def test_a_head_ends_with_the_first_empty_line() -> None:
    assert head_end(b"") is None
    assert head_end(b"GET / HTTP/1.1\r\n\r") is None
    assert head_end(b"GET / HTTP/1.1\n\n") is None
    assert head_end(bytearray(b"a\r\n\r\nb\r\n\r\n")) == 5


def test_a_request_head_is_read() -> None:
    data = request("GET /v1/holdings HTTP/1.1", "Host: a", "Ckptd-Class:  critical \t", "Empty:")
    assert parse_request_head(data) == RequestHead(
        method="GET",
        target="/v1/holdings",
        fields={"host": "a", "ckptd-class": "critical", "empty": ""},
        keep_alive=True,
        version="1.1",
    )


@pytest.mark.parametrize(
    ("first_line", "connection", "keep_alive"),
    [
        ("GET / HTTP/1.1", None, True),
        ("GET / HTTP/1.1", "close", False),
        ("GET / HTTP/1.1", "Foo, Close", False),
        ("GET / HTTP/1.1", "closed", True),
        ("GET / HTTP/1.0", None, False),
        ("GET / HTTP/1.0", "Keep-Alive", True),
        ("HEAD / HTTP/1.0", "keep-alive, close", False),
    ],
)
def test_a_connection_lives_on_as_the_version_and_the_field_say(
    first_line: str, connection: str | None, keep_alive: bool
) -> None:
    fields = [] if connection is None else [f"Connection: {connection}"]
    assert parse_request_head(request(first_line, "Host: a", *fields)).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["POST / HTTP/1.1", "Host: a"], 405),
        (["CONNECT a:1 HTTP/1.1", "Host: a"], 405),
        (["get / HTTP/1.1", "Host: a"], 400),
        (["GET / HTTP/1.1"], 400),
        (["GET / HTTP/1.1", "Host: a", "Host: b"], 400),
        (["GET / HTTP/1.1", "Host: a", "Range: bytes=0-1", "RANGE: bytes=0-1"], 400),
        (["GET / HTTP/1.1", "Host: a", "Content-Length: 1"], 400),
        (["GET / HTTP/1.1", "Host: a", "Content-Length: 0", "Content-Length: 0"], 400),
        (["GET / HTTP/1.1", "Host: a", "Content-Length: +1"], 400),
        (["GET / HTTP/1.1", "Host: a", f"Content-Length: {2**64}"], 400),
        (["GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"], 400),
        (["GET / HTTP/1.1", "Host: a", "Transfer-Encoding: identity"], 400),
        (["GET / HTTP/1.1", "Host: a", "X : y"], 400),
        (["GET / HTTP/1.1", "Host: a", "X: y", " folded"], 400),
        (["GET / HTTP/1.1", "Host: a", "X: a\nY: b"], 400),
        (["GET / HTTP/1.1", "Host: a", "X: a\0"], 400),
        (["GET / HTTP/2.0", "Host: a"], 505),
        (["GET /", "Host: a"], 505),
        (["GET /a b HTTP/1.1", "Host: a"], 400),
        (["GET / HTTP/1.1", "Host: a", "X: " + "x" * HEAD_BYTES_MAX], 431),
        (["GET / HTTP/1.1", "Host: a", *["A: b"] * HEAD_FIELDS_MAX], 431),
        (["HTTP/1.1 200 OK"], 400),
        ([""], 400),
        (["", ""], 400),
    ],
)
def test_a_request_head_that_is_not_the_protocol_is_refused(lines: list[str], status: int) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        parse_request_head(request(*lines))
    assert refused.value.status == status


def test_a_request_may_have_as_many_fields_as_the_limit_and_repeat_harmless_ones() -> None:
    fields = ["Host: a", *["Via: b"] * (HEAD_FIELDS_MAX - 1)]
    head = parse_request_head(request("GET / HTTP/1.1", *fields))
    assert head.fields["via"] == ", ".join("b" * (HEAD_FIELDS_MAX - 1))


def test_an_offer_of_another_protocol_is_ignored() -> None:
    upgrade = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "Content-Length: 0"]
    head = parse_request_head(request("GET / HTTP/1.1", "Host: a", *upgrade))
    assert (head.method, head.keep_alive) == ("GET", True)


def test_a_head_without_its_empty_line_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="not complete"):
        parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n")


def test_a_response_head_is_read() -> None:
    data = request("HTTP/1.1 206 Partial Content", "Content-Length: 5", "ETag: x")
    assert parse_response_head(data) == ResponseHead(
        status=206, fields={"content-length": "5", "etag": "x"}, content_length=5, keep_alive=True
    )


def test_a_response_without_a_length_ends_with_its_connection() -> None:
    head = parse_response_head(request("HTTP/1.1 200 OK"))
    assert (head.content_length, head.keep_alive) == (None, False)


@pytest.mark.parametrize(
    ("field", "keep_alive"), [("Connection: close", False), ("Connection: x", True)]
)
@pytest.mark.parametrize("length", [0, 5])
def test_a_response_says_whether_its_connection_lives_on(
    field: str, keep_alive: bool, length: int
) -> None:
    head = parse_response_head(request("HTTP/1.1 404 X", field, f"Content-Length: {length}"))
    assert head.keep_alive is keep_alive


@pytest.mark.parametrize(
    "lines",
    [
        ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"],
        ["HTTP/1.1 200 OK", "Content-Encoding: gzip", "Content-Length: 1"],
        ["HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 1"],
        ["HTTP/1.1 200 OK", "Content-Length: 1, 1"],
        ["HTTP/1.1 200 OK", "Content-Length: -1"],
        ["HTTP/1.1 206 OK", "Content-Range: bytes 0-1/2", "Content-Range: bytes 0-1/2"],
        ["HTTP/1.1 200 OK", "ETag: a", "etag: a"],
        ["HTTP/1.1 2000 OK"],
        ["HTTP/2 200"],
        ["GET / HTTP/1.1", "Host: a"],
        ["SSH-2.0-OpenSSH"],
    ],
)
def test_a_response_head_that_is_not_the_protocol_is_refused(lines: list[str]) -> None:
    with pytest.raises(ProtocolViolation):
        parse_response_head(request(*lines))


@given(st.sampled_from(["GET", "HEAD"]), FIELDS)
def test_a_request_head_is_read_as_it_was_written(method: str, fields: dict[str, str]) -> None:
    head = parse_request_head(request_head("/a/b", {"Host": "h", **fields}, method=method))
    expected = {name.lower(): value for name, value in fields.items()}
    if len(expected) == len(fields):
        assert (head.method, head.target) == (method, "/a/b")
        assert head.fields == {"host": "h", **expected}


@given(st.sampled_from([200, 206, 304, 404, 431, 503]), FIELDS)
def test_a_response_head_is_read_as_it_was_written(status: int, fields: dict[str, str]) -> None:
    head = parse_response_head(response_head(status, fields))
    expected = {name.lower(): value for name, value in fields.items()}
    if len(expected) == len(fields):
        assert (head.status, head.fields) == (status, expected)


@pytest.mark.parametrize("hostile", ["a\r\nX: b", "a\nb", "a\0", "ä", "a\x7f"])
def test_nothing_can_be_smuggled_into_a_head_that_is_written(hostile: str) -> None:
    with pytest.raises(ValueError, match="no header field"):
        response_head(200, {"X": hostile})
    with pytest.raises(ValueError, match="no header field"):
        response_head(200, {hostile: "x"})
    with pytest.raises(ValueError, match="no request"):
        request_head(f"/{hostile}", {})
    with pytest.raises(ValueError, match="no request"):
        request_head("/", {}, method=f"GET {hostile}")


HTTP_LIKE = st.lists(
    st.sampled_from([
        b"GET ", b"HEAD ", b"/", b" HTTP/1.1", b"HTTP/1.1 206 P", b"\r\n", b"\n", b"\r", b"\0",
        b"Host: a", b"Range: bytes=0-1", b"Content-Length: ", b"5", b"Transfer-Encoding: chunked",
        b"Connection: upgrade", b"Upgrade: x", b": ", b"\xff", b"X",
    ]),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(st.binary(max_size=300) | HTTP_LIKE)
def test_arbitrary_bytes_are_a_head_or_a_violation(data: bytes) -> None:
    for parse in (parse_request_head, parse_response_head):
        for head in (data, data + b"\r\n\r\n"):
            with suppress(ProtocolViolation):
                parse(head)


def test_a_head_may_be_as_long_as_the_limit() -> None:
    size_bytes = len(request("GET / HTTP/1.1", "Host: a", "X: "))
    line = "X: " + "y" * (HEAD_BYTES_MAX - size_bytes)
    assert parse_request_head(request("GET / HTTP/1.1", "Host: a", line)).method == "GET"
    with pytest.raises(ProtocolViolation, match="bytes"):
        parse_request_head(request("GET / HTTP/1.1", "Host: a", line + "y"))


def test_a_head_may_be_empty_up_to_its_end() -> None:
    assert head_end(b"\r\n\r\n") == 4


def test_only_the_newer_version_must_name_the_host() -> None:
    assert parse_request_head(request("GET / HTTP/1.0")).version == "1.0"
    with pytest.raises(ProtocolViolation, match="has no Host field"):
        parse_request_head(request("GET / HTTP/1.1"))

import asyncio
import json
from pathlib import Path

import pytest
import zstandard

from ckptd.errors import (
    CkptdError,
    ContentChanged,
    NotFound,
    OutOfSpace,
    ProtocolViolation,
    Shortage,
    StorageError,
    Withdrawn,
)
from ckptd.limits import KIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import HoldingsDelta
from ckptd.model.ids import Digest
from ckptd.model.words import UnservedReason
from ckptd.net.source.answers import (
    Answer,
    Answers,
    VersionBody,
    refuse,
    turn_away,
    unserved_reason,
)
from ckptd.net.source.server import ServedBytes
from ckptd.net.source.waits import Waits
from ckptd.wire.heads import parse_request_head
from ckptd.wire.holdings_document import decode_holdings
from tests.support.serving import EPOCH, FileContent, request

DATA = b"0123456789"
UNKNOWN = Digest("0" * 64)


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    return FileContent(tmp_path, {"a": DATA})


async def answer_to(
    content: FileContent,
    target: str | None = None,
    method: str = "GET",
    waits: Waits | None = None,
    /,
    **fields: str,
) -> Answer:
    """Ask for the version, if nothing else is said."""
    target = f"/v1/checkpoints/{content.digest}" if target is None else target
    head = parse_request_head(request(target, method, **fields))
    return await Answers(content, EPOCH, waits or Waits()).find(head)


def body_of(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def range_of(answer: Answer) -> tuple[int, int]:
    assert isinstance(answer.body, VersionBody)
    return answer.body.byte_range


# Refusals


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ProtocolViolation("range 'x'", "is none", status=416), 416, "protocol_violation"),
        (NotFound("version", "is not in /data/secret"), 404, "not_found"),
        (ContentChanged("file /data/secret/a", "changed"), 410, "content_changed"),
        (Withdrawn("llama@100", "is withdrawn"), 410, "withdrawn"),
        (StorageError("file /data/secret/a", "EIO"), 503, "storage"),
        (OutOfSpace("/data/secret", "is full"), 503, "out_of_space"),
        (Shortage("file /data/secret/a", "no descriptor is left"), 503, "shortage"),
        (CkptdError("/data/secret", "failed"), 500, "failed"),
    ],
)
def test_every_error_has_a_status_and_tells_nothing_of_this_node(
    error: CkptdError, status: int, code: str
) -> None:
    answer = refuse(error)
    assert answer.status == status
    assert answer.fields == {"Content-Type": "application/json"}
    assert json.loads(body_of(answer))["error"]["code"] == code
    assert b"secret" not in body_of(answer)


def test_a_peer_is_told_what_it_did_wrong() -> None:
    assert b"range 'x'" in body_of(refuse(ProtocolViolation("range 'x'", "is none")))
    assert refuse(ProtocolViolation("head", "DELETE", status=405)).fields["Allow"] == "GET, HEAD"


def test_a_receiver_that_is_turned_away_learns_when_to_come_again() -> None:
    answer = turn_away()
    assert (answer.status, answer.fields["Retry-After"]) == (429, "1")
    assert json.loads(body_of(answer))["error"]["code"] == "busy"


class BrokenContent(FileContent):
    async def open_version(self, digest: Digest) -> ServedBytes:
        raise KeyError(digest)


async def test_a_fault_of_this_node_is_answered_500_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = BrokenContent(tmp_path, {"a": DATA})
    assert (await answer_to(content)).status == 500
    assert "no answer to" in caplog.text


@pytest.mark.parametrize(
    "error",
    [OSError(24, "Too many open files"), MemoryError(), RuntimeError("can't start new thread")],
)
async def test_what_this_node_is_short_of_is_no_fault_of_it_to_a_receiver(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class ShortContent(FileContent):
        async def open_version(self, digest: Digest) -> ServedBytes:
            raise error

    assert (await answer_to(ShortContent(tmp_path, {"a": DATA}))).status == 503
    assert not caplog.records


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/nothing", 404),
        ("/v1/holdings?a=b", 400),
        (f"/v1/checkpoints/{UNKNOWN}", 404),
        (f"/v1/manifests/{UNKNOWN}", 404),
        (f"/v1/signatures/{UNKNOWN}", 404),
        (f"/v1/attributes/{UNKNOWN}", 404),
    ],
)
async def test_what_is_not_here_is_refused(content: FileContent, target: str, status: int) -> None:
    assert (await answer_to(content, target)).status == status


# Bodies in zstd


@pytest.fixture
def names(tmp_path: Path) -> FileContent:
    content = AttributedContent(
        tmp_path, {f"layers-{number:04}.bin": b"\1" for number in range(200)}
    )
    content.held = BlockSet((block, block + 1) for block in range(0, 200, 2))
    return content


@pytest.mark.parametrize("kind", ["holdings", "manifests", "attributes"])
async def test_only_who_asks_for_zstd_gets_it(names: FileContent, kind: str) -> None:
    target = "/v1/holdings" if kind == "holdings" else f"/v1/{kind}/{names.digest}"
    plain = await answer_to(names, target)
    for accepted in ("identity", "gzip, br", "*", "zstd;q=0", "zstd; q=0.000, gzip"):
        assert await answer_to(names, target, Accept_Encoding=accepted) == plain
    assert {"Content-Encoding", "Vary"}.isdisjoint(plain.fields)
    coded = await answer_to(names, target, Accept_Encoding="gzip, ZSTD;q=0.5")
    assert zstandard.decompress(body_of(coded)) == body_of(plain)
    assert coded.fields == {**plain.fields, "Content-Encoding": "zstd", "Vary": "Accept-Encoding"}
    assert coded.content_length == len(body_of(coded)) < plain.content_length * 0.7


async def test_bytes_of_a_version_and_refusals_are_never_coded(names: FileContent) -> None:
    for target in (None, f"/v1/manifests/{UNKNOWN}", "/v1/nothing"):
        answer = await answer_to(names, target, Accept_Encoding="zstd")
        assert "Content-Encoding" not in answer.fields


async def test_what_does_not_get_shorter_is_answered_as_it_is(content: FileContent) -> None:
    for target in ("/v1/holdings", f"/v1/manifests/{content.digest}"):
        plain = await answer_to(content, target)
        assert await answer_to(content, target, Accept_Encoding="zstd") == plain


# Ranges of versions


async def test_a_range_is_found_without_touching_a_byte(content: FileContent) -> None:
    (content.directory / "a").unlink()
    answer = await answer_to(content, range="bytes=2-4")
    assert isinstance(answer.body, VersionBody)
    assert (answer.status, answer.body.byte_range, answer.content_length) == (206, (2, 5), 3)
    assert (answer.body.digest, answer.body.version) == (content.digest, content)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("0-0", (0, 1)),
        ("0-8", (0, 9)),
        ("0-9", (0, 10)),
        ("0-10", (0, 10)),
        ("5-6", (5, 7)),
        ("9-9", (9, 10)),
        ("9-", (9, 10)),
        ("-1", (9, 10)),
        ("-10", (0, 10)),
        ("-11", (0, 10)),
    ],
)
async def test_both_ends_of_a_range_count(
    content: FileContent, asked: str, served: tuple[int, int]
) -> None:
    start, end = served
    answer = await answer_to(content, range=f"bytes={asked}")
    assert answer.status == 206
    assert range_of(answer) == served
    assert answer.content_length == end - start
    assert answer.fields == {
        "ETag": f'"{content.digest}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Range": f"bytes {start}-{end - 1}/10",
    }


async def test_a_whole_version_has_its_length_and_no_content_range(content: FileContent) -> None:
    answer = await answer_to(content)
    assert (answer.status, range_of(answer), answer.content_length) == (200, (0, 10), 10)
    assert answer.fields == {
        "ETag": f'"{content.digest}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }


@pytest.mark.parametrize("asked", ["10-", "10-10", "11-20", "-0"])
async def test_a_range_past_the_end_is_answered_with_the_length_there_is(
    content: FileContent, asked: str
) -> None:
    answer = await answer_to(content, range=f"bytes={asked}")
    assert (answer.status, answer.fields["Content-Range"]) == (416, "bytes */10")


@pytest.mark.parametrize("asked", ["items=0-1", "bytes=0-0,2-3", "bytes=3-2"])
async def test_a_range_that_is_none_is_refused_and_says_no_length(
    content: FileContent, asked: str
) -> None:
    answer = await answer_to(content, range=asked)
    assert answer.status == 400
    assert "Content-Range" not in answer.fields


async def test_a_range_is_served_only_if_all_of_it_is_held(tmp_path: Path) -> None:
    contents, border = {"a": bytes(600 * KIB)}, 256 * KIB
    content = FileContent(tmp_path, contents, held=BlockSet([(1, 2)]))
    ends = {
        f"bytes={border}-{2 * border - 1}": 206,
        f"bytes={border}-{2 * border}": 404,
        f"bytes={border - 1}-{2 * border - 1}": 404,
        "bytes=0-0": 404,
    }
    for asked, status in ends.items():
        assert (await answer_to(content, range=asked)).status == status, asked
    assert (await answer_to(content)).status == 404


async def test_an_empty_version_has_an_empty_body_and_no_ranges(tmp_path: Path) -> None:
    content = FileContent(tmp_path, {"empty": b""})
    answer = await answer_to(content)
    assert (answer.status, answer.body, answer.content_length) == (200, b"", 0)
    assert (await answer_to(content, range="bytes=0-")).status == 416


async def test_a_head_says_how_long_the_version_is_whatever_of_it_is_held(tmp_path: Path) -> None:
    content = FileContent(tmp_path, {"a": bytes(600 * KIB)}, held=BlockSet())
    for fields in ({}, {"range": "bytes=0-0"}, {"range": "nonsense"}):
        answer = await answer_to(content, None, "HEAD", **fields)
        assert (answer.status, answer.body, answer.content_length) == (200, b"", 600 * KIB)
        assert answer.fields["ETag"] == f'"{content.digest}"'


# Conditions


@pytest.mark.parametrize(
    "tag",
    [
        '"{other}"',
        'W/"{own}"',
        "{own}",
        '"{own}" ,',
        '"{own}", "{other}"',
        "*",
        "",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ],
)
async def test_a_range_counts_only_of_the_version_that_the_peer_knows(
    content: FileContent, tag: str
) -> None:
    """RFC 9110 section 13.1.5: compared strongly; whatever else is known, all is served."""
    known = tag.format(own=content.digest, other=UNKNOWN)
    answer = await answer_to(content, range="bytes=2-4", if_range=known)
    assert (answer.status, range_of(answer)) == (200, (0, 10))
    assert "Content-Range" not in answer.fields
    nonsense = await answer_to(content, range="bytes=99-", if_range=known)
    assert nonsense.status == 200, "a range that does not count is not read"


async def test_a_range_of_the_version_that_the_peer_knows_is_served(content: FileContent) -> None:
    etag = (await answer_to(content)).fields["ETag"]
    answer = await answer_to(content, range="bytes=2-4", if_range=etag)
    assert (answer.status, range_of(answer)) == (206, (2, 5))
    assert (await answer_to(content, range="bytes=10-", if_range=etag)).status == 416


async def test_who_knows_the_version_is_not_sent_it_again(content: FileContent) -> None:
    etag = f'"{content.digest}"'
    for known in (etag, f'"x", W/{etag}', "*"):
        for asked in ({}, {"range": "bytes=0-1"}):
            answer = await answer_to(content, if_none_match=known, **asked)
            assert (answer.status, answer.body) == (304, b"")
            assert answer.fields == {"ETag": etag, "Accept-Ranges": "bytes"}
    assert (await answer_to(content, if_none_match=f'"{UNKNOWN}"')).status == 200


async def test_a_manifest_never_changes(content: FileContent) -> None:
    target, etag = f"/v1/manifests/{content.digest}", f'"{content.digest}"'
    answer = await answer_to(content, target)
    assert (answer.status, answer.body) == (200, content.encoded)
    assert answer.content_length == len(content.encoded)
    assert answer.fields == {
        "ETag": etag,
        "Cache-Control": "public, max-age=31536000, immutable",
        "Content-Type": "application/octet-stream",
    }
    known = await answer_to(content, target, if_none_match=etag)
    assert (known.status, known.body, known.fields["ETag"]) == (304, b"", etag)
    assert (await answer_to(content, target, if_none_match='"x"')).status == 200


class SignedContent(FileContent):
    async def signatures(self, digest: Digest) -> bytes:
        return f"of {digest}".encode()


class AttributedContent(FileContent):
    async def attributes(self, digest: Digest) -> bytes:
        return f"of {digest}".encode() * 20


async def test_attributes_are_not_kept_by_anybody(tmp_path: Path) -> None:
    content = AttributedContent(tmp_path, {"a": DATA})
    answer = await answer_to(content, f"/v1/attributes/{content.digest}")
    assert (answer.status, body_of(answer)) == (200, f"of {content.digest}".encode() * 20)
    assert answer.fields == {
        "Content-Type": "application/octet-stream",
        "Cache-Control": "no-cache",
    }


async def test_signatures_are_not_kept_by_anybody(tmp_path: Path) -> None:
    content = SignedContent(tmp_path, {"a": DATA})
    answer = await answer_to(content, f"/v1/signatures/{content.digest}")
    assert (answer.status, body_of(answer)) == (200, f"of {content.digest}".encode())
    assert answer.fields == {"Content-Type": "text/plain", "Cache-Control": "no-cache"}


# Holdings


async def test_holdings_are_answered_whole_with_their_entity_tag(content: FileContent) -> None:
    answer = await answer_to(content, "/v1/holdings")
    assert decode_holdings(body_of(answer)) == content.holdings()
    assert (answer.status, answer.fields) == (
        200,
        {"ETag": f'"{EPOCH}-1"', "Cache-Control": "no-cache", "Content-Type": "application/json"},
    )


async def test_who_knows_the_holdings_is_not_sent_them_again(content: FileContent) -> None:
    known = await answer_to(content, "/v1/holdings", if_none_match=f'"{EPOCH}-1"')
    assert (known.status, known.body) == (304, b"")
    assert known.fields == {"ETag": f'"{EPOCH}-1"', "Cache-Control": "no-cache"}
    for other in (f'"{EPOCH}-2"', f'"{EPOCH + 1}-1"'):
        assert (await answer_to(content, "/v1/holdings", if_none_match=other)).status == 200


async def test_what_changed_is_for_who_asks_for_it_and_knows_what_was_before(
    content: FileContent,
) -> None:
    content.change()
    before = f'"{EPOCH}-1"'
    answer = await answer_to(content, "/v1/holdings", if_none_match=before, ckptd_delta="1")
    assert isinstance(decode_holdings(body_of(answer)), HoldingsDelta)
    assert (answer.status, answer.fields["ETag"]) == (200, f'"{EPOCH}-2"')
    assert answer.fields["Cache-Control"] == "no-store"
    for etag, wanted in ((before, ""), (before, "2"), (f'"{EPOCH + 1}-1"', "1"), ('"x"', "1")):
        whole = await answer_to(content, "/v1/holdings", if_none_match=etag, ckptd_delta=wanted)
        assert decode_holdings(body_of(whole)) == content.holdings()
        assert whole.fields["Cache-Control"] == "no-cache"


async def test_the_wait_for_holdings_ends_without_a_change(content: FileContent) -> None:
    waits = Waits()
    waiting = asyncio.ensure_future(
        answer_to(
            content, "/v1/holdings", "GET", waits, if_none_match=f'"{EPOCH}-1"', prefer="wait=60"
        )
    )
    await asyncio.sleep(0)
    assert not waiting.done()
    waits.cut()
    assert (await waiting).status == 304


async def test_the_wait_for_holdings_ends_with_a_change(content: FileContent) -> None:
    waiting = asyncio.ensure_future(
        answer_to(content, "/v1/holdings", if_none_match=f'"{EPOCH}-1"', prefer="wait=60")
    )
    await asyncio.sleep(0)
    content.change()
    answer = await waiting
    assert (answer.status, answer.fields["ETag"]) == (200, f'"{EPOCH}-2"')


class ImpatientContent(FileContent):
    async def wait_change(self, revision: int) -> None:
        raise AssertionError("nobody waits for a change")


@pytest.mark.parametrize(
    "fields",
    [
        {"if_none_match": f'"{EPOCH}-1"'},
        {"if_none_match": f'"{EPOCH}-1"', "prefer": "wait=0"},
        {"if_none_match": f'"{EPOCH}-2"', "prefer": "wait=60"},
        {"prefer": "wait=60"},
    ],
)
async def test_only_who_knows_the_holdings_and_wants_to_wait_does(
    tmp_path: Path, fields: dict[str, str]
) -> None:
    content = ImpatientContent(tmp_path, {"a": DATA})
    assert (await answer_to(content, "/v1/holdings", **fields)).status in {200, 304}


# What is not given, by reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotFound("version", "is gone"), UnservedReason.NOT_HELD),
        (ContentChanged("version", "changed"), UnservedReason.CHANGED),
        (Withdrawn("version", "is withdrawn"), UnservedReason.WITHDRAWN),
        (StorageError("disk", "refuses"), UnservedReason.FAILED),
        (CkptdError("node", "failed"), UnservedReason.FAILED),
        (ProtocolViolation("range", "is outside", status=416), None),
        (ProtocolViolation("request", "makes no sense"), None),
    ],
)
def test_a_refusal_has_its_reason_unless_the_peer_made_a_mistake(
    error: CkptdError, reason: UnservedReason | None
) -> None:
    head = parse_request_head(request(f"/v1/checkpoints/{UNKNOWN}"))
    assert unserved_reason(head, refuse(error)) is reason


def test_what_is_given_needs_no_reason_and_whoever_is_turned_away_has_one() -> None:
    head = parse_request_head(request(f"/v1/checkpoints/{UNKNOWN}"))
    assert [unserved_reason(head, Answer(status)) for status in (200, 206, 304)] == [None] * 3
    assert unserved_reason(head, turn_away()) is UnservedReason.BUSY


def test_neither_an_unknown_target_nor_a_missing_signature_counts_as_not_held() -> None:
    missing = refuse(NotFound("it", "is not here"))
    for target in ("/v1/nothing", f"/v1/signatures/{UNKNOWN}"):
        assert unserved_reason(parse_request_head(request(target)), missing) is None
    signatures = parse_request_head(request(f"/v1/signatures/{UNKNOWN}"))
    broken = refuse(StorageError("disk", "refuses"))
    assert unserved_reason(signatures, broken) is UnservedReason.FAILED

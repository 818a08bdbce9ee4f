import asyncio
import json
from pathlib import Path

import pytest

from ckptd.errors import (
    CkptdError,
    ContentChanged,
    NotFound,
    OutOfSpace,
    ProtocolViolation,
    StorageError,
)
from ckptd.model.ids import Digest
from ckptd.net.source.answers import Answers, VersionBody, refuse
from ckptd.net.source.server import ServedBytes
from ckptd.net.source.waits import Waits
from ckptd.wire.heads import parse_request_head
from tests.support.serving import EPOCH, FileContent, request


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ProtocolViolation("range 'x'", "is none", status=416), 416, "protocol_violation"),
        (NotFound("version", "is not in /data/secret"), 404, "not_found"),
        (ContentChanged("file /data/secret/a", "changed"), 410, "content_changed"),
        (StorageError("file /data/secret/a", "EIO"), 503, "storage"),
        (OutOfSpace("/data/secret", "is full"), 503, "out_of_space"),
        (CkptdError("/data/secret", "failed"), 500, "failed"),
    ],
)
def test_every_error_has_a_status_and_tells_nothing_of_this_node(
    error: CkptdError, status: int, code: str
) -> None:
    answer = refuse(error)
    assert answer.status == status
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["error"]["code"] == code
    assert b"secret" not in answer.body


def test_a_peer_is_told_what_it_did_wrong() -> None:
    assert b"range 'x'" in _body(refuse(ProtocolViolation("range 'x'", "is none")))
    assert refuse(ProtocolViolation("head", "DELETE", status=405)).fields["Allow"] == "GET, HEAD"


def _body(answer: object) -> bytes:
    body = getattr(answer, "body", None)
    assert isinstance(body, bytes)
    return body


async def test_a_range_is_found_without_touching_a_byte(tmp_path: Path) -> None:
    content = FileContent(tmp_path, {"a": b"0123456789"})
    (tmp_path / "a").unlink()
    answers = Answers(content, EPOCH, Waits())
    head = parse_request_head(request(f"/v1/checkpoints/{content.digest}", range="bytes=2-4"))
    answer = await answers.find(head)
    assert isinstance(answer.body, VersionBody)
    assert (answer.status, answer.body.byte_range, answer.content_length) == (206, (2, 5), 3)


class BrokenContent(FileContent):
    async def open_version(self, digest: Digest) -> ServedBytes:
        raise KeyError(digest)


async def test_a_fault_of_this_node_is_answered_500_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = BrokenContent(tmp_path, {"a": b"0123456789"})
    answers = Answers(content, EPOCH, Waits())
    head = parse_request_head(request(f"/v1/checkpoints/{content.digest}"))
    assert (await answers.find(head)).status == 500
    assert "no answer to" in caplog.text


async def test_the_wait_for_holdings_ends_without_a_change(tmp_path: Path) -> None:
    content, waits = FileContent(tmp_path, {"a": b""}), Waits()
    head = parse_request_head(
        request("/v1/holdings", if_none_match=f'"{EPOCH}-1"', prefer="wait=60")
    )
    waiting = asyncio.ensure_future(Answers(content, EPOCH, waits).find(head))
    await asyncio.sleep(0)
    assert not waiting.done()
    waits.cut()
    assert (await waiting).status == 304

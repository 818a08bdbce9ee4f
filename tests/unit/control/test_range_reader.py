"""A reader of ranges gives all that was asked for, of one content, or raises."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from ckptd.control.messages.prioritized import (
    NeedBytes,
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
)
from ckptd.control.range_reader import RangeReader
from ckptd.errors import CkptdError, Conflict, UsageError
from tests.support.control_samples import NEED_PROGRESS

CONTENT = bytes(range(256)) * 4
DIGEST = "d" * 64
RESULT = NeedResult(
    recovery="01J9",
    unit="a",
    path="",
    is_placed=False,
    stands_at="/data/v/a",
    unit_bytes=len(CONTENT),
    digest=DIGEST,
)


class StandIn:
    """Answers needs out of one content, in pieces of 100 bytes."""

    def __init__(self) -> None:
        self.requests: list[NeedRequest] = []

    def need(self, request: NeedRequest) -> Iterator[NeedEvent | bytes]:
        self.requests.append(request)
        if request.digest not in {"", DIGEST}:
            raise Conflict("unit", "is another one by now")
        start = request.offset or 0
        end = len(CONTENT) if request.length is None else start + request.length
        if end > len(CONTENT):
            raise UsageError("bytes", "are not there")
        yield NEED_PROGRESS
        for at in range(start, end, 100) if request.with_bytes else ():
            piece = CONTENT[at : min(at + 100, end)]
            yield NeedBytes(offset=at, size_bytes=len(piece))
            yield piece
        yield RESULT


def test_what_is_read_is_exactly_what_was_asked_for() -> None:
    waited: list[NeedProgress] = []
    reader = RangeReader(StandIn().need, "llama:a", waited.append)
    assert reader.read(90, 250) == CONTENT[90:340]
    assert reader.read(5, 1) == CONTENT[5:6]
    assert reader.read(0, 0) == b""
    assert b"".join(reader.pieces(1000)) == CONTENT[1000:]
    assert reader.size_bytes == len(CONTENT)
    assert waited == [NEED_PROGRESS] * 4
    with pytest.raises(UsageError, match="are not there"):
        reader.read(1000, 100)
    for wrong in ((-1, 5), (5, -1)):
        with pytest.raises(UsageError, match="begins before the unit"):
            reader.read(*wrong)


def test_its_needs_are_those_of_one_reader_and_of_one_content() -> None:
    daemon = StandIn()
    reader = RangeReader(daemon.need, "llama:a")
    assert reader.size_bytes == len(CONTENT)
    reader.read(0, 10)
    reader.wait(10, 20)
    first, second, third = daemon.requests
    assert (first.path, first.digest) == ("llama:a", "")
    assert (second.path, second.digest) == (RESULT.stands_at, DIGEST)
    assert (reader.unit, reader.stands_at) == (RESULT.unit, RESULT.stands_at)
    assert len(daemon.requests) == 3, "it knows that by then"
    assert RangeReader(daemon.need, "llama:a").unit == RESULT.unit
    assert RangeReader(daemon.need, "llama:a").stands_at == RESULT.stands_at
    assert first.reader == second.reader == third.reader != ""
    assert [each.with_bytes for each in daemon.requests[:3]] == [True, True, False]
    RangeReader(daemon.need, "llama:a").read(0, 1)
    assert daemon.requests[-1].reader != first.reader


@pytest.mark.parametrize(
    "answers",
    [
        (NeedBytes(offset=1, size_bytes=10), CONTENT[1:11], RESULT),
        (NeedBytes(offset=0, size_bytes=10), CONTENT[:9], RESULT),
        (NeedBytes(offset=0, size_bytes=9), CONTENT[:9], RESULT),
        (NeedBytes(offset=0, size_bytes=11), CONTENT[:11], RESULT),
        (
            NeedBytes(offset=0, size_bytes=10),
            CONTENT[:10],
            msgspec.structs.replace(RESULT, unit_bytes=None),
        ),
        (RESULT,),
    ],
)
def test_a_daemon_that_gives_something_else_is_not_believed(
    answers: tuple[NeedEvent | bytes, ...],
) -> None:
    with pytest.raises(CkptdError, match="control socket"):
        RangeReader(lambda _: iter(answers), "a").read(0, 10)


def test_bytes_that_nobody_asked_for_are_an_error() -> None:
    answers = (NeedBytes(offset=0, size_bytes=1), b"x", RESULT)
    with pytest.raises(CkptdError, match="where none were asked for"):
        RangeReader(lambda _: iter(answers), "a").wait(0, 10)

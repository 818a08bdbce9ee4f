"""The answer to a small question: how long it may take, and its body, read as it comes.

A head has a time of its own, however it comes. A body has to bring a minimum in each window, as the
bodies of ranges have, or all that its length says is left: so what an answer may take depends on
what it announced, and one that comes drop by drop ends with its first window.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Final

import aiohttp

from ckptd.errors import ProtocolViolation
from ckptd.limits import BODY_RATE_MIN_BYTES_PER_S, SECOND
from ckptd.model.words import RefusalReason
from ckptd.net.content_coding import ZSTD, Decoder
from ckptd.net.manifest_room import RoomShare
from ckptd.wire.fields import REFUSED, parse_refused, parse_retry_after

NOT_HELD: Final = frozenset({404, 410})
"""Statuses that say so."""

_WINDOW_S: Final = 5
"""Long enough for a few lost packets in a row; a body that is smaller than a window's minimum has
no more."""


class TurnedAway(ConnectionError):
    """A peer has no place for a question, and says which cap is reached.

    Attributes:
        pause_ns: For how long it wants to be left alone.
    """

    def __init__(self, cap: RefusalReason, pause_ns: int) -> None:
        super().__init__(f"it {cap.cap}")
        self.pause_ns = pause_ns


@dataclass(frozen=True, slots=True)
class SmallAnswer:
    """An answer whose head is here.

    Attributes:
        response: What the head says.
        deadline: When the question is given up; moved as the body comes.
    """

    response: aiohttp.ClientResponse
    deadline: asyncio.Timeout

    @property
    def pause_ns(self) -> int:
        """For how long the peer wants not to be asked again; 0 if it does not say."""
        away = self.response.headers.get("Retry-After")
        return 0 if away is None else parse_retry_after(away) * SECOND

    def expect_ok(self) -> None:
        """Check that it is what was asked for, or say what it is.

        Raises:
            TurnedAway: The peer has no place for the question.
            ConnectionError: It failed.
            ProtocolViolation: It has a status that makes no sense.
        """
        response, fields = self.response, self.response.headers
        cap = parse_refused(fields.get(REFUSED))
        if response.status == HTTPStatus.SERVICE_UNAVAILABLE and cap is not None:
            raise TurnedAway(cap, parse_retry_after(fields.get("Retry-After")) * SECOND)
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ConnectionError(f"{response.url.authority} answers {response.status}")
        if response.status != HTTPStatus.OK:
            raise ProtocolViolation(
                f"answer of {response.url.authority}", f"has the status {response.status}"
            )

    def is_held(self) -> bool:
        """Return whether the peer has what was asked for.

        Raises:
            ConnectionError, ProtocolViolation: As :meth:`expect_ok` says.
        """
        if self.response.status in NOT_HELD:
            return False
        self.expect_ok()
        return True

    async def read(
        self,
        bytes_max: int,
        behind: bytes = b"",
        share: RoomShare | None = None,
        *,
        may_be_coded: bool = False,
    ) -> bytes:
        """Return the body.

        It is in memory once, and no call copies more than what just came: one that copies a large
        body would hold the event loop up.

        Args:
            bytes_max: No more is taken.
            behind: What is returned begins with this, and the body follows.
            share: Given what came; it may refuse.
            may_be_coded: Zstd was asked for; what it stands for is returned, which may have
                ``bytes_max`` as well.

        Raises:
            ProtocolViolation: It is too long, coded in another way than was asked for, or does
                not say how long it is.
            Shortage: There is no memory for it.
        """
        length = self._length(bytes_max)
        is_coded = self._is_coded(may_be_coded=may_be_coded)
        window_bytes = BODY_RATE_MIN_BYTES_PER_S * _WINDOW_S
        body = BytesIO()  # hands out its own buffer
        body.write(behind)
        grow = _grow_freely if share is None else share.grow
        decoder = Decoder(self._subject, body, bytes_max, grow) if is_coded else None
        read_bytes = due = 0
        while read_bytes < length:
            if read_bytes >= due:
                due = min(read_bytes + window_bytes, length)
                self.deadline.reschedule(asyncio.get_running_loop().time() + _WINDOW_S)
            part = await self.response.content.readany()
            if not part:
                break
            read_bytes += len(part)
            if decoder is not None:
                await decoder.feed(part)
                continue
            grow(len(part))
            body.write(part)
        self.deadline.reschedule(None)
        if decoder is not None:
            decoder.end()
        return body.getvalue()

    def _length(self, bytes_max: int) -> int:
        subject = self._subject
        if "Transfer-Encoding" in self.response.headers:
            raise ProtocolViolation(subject, "has the field Transfer-Encoding")
        length = self.response.content_length
        if length is None:
            raise ProtocolViolation(subject, "does not say how long it is")
        if length > bytes_max:
            raise ProtocolViolation(subject, f"has {length} bytes, more than {bytes_max}")
        return length

    def _is_coded(self, *, may_be_coded: bool) -> bool:
        codings = self.response.headers.getall("Content-Encoding", ())
        if codings and not (may_be_coded and list(codings) == [ZSTD]):
            raise ProtocolViolation(self._subject, "has the field Content-Encoding")
        return bool(codings)

    @property
    def _subject(self) -> str:
        return f"answer of {self.response.url.authority}"


def _grow_freely(_: int) -> None:
    """Take memory that nobody shares."""

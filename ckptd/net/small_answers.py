"""The answer to a small question: how long it may take, and its body, read as it comes.

A head has a time of its own, however it comes. A body has to bring a minimum in each window, as the
bodies of ranges have, or all that its length says is left: so what an answer may take depends on
what it announced, and one that comes drop by drop ends with its first window.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import aiohttp

from ckptd.errors import ProtocolViolation
from ckptd.limits import BODY_RATE_MIN_BYTES_PER_S

_WINDOW_S: Final = 5
"""Long enough for a few lost packets in a row; a body that is smaller than a window's minimum has
no more."""


@dataclass(frozen=True, slots=True)
class SmallAnswer:
    """An answer whose head is here.

    Attributes:
        response: What the head says.
        deadline: When the question is given up; moved as the body comes.
    """

    response: aiohttp.ClientResponse
    deadline: asyncio.Timeout

    async def read(self, bytes_max: int, behind: bytes = b"") -> bytes:
        """Return the body.

        It is in memory once, and no call copies more than what just came: one that copies a large
        body would hold the event loop up.

        Args:
            bytes_max: No more is taken.
            behind: What is returned begins with this, and the body follows.

        Raises:
            ProtocolViolation: It is too long, coded, or does not say how long it is.
        """
        length = self._length(bytes_max)
        window_bytes = BODY_RATE_MIN_BYTES_PER_S * _WINDOW_S
        body = BytesIO()  # hands out its own buffer
        body.write(behind)
        read_bytes = due = 0
        while read_bytes < length:
            if read_bytes >= due:
                due = min(read_bytes + window_bytes, length)
                self.deadline.reschedule(asyncio.get_running_loop().time() + _WINDOW_S)
            part = await self.response.content.readany()
            if not part:
                break
            read_bytes += body.write(part)
        self.deadline.reschedule(None)
        return body.getvalue()

    def _length(self, bytes_max: int) -> int:
        subject = f"answer of {self.response.url.authority}"
        for coding in ("Transfer-Encoding", "Content-Encoding"):
            if coding in self.response.headers:
                raise ProtocolViolation(subject, f"has the field {coding}")
        length = self.response.content_length
        if length is None:
            raise ProtocolViolation(subject, "does not say how long it is")
        if length > bytes_max:
            raise ProtocolViolation(subject, f"has {length} bytes, more than {bytes_max}")
        return length

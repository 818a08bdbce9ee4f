"""Documents of the holdings in zstd: each is compressed once, for all who ask for it."""

from __future__ import annotations

import asyncio

from ckptd.net.content_coding import compressed_off_loop


class CodedDocuments:
    """Those of the newest revision; belongs to the event loop."""

    def __init__(self) -> None:
        self._revision = 0
        self._coded: dict[int | None, bytes | None] = {}  # by the revision that they change
        self._turn = asyncio.Lock()

    async def get(self, revision: int, since: int | None, document: bytes) -> bytes | None:
        """Return a document in zstd; ``None`` where that saves too little.

        Args:
            revision: What it tells.
            since: Which revision it changes; ``None``: it is the whole.
            document: The document.
        """
        async with self._turn:
            if revision < self._revision:
                return None  # the next answer tells more anyhow
            if revision > self._revision:
                self._revision = revision
                self._coded.clear()
            if since not in self._coded:
                self._coded[since] = await compressed_off_loop(document)
            return self._coded[since]

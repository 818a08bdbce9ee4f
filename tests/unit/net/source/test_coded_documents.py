"""A document is compressed once for all who ask, and nothing of an older revision is kept."""

from __future__ import annotations

import asyncio

import pytest

from ckptd.net.content_coding import CODED_FROM_BYTES, compressed
from ckptd.net.source import coded_documents
from ckptd.net.source.coded_documents import CodedDocuments

LONG = b"holding " * 20_000


@pytest.fixture
def compressions(monkeypatch: pytest.MonkeyPatch) -> list[bytes | memoryview]:
    seen: list[bytes | memoryview] = []

    async def note(body: bytes | memoryview) -> bytes | None:
        seen.append(body)
        await asyncio.sleep(0.001)
        return compressed(body)

    monkeypatch.setattr(coded_documents, "compressed_off_loop", note)
    return seen


async def test_all_who_ask_share_one_compression(compressions: list[bytes]) -> None:
    documents = CodedDocuments()
    first = await documents.get(1, None, LONG)
    assert first is not None
    others = await asyncio.gather(*(documents.get(1, None, LONG) for _ in range(50)))
    assert {id(each) for each in others} == {id(first)}
    assert len(compressions) == 1
    assert await documents.get(1, 0, LONG[:-8]) == compressed(LONG[:-8])
    assert len(compressions) == 2


async def test_of_an_older_revision_nothing_is_kept(compressions: list[bytes]) -> None:
    documents = CodedDocuments()
    await documents.get(1, None, LONG)
    assert await documents.get(2, None, LONG + b"more") == compressed(LONG + b"more")
    assert await documents.get(1, None, LONG) is None
    assert len(compressions) == len(documents._coded) + 1 == 2


async def test_a_short_one_stays_as_it_is() -> None:
    assert await CodedDocuments().get(1, None, LONG[: CODED_FROM_BYTES - 1]) is None

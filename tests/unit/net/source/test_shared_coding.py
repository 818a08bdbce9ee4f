"""What was coded is kept while answers are sent, and for a while after the last one."""

from __future__ import annotations

import asyncio

import pytest

from ckptd.model.words import Coder
from ckptd.net.source import shared_coding
from ckptd.net.source.coded_forms import CodedForm, FormKey
from ckptd.net.source.shared_coding import SharedCoding
from tests.support.serving import on_both_loops, until

KEY = FormKey(b"block", b"base", frozenset({Coder.ZSTD}))


def make(shared: SharedCoding) -> None:
    assert shared.forms.claim(KEY) is None
    shared.forms.release(KEY, CodedForm(Coder.ZSTD, 1, (b"made",)))


def is_kept(shared: SharedCoding) -> bool:
    found = shared.forms.claim(KEY)
    if found is None:
        shared.forms.release(KEY, None)
    return found is not None


@on_both_loops
async def test_it_is_forgotten_when_nobody_was_answered_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_coding, "KEPT_S", 0.0)
    shared = SharedCoding(1.0)
    with shared.answering():
        with shared.answering():
            make(shared)
        for _ in range(3):
            await asyncio.sleep(0)
        assert is_kept(shared), "another answer is still sent"
    await until(lambda: not is_kept(shared))


@on_both_loops
async def test_it_is_there_for_who_comes_before_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_coding, "KEPT_S", 0.0)
    shared = SharedCoding(1.0)
    with shared.answering():
        make(shared)
    with shared.answering():
        for _ in range(3):
            await asyncio.sleep(0)
        assert is_kept(shared)

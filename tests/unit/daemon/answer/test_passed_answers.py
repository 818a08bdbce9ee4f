"""What a caller passed is let go when its publishing has ended, however it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.daemon.answer import passed_answers
from ckptd.daemon.answer.passed_answers import Passing
from ckptd.store.files.roots import Root, Roots


class _Caller:
    """Passes the file that it is asked for."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        yield

    async def receive(self, count: int) -> list[int | None]:
        return [os.open(self._file, os.O_RDONLY)] * count

    def refuse(self, _: object) -> None:
        raise AssertionError("is to be kept")


@pytest.fixture
def file(root: Root) -> Path:
    path = Path(root.path, "file")
    path.write_bytes(b"content")
    return path


async def test_what_is_taken_when_the_caller_has_gone_is_let_go(
    root: Root, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = Roots([root])
    asked = SimpleNamespace(path="file", place="file")
    monkeypatch.setattr(passed_answers, "find_closed", lambda *_: [asked])
    is_taking, may_take, take = threading.Event(), threading.Event(), cast("Any", root.passed.take)

    def take_late(*given: object) -> object:
        is_taking.set()
        assert may_take.wait(60)
        return take(*given)

    monkeypatch.setattr(root.passed, "take", take_late)
    passing = Passing(cast("Any", _Caller(file)), 7)
    asking = passing.ask(root, "", cast("Any", None))
    await anext(asking)
    going_on = asyncio.ensure_future(anext(asking))
    await asyncio.to_thread(is_taking.wait, 60)
    going_on.cancel()
    await asyncio.wait([going_on])
    passing.settle()
    may_take.set()
    taking = passing._taking
    assert taking is not None
    await taking
    await asyncio.sleep(0)
    assert len(roots.passed) == 1
    assert roots.passed.keep_only(()) == 1, "nobody uses it"

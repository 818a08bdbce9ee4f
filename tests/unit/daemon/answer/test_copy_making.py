from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from ckptd.daemon.answer import copy_making
from ckptd.daemon.answer.copy_making import CopyMaking, Made
from ckptd.errors import CkptdError
from ckptd.model.words import MaterialiseStage
from ckptd.store.files.roots import Root
from ckptd.store.materialising.chain_files import ChainFiles
from ckptd.store.materialising.made_note import MadeNote
from tests.support.materialising import target_at

FILES = ChainFiles({}, {}, ())


@pytest.fixture(autouse=True)
def _reports_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_making, "_PROGRESS_S", 0.001)


async def test_what_is_stopped_is_over_when_its_stream_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def make(*arguments: object) -> MadeNote:
        on_progress: Callable[[int], None] = arguments[-1]  # type: ignore[assignment]
        try:
            while True:
                on_progress(1)
                time.sleep(0.001)
        finally:
            ended.set()

    monkeypatch.setattr(copy_making, "make_copy", make)
    target = target_at(Root.open("data", str(tmp_path)), "made")
    made = Made[MadeNote]()
    async with aclosing(CopyMaking().make(target, FILES, [], made)) as events:
        async for message in events:
            if message.bytes_done:
                assert message.stage is MaterialiseStage.APPLYING
                break
    assert ended.is_set()
    assert not hasattr(made, "result")


async def test_one_waits_for_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(copy_making, "standing_copy", lambda *_: goes_on.wait() and None)
    making, target = CopyMaking(), target_at(Root.open("data", str(tmp_path)), "made")
    first, second = Made[MadeNote | None](), Made[MadeNote | None]()
    async with (
        aclosing(making.standing(target, first)) as one,
        aclosing(making.standing(target, second)) as other,
    ):
        async for message in one:
            if message.stage is MaterialiseStage.COMPARING:
                break
        assert (await anext(other)).stage is MaterialiseStage.WAITING
        goes_on.set()
        async for _ in one:
            pass
        async for _ in other:
            pass
    assert (first.result, second.result) == (None, None)


async def test_what_it_raises_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CkptdError("target", "is in the way")

    monkeypatch.setattr(copy_making, "standing_copy", refuse)
    target = target_at(Root.open("data", str(tmp_path)), "made")
    with pytest.raises(CkptdError, match="is in the way"):
        async for _ in CopyMaking().standing(target, Made[MadeNote | None]()):
            pass

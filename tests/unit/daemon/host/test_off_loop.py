"""Files are read again by other threads than the loop's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from ckptd.daemon.host.off_loop import facts_of, read_start
from ckptd.limits import KIB
from tests.support.serving import until


async def test_no_more_is_read_than_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(300 * KIB))
    assert len(await read_start(f"{tmp_path}/file", 256 * KIB)) == 256 * KIB
    assert len(await read_start(f"{tmp_path}/file", 512 * KIB)) == 300 * KIB
    assert await facts_of(f"{tmp_path}/file") == os.stat(tmp_path / "file")
    for ask in (facts_of(f"{tmp_path}/gone"), read_start(f"{tmp_path}/gone", 1)):
        with pytest.raises(FileNotFoundError):
            await ask


async def test_the_loop_turns_while_a_file_keeps_its_reader_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow")
    reading = asyncio.ensure_future(read_start(f"{tmp_path}/slow", 5))
    turns = 0
    while turns < 50:
        await asyncio.sleep(0.001)
        turns += 1
    assert not reading.done()
    with open(tmp_path / "slow", "wb") as writer:  # noqa: ASYNC230  a reader is there already
        writer.write(b"words and more")
    await until(reading.done)
    assert reading.result() == b"words"

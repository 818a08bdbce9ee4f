"""What saves something travels in zstd, and no few bytes become memory that nobody allowed."""

from __future__ import annotations

import asyncio
import mmap
import random
import weakref
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
import zstandard

from ckptd.errors import ProtocolViolation, Shortage
from ckptd.limits import KIB, MANIFEST_BYTES_MAX, MIB
from ckptd.net.content_coding import (
    _TURN_BYTES,
    CODED_FROM_BYTES,
    WINDOW_BYTES_MAX,
    Decoder,
    compressed,
    compressed_off_loop,
)

NAMES = b"".join(b"layers/%04d/weight.bin " % number for number in range(40_000))


def decoder(
    into: BytesIO | None = None, bytes_max: int = MIB, grown: list[int] | None = None
) -> Decoder:
    into = BytesIO() if into is None else into
    return Decoder("answer", into, bytes_max, ([] if grown is None else grown).append)


async def decode(coded: bytes, bytes_max: int = MIB, part_bytes: int = 64 * KIB) -> bytes:
    into = BytesIO()
    reading = decoder(into, bytes_max)
    for start in range(0, len(coded), part_bytes):
        await reading.feed(coded[start : start + part_bytes])
    reading.end()
    return into.getvalue()


def test_what_digests_there_are_does_not_get_shorter_and_stays_as_it_is() -> None:
    digests = random.Random(1).randbytes(100 * KIB)
    assert compressed(digests) is None
    assert compressed(b"x" * (CODED_FROM_BYTES - 1)) is None
    coded = compressed(NAMES)
    assert coded is not None
    assert len(coded) < len(NAMES) / 4


@pytest.mark.parametrize("size_bytes", [CODED_FROM_BYTES, 64 * KIB, 65 * KIB, MIB, 4 * MIB])
@pytest.mark.parametrize("part_bytes", [1000, 64 * KIB, 8 * MIB])
async def test_what_was_coded_is_read_again(size_bytes: int, part_bytes: int) -> None:
    body = (NAMES * (size_bytes // len(NAMES) + 1))[:size_bytes]
    coded = await compressed_off_loop(body)
    assert coded is not None
    assert await decode(coded, size_bytes, part_bytes) == body


@pytest.mark.parametrize("length", [None, 1 * KIB])
async def test_what_decoded_goes_with_its_last_reference(length: int | None) -> None:
    """The collector does not see what decodes: in a cycle it would stay, with its windows."""
    coded = compressed(NAMES)
    assert coded is not None
    reading = decoder()
    await reading.feed(coded[:length])
    with suppress(ProtocolViolation):
        reading.end()
    gone = weakref.ref(reading)
    del reading
    assert gone() is None


async def test_a_head_may_come_byte_by_byte() -> None:
    coded = compressed(NAMES[: 2 * KIB])
    assert coded is not None
    assert await decode(coded, part_bytes=1) == NAMES[: 2 * KIB]


async def test_the_longest_body_is_coded_within_the_window_that_is_read() -> None:
    body = bytes(MANIFEST_BYTES_MAX)
    coded = compressed(body)
    assert coded is not None
    assert zstandard.get_frame_parameters(coded).window_size <= WINDOW_BYTES_MAX
    assert await decode(coded, MANIFEST_BYTES_MAX) == body


def frame(size_bytes: int = 100, *, says_size: bool = True, window_log: int = 20) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, window_log=window_log, write_content_size=says_size
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(
        random.Random(size_bytes).randbytes(size_bytes)
    )


def understated(size_bytes: int, says_bytes: int) -> bytes:
    """Return a frame that states another length of its content in the same form."""
    coded = zstandard.compress(bytes(size_bytes), 1)
    at = coded.index(size_bytes.to_bytes(4, "little"))
    return coded[:at] + says_bytes.to_bytes(4, "little") + coded[at + 4 :]


REFUSED = {
    "longer than allowed": frame(MIB + 1),
    "no length": frame(says_size=False),
    "window": frame(3 * MIB, window_log=21),
    "no frame": b"x" * 100,
    "short": b"\x28\xb5\x2f\xfd",
    "more than it says": understated(8 * MIB, MIB - 1),
    "less than it says": understated(512 * KIB, 600 * KIB),
    "cut": frame(1000)[:-1],
    "frame and junk": frame() + b"junk" * 10,
    "two frames": frame() + frame(),
    "a frame that is skipped": b"\x50\x2a\x4d\x18\x60\0\0\0" + bytes(0x60),
}


@pytest.mark.parametrize("coded", REFUSED.values(), ids=REFUSED)
async def test_a_body_that_is_not_one_frame_within_its_limits_is_a_violation(coded: bytes) -> None:
    limit = 8 * MIB if coded is REFUSED["window"] else MIB
    with pytest.raises(ProtocolViolation):
        await decode(coded, limit)


async def test_what_a_frame_claims_is_refused_before_any_of_it_is_read() -> None:
    for name, why in {
        "longer than allowed": f"{MIB + 1} bytes of content, more than {MIB}",
        "no length": "does not say how long",
        "window": "asks for a window",
    }.items():
        into = BytesIO()
        limit = 8 * MIB if name == "window" else MIB
        with pytest.raises(ProtocolViolation, match=why):
            await decoder(into, limit).feed(REFUSED[name][:18])
        assert into.tell() == 0


def mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


@pytest.mark.parametrize("coded", REFUSED.values(), ids=REFUSED)
async def test_no_memory_is_lost_with_a_body_that_is_refused(coded: bytes) -> None:
    limit = 8 * MIB if coded is REFUSED["window"] else MIB

    async def refuse(times: int) -> None:
        for _ in range(times):
            with suppress(ProtocolViolation):
                await decode(coded, limit)

    await refuse(10)
    before = mapped_bytes()
    await refuse(100)
    assert mapped_bytes() - before < 100 * 64 * KIB


async def test_no_byte_is_kept_beyond_what_a_frame_claims() -> None:
    into = BytesIO()
    with pytest.raises(ProtocolViolation, match="more content than it says"):
        await decoder(into).feed(REFUSED["more than it says"])
    assert into.tell() < MIB


async def test_a_bomb_is_looked_at_while_it_goes_off_and_others_have_their_turn() -> None:
    bomb = zstandard.compress(bytes(MANIFEST_BYTES_MAX), 1)
    assert len(bomb) < 4 * KIB
    grown: list[int] = []
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(others())
        await decoder(bytes_max=MANIFEST_BYTES_MAX, grown=grown).feed(bomb)
        task.cancel()
    assert sum(grown) == MANIFEST_BYTES_MAX
    assert max(grown) <= _TURN_BYTES + 8 * MIB  # 256 bytes: 64 blocks of 128 KiB
    assert turns >= MANIFEST_BYTES_MAX / (_TURN_BYTES + 8 * MIB)


async def test_who_has_no_memory_for_it_stops_it_in_the_middle() -> None:
    into = BytesIO()

    def refuse(count_bytes: int) -> None:
        raise Shortage("manifest", "waits")

    reading = Decoder("answer", into, MANIFEST_BYTES_MAX, refuse)
    with pytest.raises(Shortage):
        await reading.feed(zstandard.compress(bytes(MANIFEST_BYTES_MAX), 1))
    assert into.tell() <= _TURN_BYTES + 8 * MIB

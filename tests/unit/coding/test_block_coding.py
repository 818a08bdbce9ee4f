"""What is coded decodes to the same bytes; anything else is refused, and costs no memory."""

from __future__ import annotations

import random
import tracemalloc

import numpy
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import HEAD_BYTES, NO_BASE, WIDTHS, CodedHead, read_head
from ckptd.errors import ProtocolViolation
from ckptd.limits import KIB, MIB
from ckptd.model.words import Coder

CODERS = (Coder.ZSTD, Coder.PLANES, Coder.DELTA, Coder.SPARSE, Coder.NIBBLES)


def neighbours(
    length: int, *, share: float, seed: int = 1, moved_by: float = 0.01
) -> tuple[bytes, bytes]:
    """Return bf16 weights and those of a few steps before, of which some are the same."""
    drawn = numpy.random.default_rng(seed)
    now = (drawn.standard_normal(length // 2 + 1) * 0.02).astype("<f4")
    moved = drawn.random(len(now)) < share
    was = numpy.where(moved, now * (1 + moved_by), now).astype("<f4")
    halves = [(each.view("<u4") >> 16).astype("<u2").tobytes()[:length] for each in (now, was)]
    return halves[0], halves[1]


def decoded(coding: BlockCoding, coded: bytes, base: bytes, length: int) -> bytes:
    head = read_head(coded[:HEAD_BYTES], length, bases=1)
    into = bytearray(length)
    coding.decode(head, memoryview(coded)[HEAD_BYTES:], base, memoryview(into))
    return bytes(into)


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("length", [0, 1, 7, 8, 4099, 256 * KIB, MIB + 3])
def test_what_is_coded_decodes_to_the_same(coder: Coder, width: int, length: int) -> None:
    coding = BlockCoding()
    block, base = neighbours(length, share=0.05)
    coded = coding.encode(block, coder, width, base=base, base_number=0)
    assert decoded(coding, coded, base, length) == block
    assert len(coded) <= HEAD_BYTES + length


@given(
    st.binary(max_size=300),
    st.binary(max_size=300),
    st.sampled_from(CODERS),
    st.sampled_from(WIDTHS),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_come_back(block: bytes, base: bytes, coder: Coder, width: int) -> None:
    base = base.ljust(len(block), b"\0")[: len(block)]
    coding = BlockCoding()
    coded = coding.encode(block, coder, width, base=base, base_number=0)
    assert decoded(BlockCoding(), coded, base, len(block)) == block


def test_neighbouring_weights_take_a_tenth_and_weights_alone_two_thirds() -> None:
    coding = BlockCoding()
    block, base = neighbours(MIB, share=0.05)
    sparse = coding.encode(block, Coder.SPARSE, 2, base=base, base_number=0)
    delta = coding.encode(block, Coder.DELTA, 2, base=base, base_number=0)
    planes = coding.encode(block, Coder.PLANES, 2)
    assert len(sparse) < len(delta) < MIB / 10
    assert MIB / 2 < len(planes) < MIB * 0.75


def test_small_differences_take_half_a_byte_at_most_and_larger_ones_are_listed() -> None:
    coding, length = BlockCoding(), MIB + 2
    block, base = neighbours(length, share=0.4)
    spread = bytearray(block)
    spread[1 :: length // 100] = bytes(len(range(1, length, length // 100)))
    for now in (block, bytes(spread)):
        nibbles = coding.encode(now, Coder.NIBBLES, 2, base=base, base_number=0)
        delta = coding.encode(now, Coder.DELTA, 2, base=base, base_number=0)
        assert read_head(nibbles[:HEAD_BYTES], length, bases=1).coder is Coder.NIBBLES
        assert len(nibbles) < len(delta)
        assert decoded(coding, nibbles, base, length) == now
        assert AsWritten(nibbles).block(length, base) == now
    block, base = neighbours(length, share=0.4, moved_by=0.3)
    coded = coding.encode(block, Coder.NIBBLES, 2, base=base, base_number=0)
    assert read_head(coded[:HEAD_BYTES], length, bases=1).coder is Coder.DELTA


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ((4096,), "not there"),
        ((9, 0), "not there"),
        ((9, 2**32 - 1), "not there"),
        (tuple(range(300)), "lists 300 of 4096"),
    ],
)
def test_what_is_listed_ascends_and_is_there(listed: tuple[int, ...], why: str) -> None:
    length = 4 * KIB
    steps = numpy.array(listed, "<u4")
    planes = [steps.view(numpy.uint8)[number::4].tobytes() for number in range(4)]
    contents = (bytes(length // 2), *planes, b"\1" * len(steps))
    frames = [
        zstandard.compress(content) if any(content) or not number else b""
        for number, content in enumerate(contents)
    ]
    parts = [len(frame).to_bytes(4, "little") + frame for frame in frames]
    coded = b"".join((parts[0], len(steps).to_bytes(4, "little"), *parts[1:]))
    with pytest.raises(ProtocolViolation, match=why):
        BlockCoding().decode(
            CodedHead(Coder.NIBBLES, 1, 0, len(coded)),
            coded,
            bytes(length),
            memoryview(bytearray(length)),
        )


def test_what_is_not_made_shorter_is_sent_as_it_is() -> None:
    noise = random.Random(1).randbytes(64 * KIB)
    coded = BlockCoding().encode(noise, Coder.ZSTD)
    assert coded == CodedHead(Coder.PLAIN, coded_bytes=len(noise)).encoded() + noise


def test_a_list_of_most_elements_is_not_made_and_not_read() -> None:
    block, base = bytes(4 * KIB), b"\1" * (4 * KIB)
    coding = BlockCoding()
    coded = coding.encode(block, Coder.SPARSE, 1, base=base, base_number=0)
    head = read_head(coded[:HEAD_BYTES], len(block), bases=1)
    assert head.coder is Coder.DELTA
    bits = zstandard.compress(b"\xff" * (len(block) // 8))
    listed = len(bits).to_bytes(4, "little") + bits
    with pytest.raises(ProtocolViolation, match="4096 of 4096 changed"):
        coding.decode(
            CodedHead(Coder.SPARSE, 1, 0, len(listed)), listed, base, memoryview(bytearray(block))
        )


def test_another_base_gives_other_bytes_and_nothing_else() -> None:
    block, base = neighbours(64 * KIB, share=0.05)
    other, _ = neighbours(64 * KIB, share=0.05, seed=2)
    coding = BlockCoding()
    coded = coding.encode(block, Coder.DELTA, 2, base=base, base_number=0)
    assert decoded(coding, coded, other, len(block)) != block


@pytest.mark.parametrize("coder", CODERS)
def test_bytes_that_are_cut_off_or_changed_are_refused_or_are_another_block(coder: Coder) -> None:
    block, base = neighbours(8 * KIB, share=0.05)
    coding, drawn = BlockCoding(), random.Random(7)
    coded = coding.encode(block, coder, 2, base=base, base_number=0)
    head = read_head(coded[:HEAD_BYTES], len(block), bases=1)
    into = memoryview(bytearray(len(block)))
    payload = coded[HEAD_BYTES:]
    for cut in range(0, len(payload), 97):
        with pytest.raises(ProtocolViolation):
            coding.decode(head, payload[:cut], base, into)
    with pytest.raises(ProtocolViolation):
        coding.decode(head, payload + b"\0", base, into)
    refused = 0
    for _ in range(300):
        wrong = bytearray(payload)
        wrong[drawn.randrange(len(wrong))] ^= 1 << drawn.randrange(8)
        try:
            coding.decode(head, wrong, base, into)
        except ProtocolViolation:
            refused += 1
    assert refused


def frame_of(blocks: list[bytes], content_bytes: int, window: int = 0x88) -> bytes:
    """Return a frame of blocks with their heads, with a window of 128 MiB."""
    return (
        b"\x28\xb5\x2f\xfd\x80"
        + bytes([window])
        + content_bytes.to_bytes(4, "little")
        + b"".join(blocks)
    )


def frame_block(kind: int, size_bytes: int, *, is_last: bool) -> bytes:
    return (size_bytes << 3 | kind << 1 | is_last).to_bytes(3, "little")


def test_a_frame_that_is_whole_needs_no_memory_for_its_window_and_others_are_refused() -> None:
    length = 64 * KIB
    into = memoryview(bytearray(length))

    def decode(blocks: list[bytes]) -> None:
        frame = frame_of(blocks, length)
        BlockCoding().decode(CodedHead(Coder.ZSTD, 1, NO_BASE, len(frame)), frame, b"", into)

    repeated = frame_block(1, length, is_last=True)
    decode([repeated + b"7"])
    assert into == b"7" * length
    with pytest.raises(ProtocolViolation, match="too much memory"):
        decode([frame_block(3, 8, is_last=True) + bytes(8)])
    with pytest.raises(ProtocolViolation, match="does not end where it has to"):
        decode([repeated])
    with pytest.raises(ProtocolViolation, match="does not end where it has to"):
        decode([repeated + b"7", repeated + b"7"])
    with pytest.raises(ProtocolViolation, match="Data corruption"):
        decode([frame_block(1, length - 1, is_last=True) + b"7"])


def test_a_frame_of_many_short_blocks_is_refused_before_they_take_time() -> None:
    length = 64 * KIB
    empty = frame_block(0, 0, is_last=False)
    frame = frame_of([empty] * 67 + [frame_block(1, length, is_last=True) + b"7"], length)
    head = CodedHead(Coder.ZSTD, 1, NO_BASE, len(frame))
    with pytest.raises(ProtocolViolation, match="very short pieces"):
        BlockCoding().decode(head, frame, b"", memoryview(bytearray(length)))


@pytest.mark.parametrize("share", [0.02, 0.06, 0.2, 0.45])
@pytest.mark.parametrize("width", WIDTHS)
def test_changes_are_listed_however_many_they_are(share: float, width: int) -> None:
    """There are ways for few, for a tenth and for more; all of a slice may be at its end."""
    drawn, count = numpy.random.default_rng(5), 130_001
    base = drawn.integers(0, 256, count * width, dtype=numpy.uint8)
    block = base.copy().view(f"<u{width}")
    places = numpy.flatnonzero(drawn.random(count) < share)
    block[places] += drawn.integers(1, 200, len(places)).astype(block.dtype)
    block[-100:] += block.dtype.type(1)
    coding, length = BlockCoding(), len(base)
    coded = coding.encode(block.tobytes(), Coder.SPARSE, width, base=base.tobytes(), base_number=0)
    assert read_head(coded[:HEAD_BYTES], length, bases=1).coder is Coder.SPARSE
    assert decoded(coding, coded, base.tobytes(), length) == block.tobytes()
    assert AsWritten(coded).block(length, base.tobytes()) == block.tobytes()


@pytest.mark.parametrize("coder", CODERS)
def test_a_bomb_takes_no_more_memory_than_two_blocks(coder: Coder) -> None:
    """Whatever comes in: planes of zeros, all changed, a frame that claims more."""
    length = 4 * MIB
    block = bytes(length)
    coding = BlockCoding()
    base, into = b"\0\1" * (length // 2), memoryview(bytearray(length))
    coded = coding.encode(block, coder, 1, base=base, base_number=0)
    head = read_head(coded[:HEAD_BYTES], length, bases=1)
    assert head.coder is coder
    fresh = BlockCoding()
    tracemalloc.start()
    fresh.decode(head, memoryview(coded)[HEAD_BYTES:], base, into)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(coded) < length / 500
    assert peak < 2 * length


@pytest.mark.parametrize("width", [1, 2])
def test_another_coder_for_each_block_takes_no_more_memory_than_two(width: int) -> None:
    length = 4 * MIB
    drawn = numpy.random.default_rng(1)
    base = drawn.integers(0, 256, length, dtype=numpy.uint8).view(f"<u{width}")
    block = base.copy()
    block[drawn.random(len(block)) < 0.45] += 1
    block[drawn.random(len(block)) < 0.06] += 60
    coders = (Coder.DELTA, Coder.NIBBLES, Coder.SPARSE, Coder.NIBBLES)
    coding = BlockCoding()
    coded = [
        coding.encode(block.tobytes(), each, width, base=base.tobytes(), base_number=0)
        for each in coders
    ]
    heads = [read_head(each[:HEAD_BYTES], length, bases=1) for each in coded]
    assert [head.coder for head in heads] == list(coders)
    decoding, was, into = BlockCoding(), base.tobytes(), memoryview(bytearray(length))
    tracemalloc.start()
    for head, each in zip(heads, coded, strict=True):
        decoding.decode(head, memoryview(each)[HEAD_BYTES:], was, into)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert into == block.tobytes()
    assert peak < 2 * length


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (bytes([9, 1, NO_BASE, 0, 1, 0, 0, 0]), "coder 9"),
        (bytes([1, 3, NO_BASE, 0, 1, 0, 0, 0]), "elements of 3 bytes"),
        (bytes([1, 1, NO_BASE, 1, 1, 0, 0, 0]), "and 1"),
        (bytes([3, 2, 1, 0, 1, 0, 0, 0]), "base 1, which was not offered"),
        (bytes([3, 2, NO_BASE, 0, 1, 0, 0, 0]), "base 255"),
        (bytes([1, 1, 0, 0, 1, 0, 0, 0]), "base 0"),
        (bytes([1, 1, NO_BASE, 0, 0, 16, 0, 0]), "4096 bytes for a block of 4096"),
        (bytes([0, 1, NO_BASE, 0, 1, 0, 0, 0]), "1 bytes for a block of 4096"),
        (bytes([1, 1, NO_BASE, 0, 255, 255, 255, 255]), "4294967295 bytes"),
    ],
)
def test_a_head_that_nobody_may_send_is_refused(head: bytes, why: str) -> None:
    with pytest.raises(ProtocolViolation, match=why):
        read_head(head, 4096, bases=1)


class AsWritten:
    """A decoder as docs/protocol.md has it: one element after another, and nothing of ckptd's."""

    def __init__(self, coded: bytes) -> None:
        self.rest = coded

    def take(self, count: int) -> bytes:
        taken, self.rest = self.rest[:count], self.rest[count:]
        assert len(taken) == count
        return taken

    def number(self, size_bytes: int) -> int:
        return int.from_bytes(self.take(size_bytes), "little")

    def frame(self, length: int) -> bytes:
        content = zstandard.ZstdDecompressor().decompress(self.take(self.number(4)))
        assert len(content) == length
        return content

    def planes(self, count: int, width: int) -> list[int]:
        values = [0] * count
        for plane in range(width):
            if self.rest[:4] == bytes(4):
                self.take(4)
                continue
            for at, byte in enumerate(self.frame(count)):
                values[at] |= byte << (8 * plane)
        return values

    def nibbles(self, count: int, width: int, was: list[int]) -> bytes:
        middle = -(-count // 2)
        pairs = self.frame(middle)
        halves = [pair % 16 for pair in pairs] + [pair // 16 for pair in pairs]
        differences = [half - 7 for half in halves[:count]]
        listed = self.number(4)
        if listed:
            place = 0
            steps = self.planes(listed, 4)
            for step, value in zip(steps, self.planes(listed, width), strict=True):
                place += step
                differences[place] = -(value + 1) // 2 if value % 2 else value // 2
        assert not self.rest
        return b"".join(
            ((before + difference) % 2 ** (8 * width)).to_bytes(width, "little")
            for before, difference in zip(was, differences, strict=True)
        )

    def block(self, length: int, base: bytes) -> bytes:
        coder, width, number, zero = self.take(4)
        assert self.number(4) == len(self.rest)
        assert zero == 0
        assert number == (0 if coder in {3, 4, 5} else 255)
        if coder == 0:
            return self.take(length)
        if coder == 1:
            return zstandard.ZstdDecompressor().decompress(self.rest)
        count = length // width
        behind = self.take(length % width)
        starts = range(0, count * width, width)
        was = [int.from_bytes(base[start : start + width], "little") for start in starts]
        changed = [True] * count
        if coder == 5:
            return self.nibbles(count, width, was) + behind
        if coder == 4:
            bits = self.frame(-(-count // 8))
            changed = [bool(bits[at // 8] >> (at % 8) & 1) for at in range(count)]
        values = iter(self.planes(sum(changed), width))
        elements = []
        for is_changed, before in zip(changed, was, strict=True):
            value = next(values) if is_changed else 0
            if coder in {3, 4}:
                difference = -(value + 1) // 2 if value % 2 else value // 2
                value = (before + difference) % 2 ** (8 * width)
            elements.append(value.to_bytes(width, "little"))
        assert not self.rest
        return b"".join(elements) + behind


@pytest.mark.parametrize("coder", [Coder.PLAIN, *CODERS])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("length", [1, 4099, 64 * KIB])
def test_who_goes_by_the_document_decodes_the_same(coder: Coder, width: int, length: int) -> None:
    block, base = neighbours(length, share=0.05)
    coded = BlockCoding().encode(block, coder, width, base=base, base_number=0)
    assert AsWritten(coded).block(length, base) == block

"""What can be fuzzed of coded blocks and coded documents: every decoder by itself.

Bytes that are drawn are hardly ever a zstd frame, so what lies behind frames is seldom reached by
them. Here the content of each frame is drawn, and put into frames for the decoder.
"""

from __future__ import annotations

import struct
from functools import cache
from io import BytesIO
from typing import Final

import zstandard

from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import HEAD_BYTES, NO_BASE, WIDTHS, CodedHead, read_head
from ckptd.errors import ProtocolViolation
from ckptd.limits import KIB
from ckptd.model.words import Coder
from ckptd.net.content_coding import Decoder
from ckptd.wire.body_parts import PART_END, parse_part_line, part_line
from ckptd.wire.coding_fields import format_bases, format_coders, parse_bases, parse_coders

BLOCK_BYTES: Final = 3001
BASE: Final = bytes(number * number % 251 for number in range(BLOCK_BYTES))
"""What coded blocks of the corpus are differences from."""
DOCUMENT_BYTES_MAX: Final = 64 * KIB

_LENGTH: Final = struct.Struct("<H")
_FRAME_LENGTH: Final = struct.Struct("<I")
_LEAD: Final = {Coder.SPARSE: 1, Coder.NIBBLES: 1}
"""Frames that are there whatever is in them; others are not, if all in them is 0."""


def read_coded_block(data: bytes) -> None:
    """Decode a block with its head."""
    head = read_head(data[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0"), BLOCK_BYTES, bases=1)
    coded = data[HEAD_BYTES:]
    if len(coded) != head.coded_bytes:
        raise ProtocolViolation("coded block", "has another length than its head says")
    _decode(head, coded)


@cache
def _coding() -> BlockCoding:
    """One for all inputs, as a lane has one: what a bad block left must not harm the next one."""
    return BlockCoding()


@cache
def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=1)


def framed(content: bytes) -> bytes:
    """Return content as a frame that says how long it is."""
    return _compressor().compress(content)


def _decode(head: CodedHead, coded: bytes) -> None:
    """Decode a block; what comes out is coded in the same way and decoded once more."""
    coding, into = _coding(), bytearray(BLOCK_BYTES)
    coding.decode(head, coded, BASE, memoryview(into))
    again = coding.encode(into, head.coder, head.width, base=BASE, base_number=0)
    once_more = bytearray(BLOCK_BYTES)
    head = read_head(again[:HEAD_BYTES], BLOCK_BYTES, bases=1)
    coding.decode(head, again[HEAD_BYTES:], BASE, memoryview(once_more))
    assert once_more == into


def read_contents(coder: Coder, data: bytes) -> None:
    """Decode what lies in frames.

    Args:
        coder: By which decoder.
        data: Of an element the width, as a place in the list of widths; then the bytes behind the
            last element; then of each frame its content, with its length before it. Behind half
            bytes there is how many elements are listed.
    """
    width = WIDTHS[data[0] % len(WIDTHS)] if data else 1
    rest_bytes = BLOCK_BYTES % width if coder is not Coder.ZSTD else 0
    coded = bytearray(data[1 : 1 + rest_bytes])
    at, number = 1 + rest_bytes, 0
    while at + _LENGTH.size <= len(data):
        content = data[at + _LENGTH.size : at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]]
        at += _LENGTH.size + len(content)
        is_framed = any(content) or number < _LEAD.get(coder, 0) or coder is Coder.ZSTD
        frame = framed(content) if is_framed else b""
        if coder is not Coder.ZSTD:
            coded += _FRAME_LENGTH.pack(len(frame))
        coded += frame
        number += 1
        if coder is Coder.NIBBLES and number == 1:
            listed = data[at : at + _LENGTH.size].ljust(_LENGTH.size, b"\0")
            coded += _FRAME_LENGTH.pack(*_LENGTH.unpack(listed))
            at += _LENGTH.size
    coded += data[at:]
    base = 0 if coder.needs_base else NO_BASE
    _decode(CodedHead(coder, width, base, len(coded)), bytes(coded))


def read_document(data: bytes) -> None:
    """Decode a document that comes in zstd; its first byte says in how many parts."""
    into, taken = BytesIO(), 0

    def grow(size_bytes: int) -> None:
        nonlocal taken
        taken += size_bytes

    decoder = Decoder("document", into, DOCUMENT_BYTES_MAX, grow)
    body = data[1:]
    step = max(len(body) // (1 + (data[0] if data else 0)), 1)
    for start in range(0, len(body), step):
        feeding = decoder.feed(body[start : start + step])
        try:
            while True:
                feeding.send(None)
        except StopIteration:
            pass
        assert into.tell() <= DOCUMENT_BYTES_MAX
    decoder.end()
    assert taken == into.tell()


def read_coding_fields(data: bytes) -> None:
    """Read what is said around coded blocks: the line before a part, or a field."""
    if data.endswith(PART_END):
        size_bytes = parse_part_line(data)
        assert parse_part_line(part_line(size_bytes)) == size_bytes
        return
    text = data.decode("latin-1")
    coders = parse_coders(text)
    assert parse_coders(format_coders(coders)) == coders
    bases = parse_bases(text)
    assert parse_bases(format_bases(bases)) == bases

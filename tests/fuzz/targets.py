"""What can be fuzzed: everything that reads bytes which somebody else wrote.

A target takes bytes and may raise nothing but its refusals. What it accepts it also writes and
reads again; the result must be the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import msgpack

from ckptd.chains.chain_links import ChainLink, annotations_of, link_of
from ckptd.chains.delta_index import check_applicable, read_delta_index, tensor_sums
from ckptd.coding.seek_tables import read_seek_table
from ckptd.config import load_config
from ckptd.control.messages.checkpoints import PublishRequest
from ckptd.control.messages.plans import PlanRequest
from ckptd.control.messages.prioritized import NeedRequest, PrioritizeRequest
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.server.bodies import decode_message
from ckptd.errors import (
    ConfigurationError,
    ContentChanged,
    InvalidFormat,
    InvalidManifest,
    OutsideRoots,
    ProtocolViolation,
    UsageError,
)
from ckptd.limits import KIB, MIB, QUESTIONED_BLOCKS_MAX, SECOND
from ckptd.model.attributes import decode_attributes
from ckptd.model.blocks import BlockSet
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.formats.contents import finished
from ckptd.model.formats.dcp_metadata import decode_metadata
from ckptd.model.formats.element_types import fact_of, runs_of, width_at
from ckptd.model.formats.safetensors_header import decode_header, values_start
from ckptd.model.formats.torch_archive import reading_types
from ckptd.model.holdings import Holding, Holdings, HoldingsDelta, apply_delta
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Epoch,
    NodeId,
    Version,
    parse_checkpoint_name,
    parse_node_id,
    parse_reference,
    parse_version,
)
from ckptd.model.manifest import encode_manifest
from ckptd.model.patterns import compile_pattern
from ckptd.model.space import AddressSpace
from ckptd.model.unit_paths import check_path
from ckptd.model.words import Coder
from ckptd.store.files.compressed_files import CompressedFile
from ckptd.store.files.confined import check_relative
from ckptd.store.files.keys import parse_trusted_keys
from ckptd.wire.attribute_answers import decode_answer, encode_answer
from ckptd.wire.block_lists import format_blocks, parse_blocks
from ckptd.wire.byte_ranges import (
    format_content_range,
    format_range,
    parse_content_range,
    parse_range,
)
from ckptd.wire.fields import (
    etag_listed,
    parse_class,
    parse_load,
    parse_retry_after,
    parse_revision,
    parse_wait,
)
from ckptd.wire.heads import parse_request_head, parse_response_head, request_head, response_head
from ckptd.wire.holdings_document import decode_holdings, encode_delta, encode_holdings
from ckptd.wire.shown_addresses import format_addresses, parse_addresses
from ckptd.wire.signature_lines import decode_signatures, encode_signatures
from ckptd.wire.targets import parse_target
from tests.fuzz.coded_targets import (
    read_coded_block,
    read_coding_fields,
    read_contents,
    read_document,
)
from tests.fuzz.delta_targets import read_difference
from tests.support.manifests import make_manifest

Grain = Literal["bytes", "lines", "json", "msgpack"]

CORPUS: Final = Path(__file__).parent / "corpus"

_SIZES: Final = (1, 1000, 2**40, 2**63 - 1)
_DIGEST: Final = "ab" * 32
_KNOWN: Final = Holdings(
    NodeId("node-b"),
    Epoch(7),
    3,
    (
        Holding(
            checkpoint=CheckpointName("a/b"),
            version=Version(1),
            digest=Digest(_DIGEST),
            size_bytes=1000,
            block_count=10,
            blocks=BlockSet([(0, 4)]),
        ),
    ),
)
"""What a delta of the corpus changes."""

_ATTRIBUTED: Final = make_manifest({"a/one": b"1", "two": b"2"})
_ATTRIBUTED_DIGEST: Final = Digest(_DIGEST)
"""What the attribute documents of the corpus are of."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    Attributes:
        name: Of its directory in the corpus, too.
        run: Reads an input, and what it accepts once more.
        refusals: What it may raise.
        grain: What mutations take apart.
        words: What inputs of this kind consist of.
        input_bytes_max: Inputs are not made longer.
        free_bytes: What it may allocate whatever the length of the input.
    """

    name: str
    run: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...]
    grain: Grain
    words: tuple[bytes, ...]
    input_bytes_max: int = 16 * KIB
    free_bytes: int = 64 * KIB

    def seeds(self) -> Sequence[bytes]:
        """Return the corpus, in an order that does not change."""
        return [path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())]


def _stripped(fields: Mapping[str, str]) -> dict[str, str]:
    """Return fields without the spaces that joining empty values leaves at their ends."""
    return {name: value.strip(" ") for name, value in fields.items()}


def read_request_head(data: bytes) -> None:
    head = parse_request_head(data)
    fields = head.fields
    etag_listed(fields.get("if-none-match"), f'"{_DIGEST}"')
    parse_revision(fields.get("if-none-match"), Epoch(7))
    assert 0 <= parse_wait(fields.get("prefer")) <= 60
    parse_class(fields.get("ckptd-class"))
    _read_blocks(fields.get("ckptd-blocks"))
    with suppress(ProtocolViolation):
        asked = parse_target(head.target)
        assert asked.path == head.target
    with suppress(ProtocolViolation):
        parse_range(fields.get("range"), 1000)
    try:
        written = request_head(head.target, fields, method=head.method)
    except ValueError:
        return  # read, and never written: names and values beyond ASCII
    again = parse_request_head(written)
    assert (again.method, again.target) == (head.method, head.target)
    assert again.fields == _stripped(fields)


def _read_blocks(value: str | None) -> None:
    blocks = parse_blocks(value)
    assert len(blocks) <= QUESTIONED_BLOCKS_MAX
    assert parse_blocks(format_blocks(blocks)) == blocks


def read_response_head(data: bytes) -> None:
    head = parse_response_head(data)
    fields = head.fields
    assert parse_load(fields.get("ckptd-load")) >= 0
    _read_blocks(fields.get("ckptd-blocks"))
    shown = parse_addresses(fields.get("ckptd-addresses"))
    assert parse_addresses(format_addresses(shown)) == shown
    assert 0 <= parse_retry_after(fields.get("retry-after")) <= 60
    with suppress(ProtocolViolation):
        parse_content_range(fields.get("content-range"))
    try:
        written = response_head(head.status, fields)
    except ValueError:
        return
    again = parse_response_head(written)
    assert (again.status, again.fields) == (head.status, _stripped(fields))
    assert again.content_length == head.content_length


def read_range(data: bytes) -> None:
    text = data.decode("latin-1")
    if text.startswith("bytes "):
        byte_range, size_bytes = parse_content_range(text)
        assert 0 <= byte_range.start < byte_range.end <= size_bytes
        assert parse_content_range(format_content_range(byte_range, size_bytes)) == (
            byte_range,
            size_bytes,
        )
        return
    for size_bytes in _SIZES:
        asked = parse_range(text, size_bytes)
        assert asked is not None
        assert 0 <= asked.start < asked.end <= size_bytes
        assert parse_range(format_range(asked), size_bytes) == asked


def read_holdings(data: bytes) -> None:
    read = decode_holdings(data)
    if isinstance(read, HoldingsDelta):
        assert decode_holdings(encode_delta(read)) == read
        apply_delta(_KNOWN, read)
    else:
        assert decode_holdings(encode_holdings(read)) == read


def read_manifest(data: bytes) -> None:
    manifest = decode_manifest(data)
    assert decode_manifest(encode_manifest(manifest)) == manifest
    space = AddressSpace(manifest)
    assert space.size_bytes == manifest.size_bytes
    assert sum(extent.size_bytes for extent in space.extents(0, space.size_bytes)) == (
        space.size_bytes
    )


_MESSAGES: Final[tuple[type[msgspec.Struct], ...]] = (
    RecoverRequest,
    PublishRequest,
    PrioritizeRequest,
    NeedRequest,
    PlanRequest,
)


def read_control_request(data: bytes) -> None:
    """Read a message of any route; its first byte says of which."""
    kind = _MESSAGES[(data[0] - ord("0")) % len(_MESSAGES)] if data else RecoverRequest
    message = decode_message(data[1:], kind)
    assert decode_message(msgspec.json.encode(message), kind) == message
    match message:
        case RecoverRequest(checkpoint=checkpoint, version=version, patience_s=patience_s):
            parse_checkpoint_name(checkpoint)
            parse_version(version or 0)
            assert 0 <= int((patience_s or 0) * SECOND) < 2**63
        case PublishRequest(critical=critical, deferred=deferred, exclude=exclude, require=require):
            for pattern in (*critical, *deferred, *exclude, *require):
                compile_pattern(pattern).match("optimizer/state-0")
        case PrioritizeRequest(pattern=pattern):
            compile_pattern(pattern).match("optimizer/state-0")
        case _:
            pass


@cache
def _scratch() -> int:
    return os.memfd_create("configuration")


def read_configuration(data: bytes) -> None:
    scratch = _scratch()
    os.ftruncate(scratch, 0)
    os.pwrite(scratch, data, 0)
    load_config(f"/proc/self/fd/{scratch}", {})


def read_path(data: bytes) -> None:
    path = data.decode("utf-8", "surrogateescape")
    with suppress(UsageError):
        name = parse_checkpoint_name(path)
        assert check_relative(name) == tuple(name.split("/"))
    with suppress(UsageError):
        check_path(parse_node_id(path))
    with suppress(UsageError):
        parse_reference(path)
    with suppress(OutsideRoots):
        assert "/".join(check_relative(path)) == path
    check_path(path)
    assert check_relative(path) == tuple(path.split("/"))  # no stricter than the manifest


def read_signatures(data: bytes) -> None:
    assert encode_signatures(decode_signatures(data)) == data


def read_attributes(data: bytes) -> None:
    document, signatures = decode_answer(data)
    assert encode_answer(document, signatures) == data
    decode_attributes(document, _ATTRIBUTED_DIGEST, _ATTRIBUTED)


def read_trusted_keys(data: bytes) -> None:
    keys = parse_trusted_keys("trusted keys", data)
    written = "\n".join(key.line for key in keys.values()).encode()
    again = parse_trusted_keys("trusted keys", written)
    assert [key.line for key in again.values()] == [key.line for key in keys.values()]


def read_safetensors_header(data: bytes) -> None:
    """Read a header; how long the values are stands before it, in four digits and a space."""
    header = data[5:]
    size_bytes = 8 + len(header) + (int(data[:4]) if data[:4].isdigit() else 0)
    prefix = len(header).to_bytes(8, "little")
    values_at = values_start(prefix, "m.safetensors", size_bytes)
    at = values_at
    for tensor in decode_header(header, "m.safetensors", size_bytes):
        assert tensor.start == at
        at = tensor.end
    assert at == size_bytes


def read_index_of_delta(data: bytes) -> None:
    """Read an index; the same bytes as the header of a file with sums."""
    with suppress(InvalidFormat):
        assert all(tensor_sums(data, "m.safetensors").values())
    index = read_delta_index(data)
    if index is None:
        return
    assert 0 <= index.base < index.version
    link = ChainLink(index.base, None, index.encoding)
    assert link_of(annotations_of(link), index.version) == link
    with suppress(InvalidFormat):
        check_applicable(index)


_LONG_STORAGE: Final = bytes(64 * KIB)


def read_torch_archive(data: bytes) -> None:
    """Read an archive; its first two bytes say after how many a long storage is left out."""
    cut = 2 + int.from_bytes(data[:2], "little")
    content = b"".join((data[2:cut], _LONG_STORAGE, data[cut:]))
    parts = finished(reading_types("a.pt", len(content)), lambda start, end: content[start:end])
    for part in parts:
        assert 0 <= part.start <= part.end <= len(content)
    said = fact_of(runs_of(parts))
    if said:
        assert any(width_at(said, part.start, part.end) for part in parts)
    width_at(data.decode("latin-1"), 0, len(data))


def read_dcp_metadata(data: bytes) -> None:
    items = decode_metadata(data, "step/.metadata")
    assert len({item.name for item in items}) == len(items)
    for item in items:
        assert 0 <= item.start <= item.end
        assert item.unit.startswith("step/")
        check_path(item.unit)


_COMPRESSED_READ_MAX: Final = 256 * KIB


def read_compressed_file(data: bytes) -> None:
    """Read what stands at the beginning and at the end of a unit that is kept compressed."""
    fd = os.memfd_create("compressed")
    try:
        os.write(fd, data)
        file = CompressedFile(fd)
        table = file.table.encoded()
        assert data.endswith(table)
        assert read_seek_table(table, len(data)).encoded() == table
        end = file.table.plain_bytes
        for first, last in (
            (0, min(end, _COMPRESSED_READ_MAX)),
            (max(end - _COMPRESSED_READ_MAX, 0), end),
        ):
            content = b"".join(map(bytes, file.pieces(first, last)))
            assert len(content) == last - first
    finally:
        os.close(fd)


_FIELD_WORDS: Final = (
    b"\r\n", b"\n", b"\r\n\r\n", b"\0", b": ", b" ", b"\t", b"X: y\r\n", b"Host: a\r\n",
    b"Content-Length: 0\r\n", b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length: +5\r\n", b"Content-Length: 5, 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : identity\r\n", b"Content-Encoding: gzip\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b" folded\r\n",
    b"\xff", b"\xc2\xb2", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9",
)  # fmt: skip
_REQUEST_WORDS: Final = (
    *_FIELD_WORDS, b"GET", b"HEAD", b"POST", b"CONNECT", b"PRI", b"/v1/holdings", b"/../", b"*",
    b"http://169.254.169.254/", b"/v1/manifests/", b"/v1/checkpoints/", b"?", b"#", b"%2e",
    b"Range: bytes=0-0\r\n", b"If-None-Match: *\r\n", b"Prefer: wait=99\r\n",
    b"Ckptd-Class: critical\r\n", b"Expect: 100-continue\r\n",
)  # fmt: skip
_RESPONSE_WORDS: Final = (
    *_FIELD_WORDS, b"100", b"101", b"200", b"204", b"206", b"304", b"416", b"999", b"-1",
    b"Content-Range: bytes 0-0/1\r\n", b"ETag: \"x\"\r\n", b"Ckptd-Load: 9\r\n",
    b"Retry-After: 1\r\n", b"Location: http://127.0.0.1/\r\n",
)  # fmt: skip
_RANGE_WORDS: Final = (
    b"bytes=", b"bytes ", b"-", b",", b"/", b"*", b"0", b"-1", b"9223372036854775807",
    b"9223372036854775808", b"18446744073709551616", b" ", b"+", b"0x10", b"1e3", b"\xb2",
    b"0-0,", b"999999999999999999999999",
)  # fmt: skip
_JSON_WORDS: Final = (
    b"null", b"true", b"-1", b"1e999", b"1e308", b"9223372036854775808", b'"all"', b"[", b"]",
    b"{", b"}", b",", b":", b'"', b"\\u0000", b"\\ud800", b"\xff", b"0.5", b"-0", b"[[0,1]]",
)  # fmt: skip
_HOLDINGS_WORDS: Final = (*_JSON_WORDS, b'"blocks"', b'"added"', b'"gone"', b'"since"')
_MSGPACK_WORDS: Final = (
    b"\xc0", b"\xc1", b"\x90", b"\x80", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff",
    b"\xdd\x00\x0f\x42\x41", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7,
    b"\xcb\x7f\xf0" + b"\0" * 6, b"\xc7\xff\x05", b"\xa2..", b"\xa1/",
    b"\xa8requires\x91\xa5links", b"\xa5links\x91\x92\xa1l\xa1a", b"\x92\xa1a\xa1l",
    b"\xabdirectories\x91\xa1d", b"\x92\xa1l\xa5../..",
)  # fmt: skip
_TOML_WORDS: Final = (
    b"[node]\n", b"[roots]\n", b"[[roots]]\n", b"[listen]\n", b"[recovery]\n", b"[x]\n", b" = ",
    b"'''", b'"""', b"\\u0000", b"\\U0010ffff", b"nan", b"inf", b"-1", b"1e400", b"0x7f",
    b"9223372036854775808", b"2026-01-01", b"{", b"}", b"[", b"]", b".a", b'redundancy = 2\n',
    b'buffers = "1TiB"\n', b'data = "[::1]:1"\n', b"# ", b"\xff", b"\r", b'"/a/../b"', b'"//"',
)  # fmt: skip
_PATH_WORDS: Final = (
    b"/", b"..", b".", b"//", b"a", b"\0", b"\n", b"\x7f", b"\\", b"~", b"\xc3\xa9", b"\xff",
    b"\xed\xa0\x80", b"\xe2\x80\xae", b"@", b"@9223372036854775808", b"@-1", b"CON", b"a" * 255,
    b"a" * 256, b"a/" * 64, b"-", b" ",
)  # fmt: skip
_CODED_WORDS: Final = (
    b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x60\xb9\x0a", b"\0\0\0\0", b"\xff\xff\xff\xff",
    b"\x01", b"\x02", b"\x03", b"\x04", b"\x08", b"\xff",
)  # fmt: skip
_ZIP_WORDS: Final = (
    b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\xff" * 4, b"\xff" * 8, b"\0" * 8,
    b"\1\0\x18\0", b"a/data/0", b"a/data.pkl", b"\0\0\1\0", b"BF16 F32@65536", b"@", b"-",
)  # fmt: skip
_CONTENT_WORDS: Final = (
    b"\0", b"\x01", b"\x02", b"\xff", b"\0\0", b"\xff\xff", b"\0" * 188, b"\xff" * 188,
    b"\x77\x01", b"\xdc\x05", b"\xbc\0", b"\x55" * 64,
)  # fmt: skip
_CODING_FIELD_WORDS: Final = (
    b"\r\n", b"\n", b"0", b"ffffffff", b"100000000", b"; a=b", b"+1", b"-1", b",", b", ", b" ",
    b"zstd", b"planes", b"delta", b"sparse", b"nibbles", b"plain", b"ab" * 32,
    b"AB" * 32, b"\xff", b"\0",
)  # fmt: skip
_SLICES_BYTES: Final = 4 * MIB
"""A slice of elements for each step, whatever comes in."""
_COMPRESSED_WORDS: Final = (
    b"\x28\xb5\x2f\xfd", b"\x5e\x2a\x4d\x18", b"\xb1\xea\x92\x8f", b"\0\0\0\0",
    b"\xff\xff\xff\xff", b"\x01\0\0\0\0\xb1\xea\x92\x8f", b"\x80", b"\0\0\0\x01",
)  # fmt: skip
_LINE_WORDS: Final = (
    b"\n", b"\r\n", b" ", b"0123456789abcdef ", b"ab" * 64, b"A", b"#", b",", b"*", b"ed25519:",
    b"=", b"\xff", b"\x85", b"\xe2\x80\xa8", b"[", b"[!", b"rsa:",
)  # fmt: skip
_SAFETENSORS_WORDS: Final = (
    *_JSON_WORDS, b'"__metadata__"', b'"dtype"', b'"U8"', b'"F4"', b'"shape"', b'"data_offsets"',
    b'{"dtype":"U8","shape":[4],"data_offsets":[0,4]}', b"NaN", b"Infinity", b"  ", b"0512 ",
)  # fmt: skip
_DIFFERENCE_WORDS: Final = (
    b"\x28\xb5\x2f\xfd", b"\0\0\0\0", b"\x01\0\0\0", b"\xb8\x0b\0\0", b"\xb9\x0b\0\0",
    b"\xff\xff\xff\xff", b"\0" * 64, b"\x01", b"\x02", b"\x03",
)  # fmt: skip
_DELTA_WORDS: Final = (
    *_JSON_WORDS, b'"metadata"', b'"weight_map"', b'"version"', b'"base_version"', b'"xor"',
    b'"delta_encoding"', b'"compression_format"', b'"checksum_format"', b'"__metadata__"',
    b'"000041"', b'"41"', b'"zstd"', b'"adler32"', b'"../m.safetensors"', b"9" * 40,
)  # fmt: skip
_PICKLE_WORDS: Final = (
    b"(", b".", b"0", b"1", b"2", b"N", b"b", b"R", b")", b"]", b"}", b"a", b"e", b"s", b"u", b"t",
    b"\x81", b"\x85", b"\x86", b"\x87", b"\x90", b"\x91", b"\x92", b"\x93", b"\x94", b"h\x00",
    b"q\x00", b"\x8a\xff", b"\x8b\xff\xff\xff\x7f", b"\x8d" + b"\xff" * 8, b"X\xff\xff\xff\xff",
    b"\x95" + b"\xff" * 8,
    b"cposix\nsystem\n", b"I1\n", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff", b"\x8c\x06offset",
    b"2\x86" * 40, b")2\x86" * 9,
)  # fmt: skip

TARGETS: Final = {
    target.name: target
    for target in (
        Target(
            "request-head",
            read_request_head,
            (ProtocolViolation,),
            "lines",
            _REQUEST_WORDS,
            9 * KIB,
        ),
        Target("range", read_range, (ProtocolViolation,), "bytes", _RANGE_WORDS, 8 * KIB),
        Target(
            "response-head",
            read_response_head,
            (ProtocolViolation,),
            "lines",
            _RESPONSE_WORDS,
            9 * KIB,
        ),
        Target("holdings", read_holdings, (ProtocolViolation,), "json", _HOLDINGS_WORDS),
        Target("manifest", read_manifest, (InvalidManifest,), "msgpack", _MSGPACK_WORDS),
        Target("control", read_control_request, (UsageError,), "json", _JSON_WORDS, 4 * KIB),
        Target(
            "configuration",
            read_configuration,
            (ConfigurationError,),
            "lines",
            _TOML_WORDS,
            4 * KIB,
            free_bytes=2 * MIB,  # the buffer that it is read into
        ),
        Target("path", read_path, (InvalidManifest,), "bytes", _PATH_WORDS, 9 * KIB),
        Target(
            "coded-block",
            read_coded_block,
            (ProtocolViolation,),
            "bytes",
            _CODED_WORDS,
            4 * KIB,
            free_bytes=_SLICES_BYTES,
        ),
        *(
            Target(
                f"coded-{coder}",
                partial(read_contents, coder),
                (ProtocolViolation,),
                "bytes",
                _CONTENT_WORDS,
                8 * KIB,
                free_bytes=_SLICES_BYTES,
            )
            for coder in Coder
            if coder is not Coder.PLAIN
        ),
        Target(
            "zstd-document",
            read_document,
            (ProtocolViolation,),
            "bytes",
            _CODED_WORDS,
            4 * KIB,
            free_bytes=2 * MIB,  # a window, and what the longest content takes
        ),
        Target(
            "coding-fields",
            read_coding_fields,
            (ProtocolViolation,),
            "bytes",
            _CODING_FIELD_WORDS,
            1 * KIB,
        ),
        Target(
            "compressed-file",
            read_compressed_file,
            (ContentChanged,),
            "bytes",
            _COMPRESSED_WORDS,
            4 * KIB,
            free_bytes=4 * MIB,  # what is read of the content
        ),
        Target("signatures", read_signatures, (ProtocolViolation,), "lines", _LINE_WORDS, 4 * KIB),
        Target("attributes", read_attributes, (ProtocolViolation,), "bytes", _MSGPACK_WORDS),
        Target(
            "safetensors-header",
            read_safetensors_header,
            (InvalidFormat,),
            "json",
            _SAFETENSORS_WORDS,
            8 * KIB,
        ),
        Target(
            "delta-difference",
            read_difference,
            (InvalidFormat,),
            "bytes",
            _DIFFERENCE_WORDS,
            8 * KIB,
            free_bytes=2 * MIB,  # places and values that are read at once
        ),
        Target("delta-index", read_index_of_delta, (InvalidFormat,), "json", _DELTA_WORDS, 8 * KIB),
        Target("dcp-metadata", read_dcp_metadata, (InvalidFormat,), "bytes", _PICKLE_WORDS),
        Target(
            "torch-archive",
            read_torch_archive,
            (InvalidFormat,),
            "bytes",
            (*_ZIP_WORDS, *_PICKLE_WORDS),
            8 * KIB,
            free_bytes=512 * KIB,  # the content, and copies of it
        ),
        Target(
            "trusted-keys", read_trusted_keys, (ConfigurationError,), "lines", _LINE_WORDS, 4 * KIB
        ),
    )
}


def split_tree(target: Target, data: bytes) -> tuple[bytes, object]:
    """Return what stands before a document, and the document.

    Raises:
        ValueError: It is none.
    """
    start = {"control": 1, "safetensors-header": 5}.get(target.name, 0)
    decode = msgpack.decode if target.grain == "msgpack" else msgspec.json.decode
    try:
        return data[:start], decode(data[start:])
    except RecursionError as error:
        raise ValueError("is nested too deep") from error


def join_tree(target: Target, before: bytes, tree: object) -> bytes:
    """Return the bytes of a document and what stands before it.

    Raises:
        ValueError: It cannot be written.
    """
    encode = msgpack.encode if target.grain == "msgpack" else msgspec.json.encode
    try:
        return before + encode(tree)
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError("cannot be written") from error

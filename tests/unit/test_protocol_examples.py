"""The examples in docs/protocol.md are what this implementation sends, byte by byte."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ckptd.limits import HOLDINGS_BYTES_MAX, SECOND
from ckptd.model.attributes import decode_attributes, encode_attributes
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings, delta_between
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version
from ckptd.model.manifest import Manifest, Unit, block_size_for, check_manifest, encode_manifest
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.net.content_coding import Decoder, Lent, compressed
from ckptd.net.source.answers import StoodBy, VersionBody
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.sending import Piece
from ckptd.net.source.server import PeerServer
from ckptd.store.files.hashing import digest_of, hexdigest_of
from ckptd.store.files.keys import SigningKey
from ckptd.wire.attribute_answers import encode_answer
from ckptd.wire.heads import parse_request_head
from ckptd.wire.holdings_document import encode_delta, encode_holdings
from ckptd.wire.shown_addresses import ShownAddress, format_addresses
from ckptd.wire.signature_lines import encode_signatures

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
HTTP = re.findall(r"^```http\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EXCHANGES = list(zip(HTTP[::2], HTTP[1::2], strict=True))

CONFIG = b'{"hidden": 64}\n'
WEIGHTS = bytes(262_145)


def unit(path: str, data: bytes, criticality: Criticality) -> Unit:
    size_bytes = block_size_for(len(data))
    starts = range(0, len(data), size_bytes)
    return Unit(
        path=path,
        size_bytes=len(data),
        digest=digest_of(data),
        block_size_bytes=size_bytes,
        block_digests=b"".join(digest_of(data[start : start + size_bytes]) for start in starts),
        criticality=criticality,
    )


MANIFEST = Manifest(
    format=1,
    checkpoint="demo/rank-0",
    version=7,
    units=(
        unit("config.json", CONFIG, Criticality.CRITICAL),
        unit("weights.bin", WEIGHTS, Criticality.NORMAL),
    ),
)
ENCODED = encode_manifest(MANIFEST)
DIGEST = hexdigest_of(ENCODED)
SPACE = AddressSpace(MANIFEST)
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ATTRIBUTES = encode_attributes(
    DIGEST, [0o644] * len(MANIFEST.units) + [0o755], [1_800_000_000 * SECOND] * 3
)
BEFORE = Holdings(
    NodeId("node-a"),
    Epoch(5),
    3,
    (
        Holding(
            CheckpointName("demo/rank-0"),
            Version(7),
            DIGEST,
            SPACE.size_bytes,
            SPACE.block_count,
            BlockSet([(0, 1)]),
        ),
    ),
)
NOW = replace(
    BEFORE, revision=4, holdings=(replace(BEFORE.holdings[0], blocks=BlockSet([(0, 1), (2, 3)])),)
)


class ExampleBytes:
    """The version of the examples, of which blocks 0 and 2 are here."""

    size_bytes = SPACE.size_bytes
    space = SPACE

    def holds(self, start: int, end: int) -> bool:
        return end <= len(CONFIG) or start >= SPACE.block_start(2)

    def is_right(self, place: object, block: memoryview) -> bool:
        raise NotImplementedError("only heads are compared")

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[Piece, None, None]:
        raise NotImplementedError("only heads are compared")


class ExampleContent:
    revision = NOW.revision

    def holdings_document(self) -> bytes:
        return encode_holdings(NOW)

    def holdings_delta(self, since: int) -> bytes | None:
        return encode_delta(delta_between(BEFORE, NOW)) if since == BEFORE.revision else None

    async def wait_change(self, revision: int) -> None:
        raise NotImplementedError("it changed already")

    async def addresses(self) -> str:
        return format_addresses([ShownAddress("10.0.0.2", 7421, 1_250_000_000)])

    async def manifest(self, digest: Digest) -> bytes:
        return ENCODED

    async def coded_manifest(self, digest: Digest) -> Lent:
        assert compressed(ENCODED) is None
        return Lent(ENCODED)

    async def signatures(self, digest: Digest) -> bytes:
        return encode_signatures([KEY.sign(ENCODED)])

    async def attributes(self, digest: Digest) -> bytes:
        return encode_answer(ATTRIBUTES, [KEY.sign_attributes(ATTRIBUTES)])

    async def coded_attributes(self, digest: Digest) -> Lent:
        raise NotImplementedError("too short")

    async def open_base(self, checkpoint: object, digest: object) -> None:
        return None

    async def open_version(self, digest: Digest) -> ExampleBytes:
        return ExampleBytes()

    async def stand_by(self, digest: Digest, blocks: BlockSet, asker: str) -> StoodBy:
        return StoodBy(blocks - BlockSet([(0, 1)]), is_held=blocks == BlockSet([(0, 1)]))

    def sending(self, body: VersionBody, receiver: str) -> None:
        raise NotImplementedError("nothing is")

    def content_changed(self, digest: Digest) -> None:
        raise NotImplementedError("it does not")

    def bytes_sent(self, criticality_label: str, size_bytes: int) -> None:
        raise NotImplementedError("none are")


def test_the_manifest_has_the_bytes_and_the_identity_that_are_shown() -> None:
    check_manifest(MANIFEST)
    (shown,) = re.findall(r"^```hex\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert bytes.fromhex(shown) == ENCODED
    assert f"Its identity is `{DIGEST}`." in TEXT
    assert f"The {len(ENCODED)} bytes of the manifest" in TEXT


def test_blocks_lie_where_the_table_says() -> None:
    rows = re.findall(r"^\| (\d) \| `([\w.]+)` \| ([\d,]+)[^|]*\| ([\d,]+) \|$", TEXT, re.MULTILINE)
    assert [(int(block), path) for block, path, *_ in rows] == [
        (block, MANIFEST.units[SPACE.unit_of(block)].path) for block in range(SPACE.block_count)
    ]
    assert [
        (int(start.replace(",", "")), int(size.replace(",", ""))) for *_, start, size in rows
    ] == [(SPACE.block_start(block), SPACE.block_size(block)) for block in range(SPACE.block_count)]


def test_the_attribute_document_has_the_bytes_that_are_shown() -> None:
    decode_attributes(ATTRIBUTES, DIGEST, MANIFEST)
    (shown,) = re.findall(r"^```attributes\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert bytes.fromhex(shown) == ATTRIBUTES


async def test_the_frame_that_is_shown_is_the_document() -> None:
    (shown,) = re.findall(r"^```zstd\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    content = BytesIO()
    decoder = Decoder("example", content, HOLDINGS_BYTES_MAX, lambda _: None)
    await decoder.feed(bytes.fromhex(shown))
    decoder.end()
    assert content.getvalue() == encode_holdings(NOW)


def test_the_key_is_written_as_shown() -> None:
    assert f"whose public key is `{KEY.public.text}`" in TEXT


@pytest.mark.parametrize(
    ("asked", "shown"), EXCHANGES, ids=[asked.split(" HTTP")[0][:24] for asked, _ in EXCHANGES]
)
async def test_a_request_is_answered_as_shown(asked: str, shown: str) -> None:
    server = PeerServer(
        ExampleContent(), node=NodeId("node-a"), epoch=Epoch(5), caps=ConnectionCaps()
    )
    request = parse_request_head(asked.replace("\n", "\r\n").encode() + b"\r\n")
    answer = await server.answers.find(request)
    head = server.head(answer, keep_alive=request.keep_alive).decode().replace("\r\n", "\n")
    body = answer.body.decode("latin-1") if isinstance(answer.body, bytes) else ""
    server.close()

    head = re.sub(r"^Date: .+$", "Date: Sat, 01 Jan 2028 00:00:00 GMT", head, flags=re.MULTILINE)
    shown_head, _, shown_body = shown.partition("\n\n")
    assert shown_head.rstrip("\n") == head.rstrip("\n")
    if shown_body:
        assert shown_body.rstrip("\n") == body.rstrip("\n")


def test_there_is_an_example_of_every_target() -> None:
    targets = {asked.split()[1].split("/")[2] for asked, _ in EXCHANGES}
    assert targets == {"holdings", "manifests", "signatures", "attributes", "checkpoints"}

"""The holdings document: what a node says it holds, as JSON.

Fields that a reader does not know are ignored, so that newer nodes can say more.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final, Literal

import msgspec

from ckptd.errors import ProtocolViolation, UsageError
from ckptd.limits import (
    BLOCK_BYTES_MAX,
    HOLDING_RUNS_MAX,
    HOLDINGS_BYTES_MAX,
    HOLDINGS_MAX,
    MANIFEST_BLOCKS_MAX,
    VERSION_MAX,
)
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import (
    Epoch,
    parse_checkpoint_name,
    parse_digest,
    parse_node_id,
    parse_version,
)

_Count = Annotated[int, msgspec.Meta(ge=0, le=VERSION_MAX)]


class _Holding(msgspec.Struct, frozen=True):
    checkpoint: str
    version: _Count
    digest: str
    size_bytes: _Count
    block_count: Annotated[int, msgspec.Meta(ge=0, le=MANIFEST_BLOCKS_MAX)]
    blocks: msgspec.Raw
    """Unread, so that runs are counted before memory is spent on them."""


class _Document(msgspec.Struct, frozen=True):
    node: str
    epoch: _Count
    revision: _Count
    holdings: list[_Holding]


_DOCUMENT: Final = msgspec.json.Decoder(_Document)
_BLOCKS: Final = msgspec.json.Decoder(Literal["all"] | list[tuple[_Count, _Count]])
_ENCODER: Final = msgspec.json.Encoder()


def encode_holdings(holdings: Holdings) -> bytes:
    """Encode.

    A document carries at most ``HOLDING_RUNS_MAX`` runs of blocks. Runs beyond that are left
    out: to say less than one has is true, and costs the reader one later document.
    """
    runs_left = HOLDING_RUNS_MAX
    encoded: list[_Holding] = []
    for holding in holdings.holdings:
        if holding.is_complete:
            blocks: str | list[BlockRun] = "all"
        else:
            blocks = list(islice(holding.blocks.runs(), runs_left))
            runs_left -= len(blocks)
        encoded.append(
            _Holding(
                checkpoint=holding.checkpoint,
                version=holding.version,
                digest=holding.digest,
                size_bytes=holding.size_bytes,
                block_count=holding.block_count,
                blocks=msgspec.Raw(_ENCODER.encode(blocks)),
            )
        )
    return _ENCODER.encode(_Document(holdings.node, holdings.epoch, holdings.revision, encoded))


def decode_holdings(data: bytes) -> Holdings:
    """Decode and check a document from a peer.

    Raises:
        ProtocolViolation: Not a holdings document, or one that cannot be true.
    """
    if len(data) > HOLDINGS_BYTES_MAX:
        raise _violation(f"has {len(data)} bytes, more than {HOLDINGS_BYTES_MAX}")
    try:
        document = _DOCUMENT.decode(data)
        if len(document.holdings) > HOLDINGS_MAX:
            raise _violation(f"lists more than {HOLDINGS_MAX} versions")
        return Holdings(
            node=parse_node_id(document.node),
            epoch=Epoch(document.epoch),
            revision=document.revision,
            holdings=tuple(_checked(document.holdings)),
        )
    except (ValueError, RecursionError, UsageError) as error:
        # msgspec reports by ValueError and its children, nesting without end apart.
        raise _violation(f"cannot be read: {str(error)[:200]}") from error


def _checked(listed: list[_Holding]) -> Iterator[Holding]:
    runs_left = HOLDING_RUNS_MAX
    digests: set[str] = set()
    for holding in listed:
        if holding.digest in digests:
            raise _violation(f"lists {holding.digest[:64]!r} twice")
        digests.add(holding.digest)
        count = holding.block_count
        if not count <= holding.size_bytes <= count * BLOCK_BYTES_MAX:
            raise _violation(f"says that {count} blocks have {holding.size_bytes} bytes")
        runs_left -= bytes(holding.blocks).count(b"[") - 1
        if runs_left < 0:
            raise _violation(f"has more than {HOLDING_RUNS_MAX} runs of blocks")
        yield Holding(
            checkpoint=parse_checkpoint_name(holding.checkpoint),
            version=parse_version(holding.version),
            digest=parse_digest(holding.digest),
            size_bytes=holding.size_bytes,
            block_count=count,
            blocks=_blocks(holding.blocks, count),
        )


def _blocks(raw: msgspec.Raw, block_count: int) -> BlockSet:
    runs = _BLOCKS.decode(raw)
    if runs == "all":
        return BlockSet.full(block_count)
    position = 0
    for start, end in runs:
        if not position <= start < end <= block_count:
            raise _violation(f"has the run [{start}, {end}) where it cannot be")
        position = end
    return BlockSet(runs)


def _violation(problem: str) -> ProtocolViolation:
    return ProtocolViolation("holdings document", problem)

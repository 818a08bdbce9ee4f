"""The holdings document: what a node says it holds, as JSON, whole or as what changed.

The whole lists every version with ``"blocks"``. A delta has ``"since"``, the revision that it
changes, and ``"gone"``; it lists what changed, and for a version of which there is only more than
before ``"added"`` in the place of ``"blocks"``.

Fields that a reader does not know are ignored, so that newer nodes can say more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Final, Literal

import msgspec

from ckptd.errors import ProtocolViolation, UsageError
from ckptd.limits import (
    BLOCK_BYTES_MAX,
    HOLDING_RUNS_MAX,
    HOLDINGS_BYTES_MAX,
    HOLDINGS_MAX,
    HOLDINGS_VALUES_MAX,
    KEEPS_CHARACTERS_MAX,
    KEEPS_MAX,
    MANIFEST_BLOCKS_MAX,
    PLACED_JOBS_MAX,
    RECOVERING_MAX,
    VERSION_MAX,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings, HoldingsDelta, JobVersion, run_count
from ckptd.model.ids import (
    Epoch,
    parse_checkpoint_name,
    parse_digest,
    parse_node_id,
    parse_version,
)

_Count = Annotated[int, msgspec.Meta(ge=0, le=VERSION_MAX)]
_Keeps = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=KEEPS_CHARACTERS_MAX)]],
    msgspec.Meta(max_length=KEEPS_MAX),
]


_NONE: Final = msgspec.Raw()


class _Holding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version; exactly one of ``blocks`` and ``added`` is there."""

    checkpoint: str
    version: _Count
    digest: str
    size_bytes: _Count
    block_count: Annotated[int, msgspec.Meta(ge=0, le=MANIFEST_BLOCKS_MAX)]
    # Unread, so that runs are counted before memory is spent on them.
    blocks: msgspec.Raw = _NONE
    added: msgspec.Raw = _NONE
    optional: msgspec.Raw = _NONE


class _Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed if ``since`` is there, otherwise the whole."""

    node: str
    epoch: _Count
    revision: _Count
    holdings: list[_Holding]
    since: _Count | None = None
    gone: list[str] = []
    recovering: list[tuple[str, _Count]] = []
    placed: list[tuple[str, _Count]] = []
    keeps: _Keeps = []
    is_full: bool = False


OPTIONAL_RUNS_MAX: Final = 256
"""So many runs of optional blocks are named of a version; who names fewer claims less."""

_DOCUMENT: Final = msgspec.json.Decoder(_Document)
_BLOCKS: Final = msgspec.json.Decoder(Literal["all"] | list[tuple[_Count, _Count]])
_ENCODER: Final = msgspec.json.Encoder()


def encode_holdings(holdings: Holdings) -> bytes:
    """Encode the whole.

    A document carries at most ``HOLDING_RUNS_MAX`` runs of blocks. Runs beyond that are left
    out: to say less than one has is true, and costs the reader one later document.
    """
    runs_left = HOLDING_RUNS_MAX
    entries: list[_Holding] = []
    for holding in holdings.holdings:
        entries.append(_entry(holding, blocks=_raw(holding, runs_left)))
        runs_left -= run_count([holding])
    document = _Document(
        holdings.node,
        holdings.epoch,
        holdings.revision,
        entries,
        recovering=list(holdings.recovering),
        placed=list(holdings.placed),
        keeps=list(holdings.keeps),
        is_full=holdings.is_full,
    )
    return _ENCODER.encode(document)


def encode_delta(delta: HoldingsDelta) -> bytes:
    """Encode what changed, between two states of at most ``HOLDING_RUNS_MAX`` runs each."""
    entries = [_entry(holding, blocks=_raw(holding)) for holding in delta.changed]
    entries += (_entry(holding, added=_raw(holding)) for holding in delta.grown)
    document = _Document(
        delta.node,
        delta.epoch,
        delta.revision,
        entries,
        since=delta.since,
        gone=list(delta.gone),
        recovering=list(delta.recovering),
        placed=list(delta.placed),
        keeps=list(delta.keeps),
        is_full=delta.is_full,
    )
    return _ENCODER.encode(document)


def _raw(holding: Holding, runs_max: int = HOLDING_RUNS_MAX) -> msgspec.Raw:
    if holding.is_complete:
        return msgspec.Raw(b'"all"')
    return msgspec.Raw(_ENCODER.encode(list(islice(holding.blocks.runs(), max(runs_max, 0)))))


def _entry(
    holding: Holding, *, blocks: msgspec.Raw = _NONE, added: msgspec.Raw = _NONE
) -> _Holding:
    return _Holding(
        checkpoint=holding.checkpoint,
        version=holding.version,
        digest=holding.digest,
        size_bytes=holding.size_bytes,
        block_count=holding.block_count,
        blocks=blocks,
        added=added,
        optional=_raw_optional(holding),
    )


def _raw_optional(holding: Holding) -> msgspec.Raw:
    """Name the optional blocks where that says something, or the first of them."""
    if holding.is_complete or not holding.optional:
        return _NONE
    return msgspec.Raw(_ENCODER.encode(list(islice(holding.optional.runs(), OPTIONAL_RUNS_MAX))))


def decode_holdings(data: bytes) -> Holdings | HoldingsDelta:
    """Decode and check a document from a peer: the whole, or what changed.

    Raises:
        ProtocolViolation: Not a holdings document, or one that cannot be true.
    """
    if len(data) > HOLDINGS_BYTES_MAX:
        raise _violation(f"has {len(data)} bytes, more than {HOLDINGS_BYTES_MAX}")
    # Each value but the first of its list or object has a comma before it.
    if data.count(b",") > HOLDINGS_VALUES_MAX:
        raise _violation(f"has more than {HOLDINGS_VALUES_MAX} values")
    try:
        return _checked(_DOCUMENT.decode(data))
    except (ValueError, RecursionError, UsageError) as error:
        # msgspec reports by ValueError and its children, nesting without end apart.
        raise _violation(f"cannot be read: {str(error)[:200]}") from error


def _checked(document: _Document) -> Holdings | HoldingsDelta:
    entries, gone = document.holdings, document.gone
    if max(len(entries), len(gone)) > HOLDINGS_MAX:
        raise _violation(f"lists more than {HOLDINGS_MAX} versions")
    digests = [*gone, *(entry.digest for entry in entries)]
    if len(set(digests)) < len(digests):
        raise _violation("lists a version twice")
    listed = tuple(_holdings(entries))
    changed = tuple(each for entry, each in zip(entries, listed, strict=True) if entry.blocks)
    grown = tuple(each for entry, each in zip(entries, listed, strict=True) if entry.added)
    node, epoch = parse_node_id(document.node), Epoch(document.epoch)
    if len(document.recovering) > RECOVERING_MAX:
        raise _violation(f"says that it recovers more than {RECOVERING_MAX} versions of jobs")
    if len(document.placed) > PLACED_JOBS_MAX:
        raise _violation(f"says that it placed more than {PLACED_JOBS_MAX} versions of jobs")
    recovering, placed = _job_versions(document.recovering), _job_versions(document.placed)
    keeps = tuple(document.keeps)
    if document.since is None:
        if grown or gone:
            raise _violation("changes something and does not say what")
        return Holdings(
            node,
            epoch,
            document.revision,
            changed,
            recovering,
            placed,
            keeps,
            is_full=document.is_full,
        )
    if document.since >= document.revision:
        raise _violation(f"leads from revision {document.since} to {document.revision}")
    return HoldingsDelta(
        node=node,
        epoch=epoch,
        since=document.since,
        revision=document.revision,
        changed=changed,
        grown=grown,
        gone=tuple(parse_digest(digest) for digest in gone),
        recovering=recovering,
        placed=placed,
        keeps=keeps,
        is_full=document.is_full,
    )


def _job_versions(pairs: Iterable[tuple[str, int]]) -> tuple[JobVersion, ...]:
    return tuple((parse_checkpoint_name(job), parse_version(version)) for job, version in pairs)


def _holdings(entries: Sequence[_Holding]) -> Iterator[Holding]:
    """Check entries; the blocks of a holding are those in ``blocks`` or ``added``."""
    runs_left = HOLDING_RUNS_MAX
    for entry in entries:
        count = entry.block_count
        if not count <= entry.size_bytes <= count * BLOCK_BYTES_MAX:
            raise _violation(f"says that {count} blocks have {entry.size_bytes} bytes")
        if bool(entry.blocks) == bool(entry.added):
            raise _violation("does not say once for each version which blocks are meant")
        raw = entry.blocks or entry.added
        runs_left -= max(bytes(raw).count(b"[") - 1, 0)
        runs_left -= bytes(entry.optional).count(b"[")
        if runs_left < 0:
            raise _violation(f"has more than {HOLDING_RUNS_MAX} runs of blocks")
        yield Holding(
            checkpoint=parse_checkpoint_name(entry.checkpoint),
            version=parse_version(entry.version),
            digest=parse_digest(entry.digest),
            size_bytes=entry.size_bytes,
            block_count=count,
            blocks=_blocks(raw, count),
            optional=_blocks(entry.optional, count) if entry.optional else BlockSet(),
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

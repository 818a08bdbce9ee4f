"""Shards that are joined, laid out by hand: every digest says what is in its block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ckptd.limits import BLOCK_BYTES_MIN
from ckptd.model import manifest as rules
from ckptd.model.bare_names import SymbolicLink, required_words
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.manifest import Manifest, Unit, check_manifest, urgency
from ckptd.model.shards import Shard, shard_name
from ckptd.model.words import Criticality

LLAMA, STEP = CheckpointName("llama"), Version(1200)
CRITICAL, NORMAL, DEFERRED = Criticality
CONFIG, TOKENIZER = "config.json", "tokenizer/vocab"
SHARED = (CONFIG, TOKENIZER)


def unit(
    path: str,
    block_count: int,
    content: str = "",
    criticality: Criticality = NORMAL,
    phase: int = 0,
) -> Unit:
    """Lay out a unit whose digests say what is in it."""
    name = f"{path}{content}".encode()[-16:].rjust(16)
    blocks = b"".join(name + index.to_bytes(16) for index in range(block_count))
    return Unit(
        path=path,
        size_bytes=block_count * BLOCK_BYTES_MIN,
        digest=blocks if block_count == 1 else name * 2 if blocks else rules.DIGEST_OF_NOTHING,
        block_size_bytes=BLOCK_BYTES_MIN,
        block_digests=blocks,
        criticality=criticality,
        phase=phase,
    )


def member(
    shard: Shard,
    units: Sequence[Unit],
    *,
    links: Mapping[str, str] | None = None,
    directories: Sequence[str] = (),
    **words: Any,  # noqa: ANN401 (fields of a manifest)
) -> Member:
    found = tuple(SymbolicLink(*each) for each in sorted((links or {}).items()))
    manifest = Manifest(
        format=1,
        checkpoint=shard_name(LLAMA, shard),
        version=STEP,
        units=tuple(sorted(units, key=urgency)),
        links=found,
        directories=tuple(directories),
        requires=required_words(found, directories),
        **words,
    )
    check_manifest(manifest)
    return Member(digest_of(shard), manifest)


def digest_of(shard: Shard) -> Digest:
    return Digest(f"{shard.index:064x}")


def joint(*members: Member) -> Joint:
    return Joint(LLAMA, STEP, members)


def of_shards(*units: Sequence[Unit]) -> Joint:
    """Join one shard for each list of units."""
    return joint(*(member(Shard(at, len(units)), each) for at, each in enumerate(units)))


def bare(shard: Shard, units: Sequence[Unit]) -> Manifest:
    """Return a manifest without a look at its rules."""
    return Manifest(format=1, checkpoint=shard_name(LLAMA, shard), version=STEP, units=tuple(units))

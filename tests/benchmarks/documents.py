"""What zstd gains of manifests and holdings on their way between peers.

    python -m tests.benchmarks.documents

Of each document: how long it is, how long in zstd, what coding and decoding take of one core, and
what that makes of the time over links of 1 and 10 Gbit/s: as it is, and in zstd. The source keeps
what it coded, so whoever asks next costs no coding.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from random import Random
from typing import NamedTuple

import zstandard

from ckptd.limits import DIGEST_BYTES, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version
from ckptd.model.manifest import FORMAT, Manifest, Unit, encode_manifest
from ckptd.net.content_coding import Decoder, compressed
from ckptd.wire.holdings_document import encode_holdings

ROUNDS = 5
_BYTES_MAX = 128 * MIB
_LINKS_BYTES_PER_S = (125e6, 1250e6)


class Document(NamedTuple):
    """What one document costs.

    Attributes:
        name: What it is.
        size_bytes: As it is.
        coded_bytes: In zstd; ``None``: that saves too little, and it is sent as it is.
        coding_s: What finding out takes.
        decoding_s: What decoding takes.
    """

    name: str
    size_bytes: int
    coded_bytes: int | None
    coding_s: float
    decoding_s: float

    def line(self) -> str:
        """Return a line of the table."""
        coded = self.coded_bytes or self.size_bytes
        links = [
            f"{self.size_bytes / rate * 1e3:.1f} to {(coded / rate + self.decoding_s) * 1e3:.1f} ms"
            for rate in _LINKS_BYTES_PER_S
        ]
        times = f"{self.coding_s * 1e3:.1f}; {self.decoding_s * 1e3:.1f} ms"
        sizes = f"{self.size_bytes:,} to {coded:,} ({self.size_bytes / coded:.2f} times)"
        return " | ".join((self.name, sizes, times, *links))


def _manifest(units: int, blocks_each: int, rng: Random) -> bytes:
    made = []
    for number in range(units):
        digests = rng.randbytes(blocks_each * DIGEST_BYTES)
        unit = Unit(
            path=f"model-{number + 1:05}-of-{units:05}.safetensors",
            size_bytes=blocks_each * MIB,
            digest=digests if blocks_each == 1 else rng.randbytes(DIGEST_BYTES),
            block_size_bytes=MIB,
            block_digests=digests,
        )
        made.append(unit)
    return encode_manifest(
        Manifest(format=FORMAT, checkpoint="llama/rank-0", version=100, units=tuple(made))
    )


def _holdings(versions: int, runs_each: int, rng: Random) -> bytes:
    def held() -> BlockSet:
        if not runs_each:
            return BlockSet.full(2000)
        ends = sorted(rng.sample(range(2000 * runs_each), 2 * runs_each))
        return BlockSet(list(zip(ends[::2], ends[1::2], strict=True)))

    held_versions = tuple(
        Holding(
            checkpoint=CheckpointName(f"llama/shard-{number % 64}-of-64"),
            version=Version(1000 + number // 64 * 100),
            digest=Digest(rng.randbytes(DIGEST_BYTES).hex()),
            size_bytes=2000 * MIB,
            block_count=2000 * max(runs_each, 1),
            blocks=held(),
        )
        for number in range(versions)
    )
    return encode_holdings(Holdings(NodeId("node-a"), Epoch(2052455615313053), 77, held_versions))


def _documents() -> Iterator[tuple[str, bytes]]:
    rng = Random(1)
    yield "manifest: 30 units, 2,000 blocks each", _manifest(30, 2000, rng)
    yield "manifest: 500 units, 10⁶ blocks", _manifest(500, 2000, rng)
    yield "manifest: 100,000 units of one block", _manifest(100_000, 1, rng)
    yield "holdings: 10 versions", _holdings(10, 0, rng)
    yield "holdings: 1,000 versions", _holdings(1000, 0, rng)
    yield "holdings: 64 versions in 500 runs each", _holdings(64, 500, rng)


def _best_s(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start_s)
    return min(taken)


def _decode(coded: bytes) -> bytes:
    into = BytesIO()
    decoder = Decoder("document", into, _BYTES_MAX, lambda _: None)
    feeding = decoder.feed(coded)
    try:
        while True:
            feeding.send(None)
    except StopIteration:
        decoder.end()
    return into.getvalue()


def measured(name: str, body: bytes) -> Document:
    """Measure one document."""
    coding_s = _best_s(lambda: compressed(body))
    coded = compressed(body)
    if coded is None:
        shortest = len(zstandard.ZstdCompressor(level=19).compress(body[: 8 * MIB]))
        share = shortest / min(len(body), 8 * MIB)
        return Document(f"{name} (level 19: {share:.3f})", len(body), None, coding_s, 0.0)
    assert _decode(coded) == body
    return Document(name, len(body), len(coded), coding_s, _best_s(lambda: _decode(coded)))


def main() -> int:
    """Measure; print a line for each."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("document | bytes | coding; decoding | 1 Gbit/s | 10 Gbit/s")
    for name, body in _documents():
        print(measured(name, body).line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

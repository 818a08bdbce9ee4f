"""What it costs to find blocks that other versions on this node have, with 10⁷ blocks known.

    python -m tests.benchmarks.looking --rounds 3

There is no index of them: manifests are looked through when a recovery is prepared, in a thread of
a process that has a loop to serve. Five versions of two million blocks are known here, as many as
a manifest can have. No more is looked through than the daemon does, see
:mod:`ckptd.daemon.recover.own_versions`. Digests are drawn, no file is read.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from ckptd.cli.render.text import table
from ckptd.daemon.recover.own_versions import SIMILAR_BYTES_MAX, SIMILAR_MAX
from ckptd.limits import DIGEST_BYTES, GIB, MANIFEST_BLOCKS_MAX, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.encoded.decoding import decode_manifest, encoding_of
from ckptd.model.manifest import FORMAT, Manifest, Unit
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.trees.equal_blocks import EqualBlocks, SimilarPlace
from ckptd.store.trees.standing_files import KnownPlace
from tests.benchmarks.processes import peak_bytes, reset_peak

BLOCK_BYTES = MIB
KNOWN_BLOCKS = 10_000_000
SHARD_BLOCKS = 2 * GIB // BLOCK_BYTES
LARGE_BLOCKS = MANIFEST_BLOCKS_MAX - 2**14
"""With that and a small one beside it a daemon looks through as much as it ever does."""
CHANGED_SHARE = 0.004
WAIT_S = 0.001
FILE = UnitFile(Fingerprint(0, 0, 0, 0, 0))


class Looked(NamedTuple):
    """What one look has cost."""

    cpu_s: float
    late_s: float
    peak_bytes: int
    found: int


def encoded(version: int, blocks: int, seed: int, *, changed_share: float = 0.0) -> bytes:
    """Return the manifest of a version with drawn digests, as the database keeps it."""
    digests, changes = Random(seed), Random(version)
    units = []
    for number, start in enumerate(range(0, blocks, SHARD_BLOCKS)):
        count = min(SHARD_BLOCKS, blocks - start)
        mine = bytearray(digests.randbytes(count * DIGEST_BYTES))
        for _ in range(round(count * changed_share)):
            mine[changes.randrange(count) * DIGEST_BYTES] ^= 1
        size_bytes = count * BLOCK_BYTES
        units.append(Unit(
            path=f"{number:05}.safetensors",
            size_bytes=size_bytes,
            digest=digests.randbytes(DIGEST_BYTES),
            block_size_bytes=BLOCK_BYTES,
            block_digests=bytes(mine),
        ))  # fmt: skip
    manifest = Manifest(format=FORMAT, checkpoint="bench/looking", version=version, units=units)
    return bytes(encoding_of(manifest))


def looked_through(known: Sequence[bytes]) -> list[bytes]:
    """Return those of the known manifests that a daemon looks through."""
    left_bytes, chosen = SIMILAR_BYTES_MAX, []
    for manifest in known[:SIMILAR_MAX]:
        left_bytes -= len(manifest)
        if left_bytes < 0:
            break
        chosen.append(manifest)
    return chosen


def look(root: Root, wanted: bytes, known: Sequence[bytes]) -> Looked:
    """Read the manifests and find what is equal, beside a thread that wants to run each moment."""
    over, late_s = threading.Event(), [0.0]

    def wait() -> None:
        while not over.is_set():
            began_s = time.perf_counter()
            time.sleep(WAIT_S)
            late_s[0] = max(late_s[0], time.perf_counter() - began_s - WAIT_S)

    reset_peak(os.getpid())
    before_bytes = peak_bytes(os.getpid())
    waiting = threading.Thread(target=wait)
    waiting.start()
    began_s = time.thread_time()
    space = AddressSpace(decode_manifest(wanted))
    places = []
    for each in looked_through(known):
        other = AddressSpace(decode_manifest(each))
        files = UnitFiles([FILE] * len(other.manifest.units))
        places.append(SimilarPlace(KnownPlace(root, "old", files), other))
    equal = EqualBlocks(space, BlockSet.full(space.block_count), tuple(places))
    cpu_s = time.thread_time() - began_s
    over.set()
    waiting.join()
    return Looked(cpu_s, late_s[0], peak_bytes(os.getpid()) - before_bytes, len(equal.blocks))


def cases() -> dict[str, Callable[[], tuple[bytes, list[bytes]]]]:
    """Return what is wanted and what is known, by name; made when it is measured."""

    def strangers() -> list[bytes]:
        return [
            encoded(number, min(LARGE_BLOCKS, left), 100 + number)
            for number, left in enumerate(range(KNOWN_BLOCKS, 0, -LARGE_BLOCKS))
        ]

    small, large = SHARD_BLOCKS, LARGE_BLOCKS
    return {
        "2 GiB, the last version here, 0.4 % changed": lambda: (
            encoded(9, small, 1, changed_share=CHANGED_SHARE),
            [encoded(8, small, 1), *strangers()],
        ),
        "2 GiB, nothing of it here": lambda: (encoded(9, small, 1), strangers()),
        "2 TiB, the last version here, 0.4 % changed": lambda: (
            encoded(9, large, 1, changed_share=CHANGED_SHARE),
            [encoded(8, large, 1), *strangers()],
        ),
        "2 TiB, nothing of it here": lambda: (encoded(9, large, 1), strangers()),
    }


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory("-looking") as directory:
        root = Root.open("main", str(Path(directory)))
        for name, make in cases().items():
            wanted, known = make()
            rounds = [look(root, wanted, known) for _ in range(arguments.rounds)]
            rows.append((
                name,
                f"{statistics.median(each.cpu_s for each in rounds):.2f} s",
                f"{max(each.late_s for each in rounds) * 1000:.0f} ms",
                f"{max(each.peak_bytes for each in rounds) / MIB:.0f} MiB",
                str(rounds[0].found),
            ))  # fmt: skip
        root.close()
    heads = ("WANTED", "PROCESSOR", "OTHER THREAD LATE", "MEMORY", "FOUND")
    print("\n".join(table(heads, rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What audits cost: bytes and processor time, for so many peers with so many versions each.

    python -m tests.benchmarks.auditing --peers 64 --versions 100

A real daemon is the source; this process audits it as a daemon does, over a connection for each
block. What it costs to know what is due is measured apart, without a network.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from random import Random

import structlog

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.core.events import HoldingsArrived
from ckptd.core.peers.audits import AuditableClaim
from ckptd.daemon.audit.timetable import HOUR_NS, Audited, Timetable
from ckptd.daemon.recover.sampling import SampledRun, fetch_run
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Origin, PathId, Version
from ckptd.model.space import AddressSpace
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.net.inquiry import Inquirer
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.throttle import Throttles
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from tests.benchmarks.processes import cpu_s
from tests.support.auditing import AuditingNode
from tests.support.cluster import Cluster, make_checkpoint

_AUDITS = 300
_SIZES = ((256 * KIB, 64 * MIB), (4 * MIB, 8192 * MIB))
"""Blocks of so many bytes, and how long a file is whose blocks they are."""


def main() -> None:
    """Measure, and print what a day costs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=64)
    parser.add_argument("--versions", type=int, default=100)
    arguments = parser.parse_args()
    structlog.configure(processors=[_drop])
    claims = arguments.peers * arguments.versions
    known_s, next_s = _books(arguments.peers, arguments.versions)
    a_day = claims * 24 / 18
    print(
        f"{claims} claims: {known_s * 1e3:.0f} ms to take them in once, "
        f"{next_s * 1e6:.0f} µs each to choose"
    )
    look_s, scrape_s = asyncio.run(_rest(arguments.peers, arguments.versions))
    print(
        f"at rest: {look_s * 1e6:.0f} µs to look for news, {scrape_s * 1e3:.1f} ms for metrics; "
        f"every 2 s and every 10 s: {(look_s / 2 + scrape_s / 10) * 100:.3f} % of a core"
    )
    with (
        tempfile.TemporaryDirectory(prefix="auditing-") as directory,
        Cluster(Path(directory)) as cluster,
    ):
        for block_bytes, own_s, source_s in _wire(cluster):
            print(
                f"block of {block_bytes // KIB} KiB: {own_s * 1e3:.1f} ms here, "
                f"{source_s * 1e3:.1f} ms at the source; {a_day:.0f} a day: "
                f"{a_day * block_bytes / 86400 / 1000:.1f} kB/s, "
                f"{a_day * (own_s + next_s) / 86400 * 100:.3f} % of a core here, "
                f"{a_day * source_s / 86400 * 100:.3f} % of one at all sources together"
            )


def _books(peers: int, versions: int) -> tuple[float, float]:
    """Return what it takes to take in all claims, and to choose one of them."""
    table, now = Timetable(Random(1)), 1
    said = [
        [
            (
                AuditableClaim(
                    PathId(f"n{peer}"), NodeId(f"n{peer}"), Origin(f"n{peer}"), Epoch(1), held
                ),
                None,
            )
            for held in (_holding(number) for number in range(versions))
        ]
        for peer in range(peers)
    ]
    began_s = time.process_time()
    for claims in said:
        table.take_in(claims[0][0].path, claims, now=now)
    known_s = time.process_time() - began_s
    chosen = 0
    began_s = time.process_time()
    for _ in range(2):
        opened = None
        while (claim := table.take_next(now=now, opened=opened)) is not None:
            opened = claim.holding.digest
            table.note_audited((claim.origin, opened), Audited(now, is_right=True, block_count=8))
            chosen += 1
        now += 20 * HOUR_NS
    return known_s, (time.process_time() - began_s) / chosen


async def _rest(peers: int, versions: int) -> tuple[float, float]:
    """Return what it takes to look whether peers claim something else, and to count for metrics."""
    with tempfile.TemporaryDirectory(prefix="auditing-") as directory:
        database = Database(str(Path(directory, "ckptd.db")))
        await database.open()
        root = Root.open("data", directory)
        node = AuditingNode(database, Catalog(database, Roots([root])), "llama/*")
        held = tuple(map(_holding, range(versions)))
        now = node.script.now
        for peer in range(peers):
            name = NodeId(f"n{peer}")
            said = HoldingsArrived(name, Epoch(1), held, PathId(name), Origin(name))
            node.script.scheduler.handle(said, now=now)
            for each in held:
                audited = Audited(now, is_right=True, block_count=8)
                node.proofs.note((Origin(name), each.digest), audited)
        await node.auditing.audit_next()
        began_s = time.process_time()
        for _ in range(100):
            await node.auditing.audit_next()
        look_s = (time.process_time() - began_s) / 100
        began_s = time.process_time()
        for _ in range(10):
            assert node.auditing.seen().claims == {"proven": peers * versions}
        scrape_s = (time.process_time() - began_s) / 10
        await database.close()
        root.close()
        return look_s, scrape_s


def _holding(number: int) -> Holding:
    digest = Digest(f"{number:064x}")
    return Holding(
        CheckpointName(f"llama/{number % 50}"), Version(number), digest, 1, 8, BlockSet.full(8)
    )


def _wire(cluster: Cluster) -> list[tuple[int, float, float]]:
    """Return for blocks of some sizes what one audit takes here and at the source."""
    source = cluster.node("source")
    found = []
    for block_bytes, size_bytes in _SIZES:
        path = source.path(str(block_bytes))
        if size_bytes <= 64 * MIB:
            make_checkpoint(path, files=[PlannedFile("weights.bin", size_bytes)])
        else:  # a hole has no room, and its blocks are sent as any other
            path.mkdir()
            with (path / "weights.bin").open("wb") as file:
                file.truncate(size_bytes)
        digest = source.publish(path, f"of-{block_bytes}", critical=(), deferred=()).digest
        asyncio.run(_audit(source.data_port, Digest(digest), block_bytes))  # the same blocks: warm
        before_s = cpu_s(source.pid)
        own_s = asyncio.run(_audit(source.data_port, Digest(digest), block_bytes))
        found.append((block_bytes, own_s, (cpu_s(source.pid) - before_s) / _AUDITS))
    return found


async def _audit(port: int, digest: Digest, block_bytes: int) -> float:
    address = ("127.0.0.1", port)
    async with Inquirer() as inquirer:
        received = await inquirer.manifest(address, digest)
    space = AddressSpace(decode_manifest(received.manifest))
    assert space.block_size(0) == block_bytes
    pool, throttles, rng = BufferPool(64 * MIB), Throttles.create(), Random(1)
    began_s = time.process_time()
    for _ in range(_AUDITS):
        block = rng.randrange(space.block_count)
        run = SampledRun(digest, space, BlockRun(block, block + 1), Urgency.BACKGROUND)
        sample = await fetch_run(address, run, pool, peer=None, throttles=throttles, patience_s=10)
        assert sample.outcome is RangeOutcome.DELIVERED
    return (time.process_time() - began_s) / _AUDITS


def _drop(*_: object) -> str:
    """Drop a line of the log."""
    raise structlog.DropEvent


if __name__ == "__main__":
    main()

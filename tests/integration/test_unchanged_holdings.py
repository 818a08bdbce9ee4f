"""What a cluster says that has nothing new to say: counted in bytes, as they cross the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from ckptd.core.peers.pauses import wait_ns
from ckptd.limits import DIGEST_BYTES, MIB, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.shards import Shard, shard_name
from ckptd.net.connection.identity import Identity
from ckptd.net.inquiry import Inquirer
from ckptd.wire.holdings_document import encode_holdings
from tests.support.certificates import A, B, Certificates
from tests.support.serving import EPOCH, Address, FileContent, serving

pytestmark = pytest.mark.integration

PEERS, SHARDS, VERSIONS, COPIES = 64, 1024, 10, 2
QUESTIONS_A_MINUTE = 60 * SECOND // wait_ns(PEERS)
"""A peer holds a question back for so long when nothing changes."""
ROUNDS = 5


def said_by_one() -> tuple[Holding, ...]:
    """Return what each of 64 nodes has of ten versions of 1,024 shards, two copies of each."""
    job = CheckpointName("llama")
    return tuple(
        Holding(
            shard_name(job, Shard(index, SHARDS)),
            Version(version),
            Digest(blake3(f"{index}@{version}".encode()).hexdigest()),
            8 * MIB,
            8,
            BlockSet.full(8),
        )
        for version in range(VERSIONS)
        for index in range(SHARDS * COPIES // PEERS)
    )


class ManyShards(FileContent):
    """Says that it has a node's part of a large job."""

    def holdings_document(self) -> bytes:
        return encode_holdings(Holdings(self.node, EPOCH, self.revision, said_by_one()))


class Counted:
    """A way to a node on which bytes are counted, both ways."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self.passed_bytes = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Address]:
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[:2]

    async def _join(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far, far_out = await asyncio.open_connection(*self._to)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass(near, far_out))
                ways.create_task(self._pass(far, near_out))
        finally:
            near_out.close()
            far_out.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            self.passed_bytes += len(data)
            sink.write(data)
        sink.write_eof()


async def bytes_of_a_question(
    content: FileContent, own: Identity | None, other: Identity | None
) -> tuple[float, int]:
    """Return what one question costs of which the answer is that nothing changed.

    Returns:
        That, and what the first question cost, whose answer was all.
    """
    node = serving(content, identity=other, node=content.node)
    async with node as served, Inquirer(own) as inquirer:
        way = Counted(served.address)
        async with way.opened() as address:
            first = await inquirer.holdings(address)
            whole = way.passed_bytes
            for _ in range(ROUNDS):
                # Held back for no time at all: the same bytes, but for a digit.
                again = await inquirer.holdings(address, etag=first.etag, wait_s=0)
                assert again.update is None
    return (way.passed_bytes - whole) / ROUNDS, whole


def bytes_a_minute(each: float) -> float:
    """Return what a node and 64 peers say in a minute that ask each other all the time."""
    return 2 * PEERS * QUESTIONS_A_MINUTE * (each + 1)


async def test_holdings_that_do_not_change_cost_next_to_nothing(tmp_path: Path) -> None:
    content = ManyShards(tmp_path, {"a": b"x"})
    each, whole = await bytes_of_a_question(content, None, None)
    assert whole > DIGEST_BYTES * VERSIONS * SHARDS * COPIES // PEERS, "it has that much to say"
    assert bytes_a_minute(each) <= MIB / 2, each


async def test_with_certificates_it_is_hardly_more(tmp_path: Path) -> None:
    content, certificates = ManyShards(tmp_path, {"a": b"x"}), Certificates(tmp_path / "tls")
    content.node = B
    own, other = certificates.identity(A), certificates.identity(B)
    each, _ = await bytes_of_a_question(content, own, other)
    assert bytes_a_minute(each) <= MIB, each

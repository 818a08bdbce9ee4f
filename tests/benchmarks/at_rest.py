"""What nodes say to each other while nothing changes: bytes a second of each, in a large fleet.

    python -m tests.benchmarks.at_rest --nodes 1000

Nothing runs in real time but one question and its answer, over a connection of this machine: how
long they really are. When whom is asked is decided by the real ``Following``, in virtual time. What
a node asks it is asked by others, so all of it counts twice: as sent and as received.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from email.utils import formatdate
from heapq import heapify, heappop, heappush
from random import Random
from typing import Final, NamedTuple

from ckptd.core.peers.addresses import PeerAddress, PeerEntry
from ckptd.core.peers.following import Following
from ckptd.limits import GIB, KIB, MIB, SECOND
from ckptd.model.addresses import Address
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version
from ckptd.net.content_coding import compressed
from ckptd.net.inquiry import Inquirer
from ckptd.wire.fields import EPOCH, LOAD, NODE
from ckptd.wire.heads import head_end, response_head
from ckptd.wire.holdings_document import encode_holdings

_TCP_IP_BYTES: Final = 52
"""Heads of a segment with time stamps, over IPv4; an exchange is a segment each way and one that
confirms the answer."""
_SEGMENTS: Final = 3
_SETTLED_S: Final = 120
_MEASURED_S: Final = 300
_AUDITED_AGAIN_S: Final = 18 * 3600


class Exchange(NamedTuple):
    """One question and its answer, in bytes."""

    question: int
    answer: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000, help="nodes (%(default)s)")
    parser.add_argument("--versions", type=int, default=8, help="each holds (%(default)s)")
    parser.add_argument(
        "--listed", type=int, default=64, help="claims that a node audits (%(default)s)"
    )
    options = parser.parse_args()
    said = encode_holdings(_holdings(options.nodes, options.versions))
    coded = compressed(said) or said
    exchange = asyncio.run(_measure())
    per_s = questions_per_s(options.nodes)
    asking = per_s * (exchange.question + exchange.answer)
    packets = per_s * _SEGMENTS * _TCP_IP_BYTES
    audits = options.listed / _AUDITED_AGAIN_S * (MIB + KIB)
    print(f"{options.nodes} nodes, {options.versions} versions on each")
    print(f"holdings document: {len(said)} bytes, {len(coded)} compressed; none is sent at rest")
    print(
        f"a question {exchange.question} bytes, the answer that nothing changed {exchange.answer}"
    )
    print(f"questions of each node: {per_s:.1f} a second")
    print(f"audits of {options.listed} claims in 18 h, a block of 1 MiB: {audits / 1e3:.1f} kB/s")
    print(f"each node sends {(asking + audits) / 1e3:.1f} kB/s and receives as much")
    print(f"  with the heads of TCP and IP {(asking + audits + packets) / 1e3:.1f} kB/s")
    print(f"to hear everything after a start: {options.nodes * len(coded) / 1e6:.2f} MB")


def questions_per_s(nodes: int) -> float:
    """Return how often a node asks another one, once it knows all."""
    rng = Random(1)
    addresses = [
        (f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}", 7421) for index in range(1, nodes)
    ]
    entries = [
        PeerEntry(f"{host}:{port}", (host, port), addresses=((host, port),), is_looked_up=True)
        for host, port in addresses
    ]
    following = Following(NodeId("n0"), entries, rng)
    said = {
        peer.address: Holdings(NodeId(f"n{index}"), Epoch(index), 1, ())
        for index, peer in enumerate(following.addresses(), 1)
    }
    agenda = [(rng.randrange(SECOND), index) for index in range(len(said))]
    heapify(agenda)
    peers = following.addresses()
    asked, until = 0, (_SETTLED_S + _MEASURED_S) * SECOND
    while agenda and agenda[0][0] < until:
        moment, index = heappop(agenda)
        asked += moment >= _SETTLED_S * SECOND
        heappush(agenda, (_ask(following, peers[index], said, moment), index))
    return asked / _MEASURED_S


def _ask(
    following: Following, peer: PeerAddress, said: dict[Address, Holdings], moment: int
) -> int:
    """Ask one peer; return when it is asked again."""
    question = following.question(peer)
    update = None if question.etag else said[peer.address]
    step = following.answered(peer, question, update, '"1-1"')
    return moment + question.wait_ns + step.pause_ns


async def _measure() -> Exchange:
    """Ask once over a real connection, for a change that did not happen."""
    lengths: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b""
        while head_end(head) is None:
            head += await reader.read(64 * KIB)
        fields = {
            NODE: "node-0001",
            EPOCH: str(2**52),
            LOAD: "0",
            "Date": formatdate(usegmt=True),
            "Connection": "keep-alive",
            "ETag": f'"{2**52}-10"',
            "Cache-Control": "no-cache",
        }
        reply = response_head(304, fields)
        lengths.extend((len(head), len(reply)))
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, Inquirer() as inquirer:
        await inquirer.holdings((host, port), etag=f'"{2**52}-10"', wait_s=10)
    return Exchange(*lengths)


def _holdings(nodes: int, versions: int) -> Holdings:
    """Return what a node of a job of so many ranks has: its own shard, and copies of others."""
    rng, holdings = Random(1), []
    for index in range(versions):
        name = f"llama/shard-{rng.randrange(nodes)}-of-{nodes}"
        digest = hashlib.sha256(f"{name}/{index}".encode()).hexdigest()
        size, count = 10 * GIB, 10 * GIB // MIB
        holdings.append(
            Holding(
                CheckpointName(name),
                Version(128_000 + index % 2),
                Digest(digest),
                size,
                count,
                BlockSet.full(count),
            )
        )
    return Holdings(NodeId("node-0001"), Epoch(2**52), 10, tuple(holdings))


if __name__ == "__main__":
    main()

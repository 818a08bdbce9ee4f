"""Nodes that recover together serve each other, and follow what each of them has."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random

import pytest

from ckptd.control.messages.peers import PeerRow
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.core.events import Event, HoldingsArrived, PeerLost
from ckptd.daemon.recover.peering import Peering
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.holdings import Holding, Holdings, HoldingsDelta, apply_delta
from ckptd.model.ids import Epoch, NodeId
from ckptd.model.space import AddressSpace
from ckptd.model.words import PeerState, Result
from ckptd.net.inquiry import Inquirer
from ckptd.wire.holdings_document import decode_holdings
from tests.support.cluster import NAME, Cluster, Node, eventually, tree_digest, with_and_without_tls
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.serving import on_both_loops, scripted_source, take_request, until
from tests.support.swarm import ask, blocks_of, holding_of, holdings_of, start_swarm

pytestmark = pytest.mark.integration

RATE_BYTES_PER_S = 6 * MIB


@pytest.fixture
def link(sources: list[Node]) -> Iterator[FaultProxy]:
    """The way to a source, at a rate at which there is time to look."""
    with fault_proxy(sources[0].data_port, rate_bytes_per_s=RATE_BYTES_PER_S) as proxy:
        yield proxy


def version_of(node: Node) -> tuple[str, AddressSpace, bytes]:
    """The path of a node's version, how it is laid out, and all its bytes."""
    (row,) = (row for row in node.client.checkpoints() if row.checkpoint == NAME)
    manifest = ask(node.address, f"/v1/manifests/{row.digest}").body
    path = f"/v1/checkpoints/{row.digest}"
    return path, AddressSpace(decode_manifest(manifest)), ask(node.address, path).body


def sent_bytes(node: Node) -> float:
    address = node.client.status().listen.metrics
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        page = answer.read().decode()
    values = re.findall(r"^ckptd_sent_bytes_total\{.*\} (.+)$", page, re.MULTILINE)
    return sum(map(float, values))


@with_and_without_tls
def test_receivers_that_recover_at_once_serve_each_other(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    # So slow that each has told the others of something long before it has everything.
    with fault_proxy(source.data_port, rate_bytes_per_s=5 * MIB) as link:
        receivers = start_swarm(cluster, ["r1", "r2", "r3"], sources=[link.address])
        recoveries = [receiver.begin() for receiver in receivers]
        results = [node.result(each) for node, each in zip(receivers, recoveries, strict=True)]
    assert [result.result for result in results] == [Result.COMPLETE] * 3
    for result in results:
        assert tree_digest(result.target) == tree_digest(source.path("100"))
    # How few copies the source sends depends on how soon each hears of the others; what
    # tests/simulation/test_swarms.py says of that in numbers has no machine in it.
    from_source = [share.bytes for r in results for share in r.sources if share.node == "a"]
    assert sum(from_source) < 3 * results[0].bytes_total, "somebody was served by somebody else"
    assert sum(map(sent_bytes, receivers)) > 0


def test_whoever_comes_later_is_served_by_who_is_ahead(
    sources: list[Node], cluster: Cluster, link: FaultProxy
) -> None:
    ahead, later = start_swarm(cluster, ["r1", "r2"], sources=[link.address])
    first = ahead.begin()
    eventually(lambda: blocks_of(ahead, NAME), "something is advertised")
    result = later.recover()
    assert result.result is Result.COMPLETE
    assert "r1" in {share.node for share in result.sources}
    assert tree_digest(result.target) == tree_digest(sources[0].path("100"))
    assert ahead.result(first).result is Result.COMPLETE


def test_what_a_recovering_node_advertises_can_be_fetched_and_nothing_else(
    sources: list[Node], cluster: Cluster, link: FaultProxy
) -> None:
    path, space, content = version_of(sources[0])
    receiver = cluster.node("r", peers=[link.address])
    recovery = receiver.begin()
    eventually(lambda: blocks_of(receiver, NAME), "something is advertised")
    holding = pause(receiver, recovery, space)
    assert (holding.size_bytes, holding.block_count) == (space.size_bytes, space.block_count)
    for run in holding.blocks.runs():
        first, end = space.block_start(run.start), space.block_start(run.end)
        got = ask(receiver.address, path, Range=f"bytes={first}-{end - 1}")
        assert (got.status, got.body == content[first:end]) == (206, True)
        beyond = ask(receiver.address, path, Range=f"bytes={end - 1}-{end}")
        assert (beyond.status, end < space.size_bytes) in {(404, True), (206, False)}
    assert ask(receiver.address, path).status == 404, "the whole is not held"
    assert ask(receiver.address, path, method="HEAD").status == 200, "it stands by its holding"
    manifest = ask(receiver.address, path.replace("/checkpoints/", "/manifests/"))
    assert decode_manifest(manifest.body) == space.manifest
    link.heal()
    receiver.client.resume(recovery)
    assert receiver.result(recovery).result is Result.COMPLETE
    assert ask(receiver.address, path).body == content


def pause(node: Node, recovery: str, space: AddressSpace) -> Holding:
    """Let a recovery stand still, and return what it advertises when the journal has all of it."""
    node.client.pause(recovery)

    def is_still(view: RecoveryView) -> bool:
        is_quiet = all(row.in_flight_bytes == 0 for row in view.sources)
        return is_quiet and space.set_bytes(blocks_of(node, NAME)) == view.bytes_verified

    view = node.wait_view(recovery, is_still, "nothing more comes")
    assert view.bytes_left, "it was paused in time"
    holding = holding_of(node, NAME)
    assert holding is not None
    return holding


def test_followers_see_it_grow_and_become_complete(
    sources: list[Node], cluster: Cluster, link: FaultProxy
) -> None:
    _, space, _ = version_of(sources[0])
    receiver = cluster.node("r", peers=[link.address])
    known, deltas = holdings_of(receiver), 0
    recovery = receiver.begin()
    seen = [BlockSet()]
    while len(seen[-1]) < space.block_count:
        answer = ask(
            receiver.address,
            "/v1/holdings",
            If_None_Match=f'"{known.epoch}-{known.revision}"',
            Prefer="wait=10",
            Ckptd_Delta="1",
        )
        assert answer.status == 200
        update = decode_holdings(answer.body)
        assert isinstance(update, HoldingsDelta)
        assert not update.gone, "it never has nothing in between"
        deltas += bool(update.grown)
        known = apply_delta(known, update)
        assert answer.fields["etag"] == f'"{known.epoch}-{known.revision}"'
        seen.append(known.holdings[0].blocks)
    assert len(seen) > 3, "it was told in several steps"
    assert all(earlier.issubset(later) for earlier, later in itertools.pairwise(seen))
    assert receiver.result(recovery).result is Result.COMPLETE
    assert holdings_of(receiver) == known


def test_a_response_under_way_when_a_recovery_is_given_up_brings_no_wrong_byte(
    sources: list[Node], cluster: Cluster, link: FaultProxy
) -> None:
    path, space, content = version_of(sources[0])
    receiver = cluster.node("r", peers=[link.address])
    recovery = receiver.begin()
    run = eventually(lambda: _long_run(receiver, space), "a long run is advertised")
    first, end = space.block_start(run.start), space.block_start(run.end)
    host, _, port = receiver.address.partition(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        slow.connect((host, int(port)))
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nRange: bytes={first}-{end - 1}\r\n\r\n"
        slow.sendall(request.encode())
        head = slow.recv(1)
        receiver.client.cancel(recovery)
        assert not list(receiver.path().iterdir()), "nothing waited for the response"
        answer = head + _read_all(slow, end - first)
    body = answer.partition(b"\r\n\r\n")[2]
    assert body == content[first : first + len(body)]
    assert ask(receiver.address, path, Range=f"bytes={first}-{end - 1}").status == 404
    assert not holdings_of(receiver).holdings


def _long_run(node: Node, space: AddressSpace) -> BlockRun | None:
    """Return a run of more than the kernel takes into its buffers."""
    for run in blocks_of(node, NAME).runs():
        if space.run_bytes(run) > 5 * MIB:
            return run
    return None


def _read_all(connection: socket.socket, size_bytes: int) -> bytes:
    received = bytearray()
    try:
        while len(received) < size_bytes and (part := connection.recv(MIB)):
            received += part
    except ConnectionResetError:
        pass
    return bytes(received)


def test_a_killed_node_comes_back_with_what_it_hashed_again(
    sources: list[Node], cluster: Cluster, link: FaultProxy
) -> None:
    _, space, _ = version_of(sources[0])
    receiver, observer = start_swarm(cluster, ["r", "o"], sources=[link.address])
    recovery = receiver.begin()
    eventually(lambda: len(blocks_of(receiver, NAME)) > 4, "some blocks are advertised")
    before = pause(receiver, recovery, space)
    first = eventually(lambda: _row(observer, "r", versions=1), "it is followed")
    receiver.kill()
    eventually(lambda: _is_lost(observer, receiver), "its death is noticed")

    rotten = next(iter(before.blocks))
    (place,) = space.places((rotten, rotten + 1))
    staged = receiver.path(".ckptd", recovery, space.manifest.units[place.unit].path)
    with staged.open("r+b") as file:
        file.seek(place.offset)
        byte = file.read(1)[0]
        file.seek(place.offset)
        file.write(bytes([byte ^ 1]))
    receiver.restart()

    eventually(lambda: blocks_of(receiver, NAME), "it advertises again")
    after = holding_of(receiver, NAME)
    assert after is not None
    assert before.blocks - after.blocks == BlockSet.single(rotten)
    second = eventually(lambda: _row(observer, "r", versions=1), "it is followed again")
    assert second.epoch != first.epoch
    receiver.client.resume(recovery)
    link.heal()
    result = receiver.result(recovery)
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(sources[0].path("100"))


def _row(node: Node, name: str, *, versions: int) -> PeerRow | None:
    rows = node.client.peers()
    return next((row for row in rows if row.node == name and row.versions == versions), None)


def _is_lost(observer: Node, lost: Node) -> bool:
    (row,) = (row for row in observer.client.peers() if row.address == lost.address)
    return row.state is PeerState.UNREACHABLE


# One follower and a peer that says what a test wants it to say


def told(body: str, revision: int) -> bytes:
    head = f'HTTP/1.1 200 OK\r\nETag: "5-{revision}"\r\nContent-Length: {len(body)}\r\n\r\n'
    return (head + body).encode()


WHOLE = '{"node":"p","epoch":5,"revision":%d,"holdings":[]}'
UNFIT = '{"node":"p","epoch":5,"revision":9,"since":%d,"holdings":[],"gone":["' + "1" * 64 + '"]}'


@on_both_loops
async def test_of_many_peers_all_are_asked_and_some_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ckptd.core.peers.following.FOLLOWED_MAX", 2)
    events: list[Event] = []
    again: list[bool] = []

    def script(name: str) -> Callable[[socket.socket], None]:
        def answer(connection: socket.socket) -> None:
            take_request(connection)
            connection.sendall(told(WHOLE.replace('"p"', f'"{name}"') % 1, 1))
            again.append(b"wait=0" not in take_request(connection).lower())
            connection.recv(1)

        return answer

    with ExitStack() as sources:
        places = [sources.enter_context(scripted_source(script(f"p{n}"))) for n in range(12)]
        async with Inquirer() as inquirer:
            addresses = tuple(f"{host}:{port}" for host, port in places)
            followed = Peering(NodeId("me"), addresses, inquirer, events.append, Random(1))
            following = asyncio.ensure_future(followed.run())
            await until(lambda: len(again) == 12)
            assert {event.node for event in events if isinstance(event, HoldingsArrived)} == {
                NodeId(f"p{n}") for n in range(12)
            }
            assert 2 <= sum(again) < 12, "the others are not kept waiting for a change"
            following.cancel()
            await asyncio.wait([following])


@on_both_loops
async def test_after_a_delta_that_does_not_fit_everything_is_asked_for() -> None:
    asked: list[bytes] = []
    events: list[Event] = []

    def script(connection: socket.socket) -> None:
        for answer in (told(WHOLE % 1, 1), told(UNFIT % 1, 9), told(WHOLE % 2, 2)):
            asked.append(take_request(connection).lower())
            connection.sendall(answer)
        asked.append(take_request(connection).lower())

    with scripted_source(script) as (host, port):
        async with Inquirer() as inquirer:
            peers = Peering(NodeId("me"), (f"{host}:{port}",), inquirer, events.append, Random(1))
            following = asyncio.ensure_future(peers.run())
            await until(lambda: len(asked) == 4)
            (peer,) = peers.peers()
            assert peer.holdings == Holdings(NodeId("p"), Epoch(5), 2, ())
            following.cancel()
            await asyncio.wait([following])
    sent_etags = [re.findall(rb'if-none-match: "(.*)"', head) for head in asked]
    assert sent_etags == [[], [b"5-1"], [], [b"5-2"]]
    assert [b"ckptd-delta: 1" in head for head in asked] == [False, True, False, True]
    assert [type(event) for event in events if isinstance(event, HoldingsArrived | PeerLost)] == [
        HoldingsArrived,
        HoldingsArrived,
    ]

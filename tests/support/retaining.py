"""Nodes with real catalogs and files, and with retention; there is no network between them.

What a node knows of the others is what it was given at :meth:`RetainingNodes.spread`, as holdings
that arrive a moment later; what it is answered when it asks is what the other one offers then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import msgspec

from ckptd.chains.delta_index import DELTA_INDEX
from ckptd.config.sections import RetentionSection
from ckptd.core.options import TrustOptions
from ckptd.core.peers.copies import copies_of, is_recovered, parts_of
from ckptd.core.peers.paths import PathEnd
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.daemon.parts import Storage
from ckptd.daemon.retain.outcomes import Outcome
from ckptd.daemon.retain.retention import Retention
from ckptd.daemon.serve.advertising import Advertising
from ckptd.model.addresses import Address
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, PathId, RecoveryId, Version
from ckptd.net.inquiry import HoldingsAnswer
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.retention_records import RetentionRecords
from tests.support.stores import publish, write_files

NAME = CheckpointName("llama")


class RetainingNode:
    """A node: its catalog and files, what it knows of others, and its retention."""

    def __init__(
        self,
        nodes: RetainingNodes,
        name: str,
        database: Database,
        roots: Roots,
        section: RetentionSection,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.id = NodeId(name)
        self.roots, self.database = roots, database
        self.root = roots.default()
        self.state = State()
        self.asked: list[NodeId] = []
        self.is_mute = False
        self.liars: set[NodeId] = set()
        self.silent: set[NodeId] = set()
        self.proven: list[PathId] = []
        self.is_busy = False
        self.recoveries: list[Any] = []
        self.book: list[Any] = []
        self._nodes = nodes
        self._section = section
        self._clock = clock
        self.placed_at_s = 1000.0

    async def open(self) -> None:
        """Begin a life: read what the database has."""
        roots = self.roots
        self.catalog = Catalog(self.database, roots, lambda: self.placed_at_s)
        await self.catalog.load()
        self.advertising = Advertising(self.id, Epoch(1), self.catalog)
        scheduler = SimpleNamespace(
            copies=lambda own, now: copies_of(self.state, own, TrustOptions(), now=now),
            parts=lambda own: parts_of(self.state, own),
            is_recovered_elsewhere=lambda job, version: is_recovered(self.state, job, version),
            holders=lambda digest, now: self._holders(digest),
        )
        recovering = SimpleNamespace(
            scheduler=scheduler,
            runtime=SimpleNamespace(now=lambda: 0),
            peering=SimpleNamespace(end_of=self._end_of),
            snapshots=lambda: self.recoveries,
            book=self.book,
        )
        storage = cast(
            "Storage",
            SimpleNamespace(
                catalog=self.catalog, roots=roots, retention=RetentionRecords(self.database)
            ),
        )
        config = SimpleNamespace(retention=self._section, node=SimpleNamespace(id=self.id))
        inquirer = SimpleNamespace(holdings=self._ask)
        parts = SimpleNamespace(
            config=config,
            storage=storage,
            transport=SimpleNamespace(inquirer=inquirer),
            epoch=1,
        )
        self.retention = Retention(
            cast("Any", parts),
            cast("Any", recovering),
            self.advertising,
            note_let_go=lambda _: None,
            auditing=cast("Any", SimpleNamespace(is_proven=self._is_proven)),
            is_busy=lambda: self.is_busy,
        )
        self.retaining = self.retention.retaining
        self.retaining._clock, self.retaining._last_s = self._clock, self._clock()
        self.retaining._deciding._clock = self._clock
        await self.retention.leases.load()

    async def save(
        self,
        version: int,
        *,
        content: bytes | None = None,
        is_published: bool = False,
        as_copy: bool = False,
    ) -> Digest:
        """Let a version stand here; the same content everywhere."""
        root = self.roots["copies"] if as_copy else self.root
        relative = f"{NAME}/{version}"
        text = b"%d " % version * 20 if content is None else content
        await asyncio.to_thread(write_files, Path(root.path, relative), {"w": text})
        hashed = await asyncio.to_thread(publish, root, relative, checkpoint=NAME, version=version)
        await self.catalog.add(hashed, is_published=is_published)
        return hashed.digest

    async def save_delta(
        self, version: int, base: int, on: Digest | None, *, as_copy: bool = False
    ) -> Digest:
        """Let a delta version stand here, on a content of its base version."""
        root = self.roots["copies"] if as_copy else self.root
        relative = f"{NAME}/{version}"
        said = {"version": version, "base_version": base, "delta_encoding": "xor"}
        index = msgspec.json.encode({"metadata": said, "weight_map": {}})
        await asyncio.to_thread(
            write_files, Path(root.path, relative), {"w": b"%d" % version, DELTA_INDEX: index}
        )
        bases = {} if on is None else {Version(base): on}
        hashed = await asyncio.to_thread(
            publish, root, relative, checkpoint=NAME, version=version, bases=bases
        )
        await self.catalog.add(hashed, is_published=False)
        return hashed.digest

    async def save_rival(self, version: int) -> Digest:
        """Let another content of a version stand here."""
        relative = f"rivals/{version}"
        await asyncio.to_thread(write_files, Path(self.root.path, relative), {"w": b"rival"})
        hashed = await asyncio.to_thread(
            publish, self.root, relative, checkpoint=NAME, version=version
        )
        await self.catalog.add(hashed, is_published=False)
        return hashed.digest

    async def save_shard(
        self, version: int, shard: int, files: Mapping[str, bytes], *, exclude: tuple[str, ...]
    ) -> None:
        """Let a shard of two stand here, of some of the files in a directory."""
        relative = f"{NAME}/{version}"
        if not await asyncio.to_thread(Path(self.root.path, relative).exists):
            await asyncio.to_thread(write_files, Path(self.root.path, relative), files)
        hashed = await asyncio.to_thread(
            publish,
            self.root,
            relative,
            checkpoint=f"{NAME}/shard-{shard}-of-2",
            version=version,
            exclude=exclude,
        )
        await self.catalog.add(hashed, is_published=False)

    async def hashed(self, version: int) -> HashedDirectory:
        """Return what was recorded of a version."""
        (held,) = self.catalog.find(NAME, Version(version))
        return await self.catalog.hashed(held.places[0].number)

    @property
    def versions(self) -> list[int]:
        """Which versions are in the catalog."""
        return [held.holding.version for held in self.catalog.versions()]

    @property
    def said(self) -> Holdings:
        """What it says that it has, of the last change as well.

        On a slow machine that is announced a moment later, with what else changes meanwhile.
        """
        self.advertising.end(RecoveryId("none"))  # what was changed is announced at once
        return self.advertising.holdings

    @property
    def offered(self) -> list[int]:
        """Which versions peers could have."""
        return [holding.version for holding in self.said.holdings]

    @property
    def on_disk(self) -> list[int]:
        """Which versions have a file."""
        return sorted(int(file.parent.name) for file in Path(self.root.path).glob("*/*/w"))

    def hear(self, other: RetainingNode, holdings: Iterable[Holding] | None = None) -> None:
        """Know what another node says, or said."""
        said = other.said.holdings if holdings is None else tuple(holdings)
        peer = self.state.peers.setdefault(PathId(other.id), Peer(other.id, Epoch(1)))
        peer.holdings = {each.digest: each for each in said}

    async def collect(self, **how: Any) -> list[Outcome]:  # noqa: ANN401 (as of Retaining)
        """Remove what may go; return what became of each version."""
        how.setdefault("is_dry_run", False)
        return [each async for each in self.retaining.collect(how.pop("name", None), **how)]

    def _holders(self, digest: Digest) -> list[object]:
        """Return who is known to have something of a version, as far as that is asked for."""
        return [
            SimpleNamespace(
                source=SimpleNamespace(node=peer.node, path=path),
                quarantined_until_ns=peer.standing.quarantined_until_ns or None,
            )
            for path, peer in sorted(self.state.peers.items())
            if digest in peer.holdings
        ]

    def _end_of(self, path: PathId) -> PathEnd | None:
        peer = self.state.peers.get(path)
        number = list(self._nodes.by_id).index(NodeId(path))
        return None if peer is None else PathEnd(peer.node, ("127.0.0.1", 1 + number))

    async def _is_proven(self, path: PathId, holding: Holding) -> bool:
        self.proven.append(path)
        if path in self.silent:
            await asyncio.get_running_loop().create_future()
        return path not in self.liars

    async def _ask(self, address: Address) -> HoldingsAnswer:
        other = list(self._nodes.by_id.values())[address[1] - 1]
        self.asked.append(other.id)
        await asyncio.sleep(0)
        if other.is_mute:
            raise ConnectionError("refused")
        await self._nodes.when_asked(self, other)
        return HoldingsAnswer(other.holdings(), "")

    def holdings(self) -> Holdings:
        """Return what it answers when it is asked."""
        return self.said


class RetainingNodes:
    """Some nodes that know of each other; an asynchronous context manager."""

    def __init__(self, directory: Path, clock: Callable[[], float] = lambda: 0.0) -> None:
        self._directory = directory
        self._clock = clock
        self._stack = AsyncExitStack()
        self.by_id: dict[NodeId, RetainingNode] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def add(self, name: str, section: RetentionSection) -> RetainingNode:
        """Add a node."""
        directory = self._directory / name
        (directory / "root").mkdir(parents=True)
        (directory / "copies").mkdir()
        database = Database(str(directory / "ckptd.db"))
        await database.open()
        self._stack.push_async_callback(database.close)
        root = Root.open("data", str(directory / "root"))
        self._stack.callback(root.close)
        copies = Root.open("copies", str(directory / "copies"))
        self._stack.callback(copies.close)
        roots = Roots([root, copies], for_copies="copies")
        node = RetainingNode(self, name, database, roots, section, clock=self._clock)
        self.by_id[node.id] = node
        await node.open()
        return node

    def spread(self) -> None:
        """Let all nodes know what all others say at this moment."""
        for node in self.by_id.values():
            for other in self.by_id.values():
                if other is not node:
                    node.hear(other)

    async def when_asked(self, asker: RetainingNode, other: RetainingNode) -> None:
        """Do something before an answer is given; tests put their own here."""

"""A real receiver in this process: its parts, its services, a recovery; and who it talks to."""

from __future__ import annotations

import asyncio
import io
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

import ckptd.daemon.parts as parts_module
from ckptd.config import Config, load_config
from ckptd.core.effects import ConfirmHolding, Effect, EndRecovery
from ckptd.core.events import Event
from ckptd.core.state.invariants import check_invariants
from ckptd.daemon.parts import Parts, open_parts
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.serve.serving_peers import Serving
from ckptd.daemon.services import Service, run_services
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId, Origin, RecoveryId, Version
from ckptd.net.connection.identity import Files, Identity
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.listener import Listener
from ckptd.net.source.server import PeerServer
from ckptd.observe import logs
from ckptd.store.files.keys import SigningKey
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.records.journal import JournaledRecovery
from tests.fuzz.dialogues.truth import NAME, VERSION, Truth
from tests.support.certificates import Certificates, server_context
from tests.support.serving import EPOCH, FileContent

RECEIVER: Final = NodeId("node-r")
HONEST: Final = NodeId("node-a")
LIARS: Final = ("liar-0", "liar-1", "liar-2")

_MAIN: Final = "main"


@dataclass(slots=True)
class World:
    """What all dialogues of a process share, made once.

    Attributes:
        directory: Below it everything is.
        truth: The version.
        certificates: The cluster's.
        trusted: File with the key that signed the version.
        files: Each node's, by its id.
        contexts: What each liar shakes hands with: its own certificate, then strangers'.
        configurations: Of the receiver, by whether it has TLS and wants signatures.
    """

    directory: Path
    truth: Truth
    certificates: Certificates
    trusted: Path
    files: dict[str, Files] = field(default_factory=dict)
    contexts: dict[str, tuple[ssl.SSLContext, ...]] = field(default_factory=dict)
    configurations: dict[tuple[bool, bool], Config] = field(default_factory=dict)

    @classmethod
    def make(cls, directory: Path) -> World:
        key = SigningKey.draw()
        trusted = directory / "trusted"
        trusted.write_text(f"{key.public.text}\n")
        world = cls(directory, Truth.make(key), Certificates(directory), trusted)
        for node in (RECEIVER, HONEST, *map(NodeId, LIARS)):
            world.files[node] = world.certificates.files(node)
        strangers = world.certificates.strangers(RECEIVER)
        others = [server_context(each.files) for each in strangers.values() if each.files]
        for liar in LIARS:
            files = world.files[liar]
            own = server_context((files.certificate, files.key))
            world.contexts[liar] = (own, *others)
        return world


class HonestContent(FileContent):
    """The whole version, as a daemon serves it, signed."""

    def __init__(self, directory: Path, truth: Truth) -> None:
        for path in truth.contents:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, truth.contents)
        assert self.digest == truth.digest
        self._truth = truth

    async def signatures(self, digest: Digest) -> bytes:
        return self._truth.signatures if digest == self.digest else await super().signatures(digest)

    async def attributes(self, digest: Digest) -> bytes:
        return self._truth.attributes if digest == self.digest else await super().attributes(digest)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the receiver is asked to recover, and on what terms.

    Attributes:
        is_tls: It talks TLS.
        is_signed: It takes signed versions alone.
        is_named: Its version is named; otherwise it is the newest.
        has_digest: Its content is named.
    """

    is_tls: bool
    is_signed: bool
    is_named: bool
    has_digest: bool


class Receiver:
    """A node that recovers; made by :func:`receiving`.

    Attributes:
        recovering: Its parts that recover.
        ended: How the recovery ended; ``None``: not yet.
        ended_after_s: When that was, counted from its making.
        accused: The origins of those whom it asked to stand by blocks.
        is_tls: It talks TLS.
        root: Where versions stand.
        log: What it logged.
    """

    def __init__(self, parts: Parts, recovering: Recovering, log: logs.Log) -> None:
        self.parts = parts
        self.recovering = recovering
        self.log = log
        self.is_tls = parts.transport.identity is not None
        self.root = Path(parts.config.roots[_MAIN])
        self.ended: EndedRecovery | None = None
        self.ended_after_s = 0.0
        self._began_s = asyncio.get_running_loop().time()
        self.accused: set[Origin] = set()
        self.over = asyncio.Event()
        recovering.connect(self._note, self._note_end)

    def _note(self, _events: Sequence[Event], effects: Sequence[Effect]) -> None:
        check_invariants(self.recovering.scheduler.inspect())
        peers = self.recovering.scheduler.inspect().peers
        self.accused.update(
            peers[each.source].origin for each in effects if isinstance(each, ConfirmHolding)
        )

    def _note_end(self, _: EndRecovery, ended: EndedRecovery) -> None:
        self.ended = ended
        self.ended_after_s = asyncio.get_running_loop().time() - self._began_s
        self.over.set()

    async def begin(self, wish: Wish, truth: Truth, patience_s: float | None) -> None:
        """Ask for the version."""
        storage = self.parts.storage
        record = JournaledRecovery(
            recovery=RecoveryId("r-0"),
            checkpoint=CheckpointName(NAME),
            version=Version(VERSION) if wish.is_named else None,
            digest=None,
            root=_MAIN,
            target="",
            patience_ns=None if patience_s is None else int(patience_s * SECOND),
            is_paused=False,
            started_at_s=self.parts.wall_clock(),
            digest_prefix=truth.digest[:16] if wish.has_digest else "",
            is_named=wish.is_named,
        )
        await storage.journal.begin(record)
        now = self.recovering.runtime.now()
        recovery = OpenRecovery(record, storage.roots.default(), "", now)
        if record.version is not None:
            recovery.settle_target(
                *self.recovering.own.target_of(record.checkpoint, record.version)
            )
        self.recovering.begin(recovery)


@asynccontextmanager
async def receiving(
    world: World, directory: Path, wish: Wish, peers: Sequence[str]
) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    (directory / "root").mkdir(parents=True)
    log = logs.configure("info", "logfmt", environ={}, stream=io.StringIO())
    config = _configuration(world, directory, wish, peers)
    # It would hold for this process, and so for all dialogues after this one.
    setattr(parts_module, "confine_daemon", lambda *_: None)  # noqa: B010
    async with AsyncExitStack() as stack:
        parts = await open_parts(config, stack, wall_clock=time.time, move_damaged_state=False)
        serving = Serving(parts, stack)
        recovering = Recovering(parts, serving.advertising)
        receiver = Receiver(parts, recovering, log)
        stop = asyncio.Event()

        async def until_drained() -> None:
            await stop.wait()
            recovering.pause()
            serving.refuse_more()
            await serving.drain()
            await recovering.drain()
            recovering.runtime.stop()

        services = [
            Service("attributes", run=recovering.attributes.run),
            Service("orders", run=recovering.runner.run),
            Service("requests of peers", run=serving.run),
            Service("peers", run=recovering.peering.run),
            Service("interest", run=recovering.asking.run),
        ]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_services(services, until_drained=until_drained))
            await asyncio.sleep(0)
            try:
                yield receiver
            finally:
                stop.set()


def _configuration(world: World, directory: Path, wish: Wish, peers: Sequence[str]) -> Config:
    """Return what the receiver is to be; what dialogues have in common is read once."""
    terms = wish.is_tls, wish.is_signed
    if terms not in world.configurations:
        world.configurations[terms] = load_config(_write_configuration(world, wish), {})
    known = world.configurations[terms]
    return msgspec.structs.replace(
        known,
        node=msgspec.structs.replace(known.node, state_dir=f"{directory}/state"),
        roots={_MAIN: f"{directory}/root"},
        discovery=msgspec.structs.replace(known.discovery, peers=tuple(peers)),
    )


def _write_configuration(world: World, wish: Wish) -> str:
    sections = [
        f'[node]\nid = "{RECEIVER}"\nstate_dir = "{world.directory}/state"',
        f'[roots]\n{_MAIN} = "{world.directory}/root"',
        f'[listen]\ndata = "127.0.0.1:0"\nmetrics = ""\ncontrol = "{world.directory}/c/sock"',
        '[recovery]\nbuffers = "32MiB"',
    ]
    if wish.is_tls:
        files = world.files[RECEIVER]
        sections.append(
            f'[tls]\nca = "{files.ca}"\ncertificate = "{files.certificate}"\nkey = "{files.key}"'
        )
    else:
        sections.append("[transport]\ninsecure = true")
    if wish.is_signed:
        sections.append(f'[signatures]\ntrusted = "{world.trusted}"\nrequire = ["*"]')
    path = world.directory / "ckptd.toml"
    path.write_text("\n".join(sections) + "\n")
    return str(path)


class HonestNode:
    """The honest holder, which may come late.

    Attributes:
        address: Where it answers.
    """

    def __init__(self, world: World, directory: Path, *, is_tls: bool) -> None:
        directory.mkdir(parents=True)
        self._content = HonestContent(directory, world.truth)
        files = world.files[HONEST]
        self._identity = Identity(HONEST, files, wall_clock=time.time) if is_tls else None
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))  # that alone refuses connections
        self._listening.settimeout(0)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        """Give the address up, if it was never used."""
        self._listening.close()

    async def serve(self, after_s: float) -> None:
        """Answer until cancelled."""
        with self._listening:
            await asyncio.sleep(after_s)
            self._listening.listen()
            caps = ConnectionCaps()
            server = PeerServer(
                self._content, node=HONEST, epoch=EPOCH, caps=caps, identity=self._identity
            )
            try:
                await Listener.adopt(self._listening, caps).serve(server.serve)
            finally:
                server.close()


def clear(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)

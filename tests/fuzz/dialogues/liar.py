"""A source that misbehaves: at each step it draws what it says, and how.

Draws depend on the seed, the step and how often it came before, not on the order in which
connections are served: so a seed says the same again, as far as it is asked the same.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Final

from tests.fuzz.dialogues.answers import FAULTS, Reply
from tests.fuzz.dialogues.saying import Asked, Saying
from tests.fuzz.dialogues.temper import Temper
from tests.fuzz.dialogues.truth import Truth

_REQUEST: Final = re.compile(r"(\S+) (\S+) HTTP/1\.1\r\n")
_WAIT: Final = re.compile(r"wait=(\d+)")
_SAY_NOTHING: Final = frozenset({"close", "mute", "junk"})


class Liar:
    """One misbehaving source; its task is :meth:`serve`.

    Args:
        node: Its id.
        seed: Of its draws.
        truth: What it knows.
        contexts: What it shakes hands with, its own certificate first; none: plaintext.
        may_forge: It may make up versions that somebody could take for genuine.

    Attributes:
        address: Where it answers.
        said: What it did wrong, in order.
        body_bytes: What it sent of the version, and what it claimed to be that.
    """

    def __init__(
        self,
        node: str,
        seed: str,
        truth: Truth,
        contexts: Sequence[ssl.SSLContext] = (),
        *,
        may_forge: bool,
    ) -> None:
        self.node = node
        self.said: list[str] = []
        self.body_bytes = 0
        self._seed = seed
        self._contexts = contexts
        self._drawn: Counter[str] = Counter()
        self._temper = Temper.draw(Random(f"{seed} temper"))
        self._says = Saying(node, truth, may_forge=may_forge)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.address: str = f"127.0.0.1:{self._listening.getsockname()[1]}"

    async def serve(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    accepted, _ = await loop.sock_accept(self._listening)
                    tasks.create_task(self._serve(accepted))
        finally:
            self._listening.close()

    def _rng(self, step: str) -> Random:
        self._drawn[step] += 1
        return Random(f"{self._seed} {step} {self._drawn[step]}")

    def _note(self, step: str, *what: str) -> None:
        self.said.append(" ".join(filter(None, (f"{step}:", *what))))

    async def _serve(self, accepted: socket.socket) -> None:
        rng = self._rng("connection")
        twist = self._temper.twist_of(rng, "connection")
        if twist:
            self._note("connection", twist)
        context = self._contexts[0] if self._contexts else None
        if twist == "other certificate" and context is not None:
            context = rng.choice(self._contexts[1:])
        if twist == "junk":
            context = None
        reader = asyncio.StreamReader()
        protocol = _Protocol(reader)
        loop = asyncio.get_running_loop()
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            try:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                transport, _ = await loop.connect_accepted_socket(
                    lambda: protocol, accepted, ssl=context
                )
            except BaseException:
                accepted.close()
                raise
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                if twist == "mute":
                    await reader.read()
                elif twist == "junk":
                    writer.write(rng.randbytes(rng.choice((1, 50, 20_000))))
                    await writer.drain()
                while twist not in _SAY_NOTHING and await self._answer(
                    reader, writer, protocol.over
                ):
                    pass
            finally:
                writer.close()
                if rng.random() < 0.2:
                    transport.abort()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event
    ) -> bool:
        """Answer one request; return whether another can follow."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        match = _REQUEST.match(head)
        assert match is not None, f"the receiver asks {head[:200]!r}"
        lines = (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        fields = {name.lower(): text for name, text in lines}
        step = _step_of(match[1], match[2])
        rng = self._rng(step)
        twist, fault = self._temper.twist_of(rng, step), self._temper.fault_of(rng, step)
        if twist or fault:
            self._note(step, twist, fault)
        known, wait = fields.get("if-none-match"), _WAIT.search(fields.get("prefer", ""))
        if step == "holdings" and known and wait:
            is_there = await _pause(rng.choice((0.1, 3.0, float(wait[1]))), over)
            twist = "nothing new" if is_there and not twist else twist
        asked = Asked(match[2].rpartition("/")[2], fields, self._temper.twist[step])
        reply = self._says.answer(step, rng, twist, asked)
        named = {"Ckptd-Node": self.node, "Ckptd-Epoch": str(self._says.epoch), **reply.fields}
        reply = replace(reply, fields=named, is_head_only=match[1] == "HEAD")
        if fault:
            reply = FAULTS[fault](rng, reply)
        return await self._send(reply, over, writer, is_range=step == "range")

    async def _send(
        self,
        reply: Reply,
        over: asyncio.Event,
        writer: asyncio.StreamWriter,
        *,
        is_range: bool,
    ) -> bool:
        head_bytes = len(reply.before) + len(reply.head)
        sent = 0
        for piece, pause_s in reply.pieces():
            if pause_s and not await _pause(pause_s, over):
                return False
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
        if is_range:
            self.body_bytes += max(sent - head_bytes, 0)
        if reply.sent_max is not None and reply.is_reset:
            writer.transport.abort()
        return reply.sent_max is None and reply.fields.get("Connection", "") != "close"


def _step_of(method: str, target: str) -> str:
    if target == "/v1/holdings":
        return "holdings"
    if target.startswith("/v1/manifests/"):
        return "manifest"
    if target.startswith("/v1/signatures/"):
        return "signatures"
    if target.startswith("/v1/attributes/"):
        return "attributes"
    assert target.startswith("/v1/checkpoints/"), f"the receiver asks for {target}"
    return "question" if method == "HEAD" else "range"


class _Protocol(asyncio.StreamReaderProtocol):
    """Says when the receiver is gone, whatever waits to be read.

    Attributes:
        over: Set from then on.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.over = asyncio.Event()
        getattr(self, "_closed").add_done_callback(_note_end)  # noqa: B009 (not in its types)

    def eof_received(self) -> bool:
        self.over.set()
        return bool(super().eof_received())

    def connection_lost(self, error: Exception | None) -> None:
        self.over.set()
        super().connection_lost(error)


def _note_end(closed: asyncio.Future[None]) -> None:
    """Take note of how a connection ended, so that nobody calls that forgotten."""
    if not closed.cancelled():
        closed.exception()


async def _pause(seconds: float, over: asyncio.Event) -> bool:
    """Wait; return whether the receiver is still there."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()
    return not over.is_set()

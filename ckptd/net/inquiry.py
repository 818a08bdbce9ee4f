"""Small requests to peers: their holdings, a manifest, whether they still have a version."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from ckptd.errors import NotFound, ProtocolViolation, shortage_of
from ckptd.limits import (
    CONNECT_TIMEOUT_NS,
    HEAD_BYTES_MAX,
    HEAD_FIELDS_MAX,
    HOLDINGS_BYTES_MAX,
    KIB,
    MANIFEST_BYTES_MAX,
    SECOND,
    SIGNATURE_DOCUMENT_BYTES_MAX,
)
from ckptd.model.addresses import Address
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holdings, HoldingsDelta
from ckptd.model.ids import Digest
from ckptd.model.signatures import DOMAIN, SignableManifest, Signature
from ckptd.model.words import Confirmation, HandshakeFailure, HandshakeSide
from ckptd.net.connection.connector import DiallingConnector
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.connection.identity import Identity
from ckptd.net.content_coding import ZSTD
from ckptd.net.manifest_room import RoomShare
from ckptd.net.small_answers import NOT_HELD, SmallAnswer, TurnedAway
from ckptd.wire.block_lists import format_blocks, parse_blocks
from ckptd.wire.fields import (
    ADDRESSES,
    BLOCKS,
    DELTA,
    NODE,
)
from ckptd.wire.holdings_document import decode_holdings
from ckptd.wire.shown_addresses import ShownAddress, parse_addresses
from ckptd.wire.signature_lines import decode_signatures
from ckptd.wire.targets import (
    AttributesTarget,
    HoldingsTarget,
    ManifestTarget,
    SignaturesTarget,
    Target,
    VersionTarget,
)

_ANSWER_SILENCE_S: Final = 10
"""How long the head of an answer may take, beyond the time for which a peer may hold it back."""
_QUESTIONS_PER_PEER_MAX: Final = 8
_SMALL_BODY_BYTES_MAX: Final = 16 * KIB
"""Decoded on the event loop: about a millisecond, where a thread costs a tenth of one."""
_CODED: Final = {"Accept-Encoding": ZSTD}


@dataclass(frozen=True, slots=True)
class HoldingsAnswer:
    """What a peer says it holds.

    Attributes:
        update: Everything, or what changed since the entity tag that was sent along; ``None`` if
            nothing did.
        etag: To send along next time.
        pause_ns: For how long the peer wants not to be asked: others need the place.
    """

    update: Holdings | HoldingsDelta | None
    etag: str
    pause_ns: int = 0


class Inquirer:
    """Asks peers, over connections it keeps; an asynchronous context manager.

    Attributes:
        violations: Answers that made no sense, since the start.
        is_proving: Certificates prove who answers.

    Args:
        identity: Proves who asks, and checks who answers; ``None``: plaintext, and whoever.
    """

    def __init__(self, identity: Identity | None = None) -> None:
        self.violations = 0
        self.is_proving = identity is not None
        self._identity = identity

    async def __aenter__(self) -> Self:
        # A question may wait for a minute, so every peer needs a place of its own.
        self._connector = DiallingConnector(_QUESTIONS_PER_PEER_MAX)
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            max_field_size=HEAD_BYTES_MAX,
            max_headers=HEAD_FIELDS_MAX,
            max_line_size=HEAD_BYTES_MAX,
            response_class=_response_class(self._identity),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def holdings(
        self, address: Address, *, etag: str | None = None, wait_s: int = 0
    ) -> HoldingsAnswer:
        """Ask what a peer holds.

        Args:
            address: IP address and port.
            etag: The entity tag of the last answer, if there was one.
            wait_s: With ``etag``: how long the peer may wait for a change.

        Raises:
            ProtocolViolation: The answer makes no sense.
            ConnectionError: There is none.
            Shortage: It cannot be asked for lack of descriptors or memory here.
            TimeoutError: It takes too long.
        """
        if etag:  # a connection is up already
            return await self._holdings(address, etag, wait_s)
        if self._identity is not None:
            self._identity.handshakes.check_dial(address)
        try:
            await self._connector.reach(address)
        except TimeoutError:
            raise
        except OSError as error:
            raise _failure(address, error) from error
        try:
            return await self._holdings(address, None, wait_s)
        finally:
            self._connector.drop(address)

    async def _holdings(self, address: Address, etag: str | None, wait_s: int) -> HoldingsAnswer:
        fields = dict(_CODED)
        if etag:
            fields |= {"If-None-Match": etag, "Prefer": f"wait={wait_s}", DELTA: "1"}
        async with self._ask(
            address, HoldingsTarget(), fields=fields, wait_s=wait_s, is_kept=True
        ) as answer:
            response = answer.response
            if response.status == HTTPStatus.NOT_MODIFIED and etag:
                return HoldingsAnswer(None, etag, answer.pause_ns)
            answer.expect_ok()
            body = await answer.read(HOLDINGS_BYTES_MAX, may_be_coded=True)
            if len(body) > _SMALL_BODY_BYTES_MAX:
                update = await asyncio.to_thread(decode_holdings, body)
            else:
                update = decode_holdings(body)
            if isinstance(update, HoldingsDelta) and not etag:
                raise ProtocolViolation("holdings document", "is a delta that was not asked for")
            if self._identity is not None and update.node != response.headers[NODE]:
                claimed = f"is of {update.node}, and came from {response.headers[NODE]}"
                raise ProtocolViolation("holdings document", claimed)
            return HoldingsAnswer(update, response.headers.get("ETag", ""), answer.pause_ns)

    async def manifest(
        self, address: Address, digest: Digest, share: RoomShare | None = None
    ) -> SignableManifest:
        """Get an encoded manifest. That it has the digest is for the caller to check.

        Args:
            address: Host and port.
            digest: Which one.
            share: Of the room for manifests.

        Raises:
            NotFound: The peer does not have it.
            ProtocolViolation: The answer makes no sense.
            ConnectionError: There is none.
            Shortage: It cannot be asked for lack of descriptors or memory here.
            TimeoutError: It takes too long.
        """
        async with self._ask(address, ManifestTarget(digest), fields=_CODED) as answer:
            if not answer.is_held():
                raise NotFound(f"manifest {digest}", "is not held by the peer")
            return SignableManifest(
                await answer.read(MANIFEST_BYTES_MAX, behind=DOMAIN, share=share, may_be_coded=True)
            )

    async def signatures(self, address: Address, digest: Digest) -> tuple[Signature, ...]:
        """Get the signatures of a manifest; none if the peer has none.

        Raises:
            ProtocolViolation: The answer makes no sense.
            ConnectionError: There is none.
            Shortage: It cannot be asked for lack of descriptors or memory here.
            TimeoutError: It takes too long.
        """
        async with self._ask(address, SignaturesTarget(digest)) as answer:
            if not answer.is_held():
                return ()
            return decode_signatures(await answer.read(SIGNATURE_DOCUMENT_BYTES_MAX))

    async def attributes(self, address: Address, digest: Digest, bytes_max: int) -> bytes | None:
        """Get the attribute document of a manifest behind its signatures, not looked at.

        Args:
            address: Host and port.
            digest: Of which manifest.
            bytes_max: No longer answer makes sense.

        Returns:
            ``None`` if the peer has none, or does not know of such documents.

        Raises:
            ProtocolViolation: The answer makes no sense.
            ConnectionError: There is none.
            Shortage: It cannot be asked for lack of descriptors or memory here.
            TimeoutError: It takes too long.
        """
        async with self._ask(address, AttributesTarget(digest), fields=_CODED) as answer:
            return await answer.read(bytes_max, may_be_coded=True) if answer.is_held() else None

    async def confirm(
        self, address: Address, digest: Digest, blocks: BlockSet
    ) -> tuple[Confirmation, BlockSet | None]:
        """Ask whether a peer stands by blocks that were bad when they came.

        Args:
            address: Host and port.
            digest: Of which version.
            blocks: The blocks.

        Returns:
            What it says, whatever fails being no answer; and which of the blocks it says were
            wrong, ``None`` if it names none.

        Raises:
            Shortage: It cannot be asked for lack of descriptors or memory here.
            TurnedAway: It has no place for the question.
        """
        fields = {BLOCKS: format_blocks(blocks)}
        target = VersionTarget(digest)
        try:
            async with self._ask(address, target, method="HEAD", fields=fields) as answer:
                response = answer.response
                if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    answer.expect_ok()
                denied = parse_blocks(response.headers.get(BLOCKS)) & blocks or None
                if response.status in NOT_HELD:
                    return Confirmation.NOT_HELD, denied
                is_held = response.status in {200, 206}
                return Confirmation.HELD if is_held else Confirmation.NO_ANSWER, denied
        except TurnedAway:
            raise
        except (ProtocolViolation, ConnectionError, TimeoutError):
            return Confirmation.NO_ANSWER, None

    async def date(self, address: Address) -> str:
        """Ask a peer what time it is; its ``Date`` field as it came, empty if it has none.

        Raises:
            ProtocolViolation: The answer makes no sense.
            ConnectionError: There is none.
            Shortage: It cannot be asked for lack of descriptors or memory here.
            TimeoutError: It takes too long.
        """
        async with self._ask(address, HoldingsTarget(), method="HEAD") as answer:
            answer.expect_ok()
            return answer.response.headers.get("Date", "")

    async def addresses(self, address: Address) -> tuple[ShownAddress, ...]:
        """Ask a peer where else it answers. That is for people: nothing of it is ever dialled.

        Raises:
            ProtocolViolation: The answer makes no sense.
            ConnectionError: There is none.
            Shortage: It cannot be asked for lack of descriptors or memory here.
            TimeoutError: It takes too long.
        """
        async with self._ask(address, HoldingsTarget(), method="HEAD") as answer:
            answer.expect_ok()
            return parse_addresses(answer.response.headers.get(ADDRESSES))

    @asynccontextmanager
    async def _ask(
        self,
        address: Address,
        target: Target,
        *,
        method: str = "GET",
        fields: Mapping[str, str] | None = None,
        wait_s: int = 0,
        is_kept: bool = False,
    ) -> AsyncIterator[SmallAnswer]:
        """Ask; the connection is kept or ends. A peer keeps a place for each: one is enough."""
        host, port = address
        fields = {**(fields or {}), **({} if is_kept else {"Connection": "close"})}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_NS / SECOND)
        identity = self._identity
        scheme = "http" if identity is None else "https"
        url = URL.build(scheme=scheme, host=host, port=port, path=target.path)
        is_answering = False
        try:
            async with (
                asyncio.timeout(wait_s + _ANSWER_SILENCE_S) as deadline,
                self._session.request(
                    method,
                    url,
                    headers=fields,
                    timeout=timeout,
                    allow_redirects=False,
                    ssl=True if identity is None else identity.client_context,
                ) as response,
            ):
                is_answering = True
                if identity is not None:
                    identity.handshakes.forget(address)
                yield SmallAnswer(response, deadline)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ServerTimeoutError):
                raise
            problem = "answers too slowly" if is_answering else "does not answer"
            raise TimeoutError(f"{host} port {port} {problem}") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            failed = _failed_handshake(error)
            if identity is not None and failed is not None:
                identity.handshakes.note(HandshakeSide.CLIENT, address, failed)
                raise failed from error
            raise _failure(address, error) from error
        except ProtocolViolation:
            self.violations += 1
            raise
        except (aiohttp.ClientError, ValueError) as error:
            self.violations += 1
            raise ProtocolViolation(
                f"answer of {host} port {port}", f"makes no sense: {str(error)[:200]!r}"
            ) from error


def _failure(address: Address, error: OSError | aiohttp.ClientError) -> Exception:
    """Say why there is no connection: for lack of something here, or because of the peer."""
    cause = error if isinstance(error, OSError) else error.__cause__
    reason = cause if isinstance(cause, OSError) else error
    host, port = address
    shortage = shortage_of(reason, f"question to {host} port {port}")
    if shortage is not None:
        return shortage
    why = reason.strerror if isinstance(reason, OSError) and reason.strerror else error
    return ConnectionError(f"{host} port {port}: {why}")


def _failed_handshake(error: aiohttp.ClientError) -> HandshakeFailed | None:
    """Return the failed handshake that an error wraps, if it does."""
    cause = error.__cause__
    return cause if isinstance(cause, HandshakeFailed) else None


def _response_class(identity: Identity | None) -> type[aiohttp.ClientResponse]:
    """Return a class of responses that checks who answers."""
    if identity is None:
        return _OneHeadResponse
    check = identity.check
    heard: WeakSet[ssl.SSLObject] = WeakSet()

    class CheckedResponse(_OneHeadResponse):
        async def start(self, connection: Connection) -> aiohttp.ClientResponse:
            transport = connection.transport
            if transport is None:
                raise HandshakeFailed(HandshakeFailure.DISCONNECTED)
            tls = transport.get_extra_info("ssl_object")
            peer = check(tls)
            try:
                response = await super().start(connection)
            except aiohttp.ClientConnectionError as error:
                if tls in heard:
                    raise
                # With TLS 1.3 the dialler is through before its certificate is looked at.
                detail = "it closed before it answered"
                raise HandshakeFailed(HandshakeFailure.REFUSED, detail) from error
            heard.add(tls)
            claimed = response.headers.get(NODE)
            if claimed != peer.node:
                response.close()
                detail = f"it is {peer.node} and calls itself {str(claimed)[:64]!r}"
                raise HandshakeFailed(HandshakeFailure.WRONG_NODE, detail)
            return response

    return CheckedResponse


class _OneHeadResponse(aiohttp.ClientResponse):
    """Takes the first head for the answer.

    aiohttp skips interim answers (1xx), however many come, and nobody here asks for any: a flood of
    them would keep the event loop busy until the request times out.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        assert protocol is not None
        read = protocol.read

        async def read_final() -> tuple[RawResponseMessage, StreamReader]:
            message, payload = await read()
            if message.code < HTTPStatus.OK:
                raise HttpProcessingError(code=message.code, message="an interim answer")
            return message, payload

        protocol.read = read_final  # type: ignore[method-assign]
        try:
            return await super().start(connection)
        finally:
            del protocol.read

"""What a request is answered: routes, conditions and refusals, without a socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol, assert_never

import msgspec

from ckptd.errors import (
    CkptdError,
    ContentChanged,
    NotFound,
    ProtocolViolation,
    Shortage,
    StorageError,
    Withdrawn,
    shortage_of,
)
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import CheckpointName, Digest, Epoch
from ckptd.model.words import Coder, RefusalReason, UnservedReason
from ckptd.net.coded_bases import Base
from ckptd.net.content_coding import CODED_FIELDS, Lent
from ckptd.net.source.coded_documents import CodedDocuments
from ckptd.net.source.sending import ServedBytes
from ckptd.net.source.waits import Waits
from ckptd.traffic.workload import RETRY_AFTER_S
from ckptd.wire.block_lists import format_blocks, parse_blocks
from ckptd.wire.byte_ranges import ByteRange, format_content_range, parse_range
from ckptd.wire.coding_fields import BASES, CODERS, parse_bases, parse_coders
from ckptd.wire.fields import (
    ADDRESSES,
    BLOCKS,
    DELTA,
    REFUSED,
    accepts_zstd,
    etag_listed,
    parse_revision,
    parse_wait,
    quote_etag,
    revision_etag,
)
from ckptd.wire.heads import RequestHead
from ckptd.wire.targets import (
    AttributesTarget,
    CodedTarget,
    HoldingsTarget,
    ManifestTarget,
    SignaturesTarget,
    VersionTarget,
    parse_target,
)

_log = logging.getLogger(__name__)

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""A year: what a digest names never changes."""


_UNSERVED: Final[Mapping[int, UnservedReason]] = {
    HTTPStatus.NOT_FOUND: UnservedReason.NOT_HELD,
    HTTPStatus.GONE: UnservedReason.CHANGED,
    HTTPStatus.TOO_MANY_REQUESTS: UnservedReason.BUSY,
    HTTPStatus.INTERNAL_SERVER_ERROR: UnservedReason.FAILED,
    HTTPStatus.SERVICE_UNAVAILABLE: UnservedReason.FAILED,
}


class Content(Protocol):
    """What there is to serve; all of it is used on the event loop."""

    @property
    def revision(self) -> int:
        """Grows with every change of the holdings."""

    def holdings_document(self) -> bytes:
        """Return the holdings, encoded."""

    def holdings_delta(self, since: int) -> bytes | None:
        """Return what changed since a revision, encoded; ``None`` if nobody remembers it."""

    async def wait_change(self, revision: int) -> None:
        """Return when the revision is not this one any more."""

    async def addresses(self) -> str:
        """Return where this node answers, as in a ``Ckptd-Addresses`` field; for people."""

    async def manifest(self, digest: Digest) -> bytes | memoryview:
        """Return an encoded manifest; it counts as being sent as long as this object is kept.

        Raises:
            NotFound: It is not here.
            Shortage: Too many others are being sent.
        """

    async def coded_manifest(self, digest: Digest) -> Lent:
        """Return the same, in zstd if that saves enough.

        Raises:
            NotFound: It is not here.
            Shortage: Too many others are being sent.
        """

    async def signatures(self, digest: Digest) -> bytes:
        """Return the document of a manifest's signatures.

        Raises:
            NotFound: It has none here.
        """

    async def attributes(self, digest: Digest) -> bytes | memoryview:
        """Return a manifest's attribute document behind its signatures, as the manifest is.

        Raises:
            NotFound: It has none here.
            Shortage: Too many others are being sent.
        """

    async def coded_attributes(self, digest: Digest) -> Lent:
        """Return the same, in zstd if that saves enough.

        Raises:
            NotFound: It has none here.
            Shortage: Too many others are being sent.
        """

    async def open_version(self, digest: Digest) -> ServedBytes:
        """Return the bytes of a version.

        Raises:
            NotFound: Nothing of it is here.
            ContentChanged: Its files are not what was published.
        """

    async def open_base(self, checkpoint: CheckpointName, digest: Digest) -> Base | None:
        """Return a version of a checkpoint that others are coded against, if it is held here."""

    async def stand_by(self, digest: Digest, blocks: BlockSet, asker: str) -> StoodBy:
        """Look again at blocks of a version that were bad when a receiver got them.

        Args:
            digest: Which version; something of it is here.
            blocks: The blocks, as the receiver says; perhaps some that do not exist.
            asker: The receiver: its node id if that was proved, else its address.

        Raises:
            NotFound: Nothing of the version is here.
            ContentChanged: Its files are not what was published.
            StorageError: Too much is asked to look now.
        """

    def sending(self, body: VersionBody, receiver: str) -> None:
        """Take note that bytes of a version are being sent.

        Args:
            body: Which bytes.
            receiver: To whom: as ``asker``.
        """

    def content_changed(self, digest: Digest) -> None:
        """Take note that a file of a version is not what was published."""

    def bytes_sent(self, criticality_label: str, size_bytes: int) -> None:
        """Count bytes of a version that were sent to a peer."""


class StoodBy(NamedTuple):
    """What a source finds out about blocks that were bad when a receiver got them.

    Attributes:
        wrong: Those that are not here, or not what was published. Their units were taken off
            offer.
        is_held: All of them are here and right all the same, from another copy.
    """

    wrong: BlockSet
    is_held: bool


@dataclass(frozen=True, slots=True)
class VersionBody:
    """A body that lies in the files of a version."""

    digest: Digest
    version: ServedBytes
    byte_range: ByteRange


@dataclass(frozen=True, slots=True)
class CodedBody(VersionBody):
    """Blocks of a version, to be coded while they are sent.

    Attributes:
        blocks: Which blocks.
        coders: What the receiver can decode.
        bases: What it offers as bases, in its order; ``None``: that is not held here.
    """

    blocks: BlockRun
    coders: frozenset[Coder]
    bases: tuple[Base | None, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response before it is bytes.

    Attributes:
        status: The status code.
        fields: Header fields, without those that every response has.
        body: What follows the head.
        length_bytes: The ``Content-Length``, if it is not that of the body.
        code: Of the error that it is; empty if it is none.
    """

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview | VersionBody = b""
    length_bytes: int | None = None
    code: str = ""

    @property
    def content_length(self) -> int:
        """Length of the body in bytes."""
        if self.length_bytes is not None:
            return self.length_bytes
        if isinstance(self.body, VersionBody):
            return self.body.byte_range.size_bytes
        return len(self.body)


class Answers:
    """Finds the answer to a request.

    Args:
        content: What there is to serve.
        epoch: Which life of this node; part of the holdings' entity tag.
        waits: Cuts short the wait for a change of the holdings.
    """

    def __init__(self, content: Content, epoch: Epoch, waits: Waits) -> None:
        self._content = content
        self._epoch = epoch
        self._waits = waits
        self._documents = CodedDocuments()

    async def find(
        self,
        request: RequestHead,
        asker: str = "",
        note_wait: Callable[[asyncio.Timeout], None] = lambda _: None,
    ) -> Answer:
        """Return the answer to a request; whatever fails becomes a refusal.

        Args:
            request: What was asked.
            asker: By whom: its node id if that was proved, else its address.
            note_wait: Called with what ends the wait of an answer that is held back.
        """
        try:
            return await self._find(request, asker, note_wait)
        except CkptdError as error:
            return refuse(error)
        except Exception as error:  # noqa: BLE001 -- edge: request → response
            if (shortage := shortage_of(error)) is not None:
                return refuse(shortage)
            _log.exception("no answer to %.160r", request.target)
            return refuse(CkptdError("request", "failed"))

    async def _find(
        self, request: RequestHead, asker: str, note_wait: Callable[[asyncio.Timeout], None]
    ) -> Answer:
        target = parse_target(request.target)
        match target:
            case HoldingsTarget():
                return await self._holdings(request, note_wait)
            case ManifestTarget():
                return await self._manifest(request, target.digest)
            case SignaturesTarget():
                return await self._signatures(target.digest)
            case AttributesTarget():
                return await self._attributes(request, target.digest)
            case VersionTarget():
                return await self._version(request, target.digest, asker)
            case CodedTarget():
                return await self._coded(request, target)
            case _:
                assert_never(target)

    async def _holdings(
        self, request: RequestHead, note_wait: Callable[[asyncio.Timeout], None]
    ) -> Answer:
        content, epoch = self._content, self._epoch
        known = request.fields.get("if-none-match")
        wait_s = parse_wait(request.fields.get("prefer"))
        revision = content.revision
        if wait_s and etag_listed(known, revision_etag(epoch, revision)):
            try:
                async with self._waits.wait(wait_s) as wait:
                    note_wait(wait)
                    await content.wait_change(revision)
            except TimeoutError:
                pass  # nothing changed: the answer is 304
        fields = {"ETag": revision_etag(epoch, content.revision), "Cache-Control": "no-cache"}
        if etag_listed(known, fields["ETag"]):
            return Answer(304, fields)
        fields["Content-Type"] = "application/json"
        # One moment: what is answered fits its entity tag, whatever changes meanwhile.
        revision = content.revision
        is_delta_wanted = request.fields.get(DELTA.lower()) == "1"
        since = parse_revision(known, epoch) if is_delta_wanted else None
        delta = None if since is None else content.holdings_delta(since)
        if delta is not None:
            # Nobody else can make use of it.
            fields["Cache-Control"] = "no-store"
            return await self._document(request, fields, (revision, since), delta)
        if request.method == "HEAD" and (shown := await content.addresses()):
            fields[ADDRESSES] = shown  # for people who look for what is wrong
        return await self._document(request, fields, (revision, None), content.holdings_document())

    async def _document(
        self,
        request: RequestHead,
        fields: dict[str, str],
        revisions: tuple[int, int | None],
        document: bytes,
    ) -> Answer:
        """Answer with a document of the holdings, in zstd if the receiver takes that."""
        if request.method == "GET" and _takes_zstd(request):
            coded = await self._documents.get(*revisions, document)
            if coded is not None:
                return Answer(200, {**fields, **CODED_FIELDS}, coded)
        return Answer(200, fields, document)

    async def _manifest(self, request: RequestHead, digest: Digest) -> Answer:
        if _takes_zstd(request):
            manifest, is_coded = await self._content.coded_manifest(digest)
        else:
            manifest, is_coded = await self._content.manifest(digest), False
        fields = {"ETag": quote_etag(digest), "Cache-Control": _IMMUTABLE}
        if etag_listed(request.fields.get("if-none-match"), fields["ETag"]):
            return Answer(304, fields)
        fields["Content-Type"] = "application/octet-stream"
        return Answer(200, fields | CODED_FIELDS if is_coded else fields, manifest)

    async def _signatures(self, digest: Digest) -> Answer:
        fields = {"Content-Type": "text/plain", "Cache-Control": "no-cache"}  # more may come
        return Answer(200, fields, await self._content.signatures(digest))

    async def _attributes(self, request: RequestHead, digest: Digest) -> Answer:
        if _takes_zstd(request):
            document, is_coded = await self._content.coded_attributes(digest)
        else:
            document, is_coded = await self._content.attributes(digest), False
        # Publishing again can change them.
        fields = {"Content-Type": "application/octet-stream", "Cache-Control": "no-cache"}
        return Answer(200, fields | CODED_FIELDS if is_coded else fields, document)

    async def _version(self, request: RequestHead, digest: Digest, asker: str) -> Answer:
        version = await self._content.open_version(digest)
        size_bytes = version.size_bytes
        fields = {"ETag": quote_etag(digest), "Accept-Ranges": "bytes"}
        if etag_listed(request.fields.get("if-none-match"), fields["ETag"]):
            return Answer(304, fields)
        fields["Content-Type"] = "application/octet-stream"
        if request.method == "HEAD":
            return await self._stand_by(request, digest, asker, fields, size_bytes)
        asked = None
        if request.fields.get("if-range", fields["ETag"]) == fields["ETag"]:
            try:
                asked = parse_range(request.fields.get("range"), size_bytes)
            except ProtocolViolation as violation:
                if violation.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise
                outside = {"Content-Range": format_content_range(None, size_bytes)}
                return refuse(violation, outside)
        if size_bytes == 0:
            return Answer(200, fields)
        served = asked or ByteRange(0, size_bytes)
        if not version.holds(*served):
            return refuse(NotFound("range", "is not held"))
        if asked is not None:
            fields["Content-Range"] = format_content_range(asked, size_bytes)
        return Answer(206 if asked else 200, fields, VersionBody(digest, version, served))

    async def _coded(self, request: RequestHead, target: CodedTarget) -> Answer:
        if request.method != "GET" or request.version != "1.1":
            raise ProtocolViolation("coded blocks", "are for GET over HTTP/1.1 alone", status=405)
        coders = parse_coders(request.fields.get(CODERS.lower()))
        digests = parse_bases(request.fields.get(BASES.lower()))
        version = await self._content.open_version(target.digest)
        space, blocks = version.space, target.blocks
        if blocks.end > space.block_count:
            raise ProtocolViolation("blocks", "are more than the version has", status=416)
        byte_range = ByteRange(*map(space.block_start, blocks))
        if not version.holds(*byte_range):
            return refuse(NotFound("range", "is not held"))
        checkpoint = CheckpointName(space.manifest.checkpoint)
        bases = tuple(
            [
                await self._content.open_base(checkpoint, digest)
                for digest in digests
                if any(coder.needs_base for coder in coders)
            ]
        )
        fields = {
            "Content-Type": "application/octet-stream",
            "Cache-Control": "no-store",
            "Transfer-Encoding": "chunked",
        }
        body = CodedBody(target.digest, version, byte_range, blocks, coders, bases)
        return Answer(200, fields, body)

    async def _stand_by(
        self,
        request: RequestHead,
        digest: Digest,
        asker: str,
        fields: dict[str, str],
        size_bytes: int,
    ) -> Answer:
        """Say whether this node stands by its holding, and by blocks that were bad.

        Of the version, whichever blocks of it are here. Ranges are defined for GET alone
        (RFC 9110 section 14.2).
        """
        asked = parse_blocks(request.fields.get(BLOCKS.lower()))
        if asked:
            standing = await self._content.stand_by(digest, asked, asker)
            if standing.wrong:
                fields[BLOCKS] = format_blocks(standing.wrong)
            if not standing.is_held:
                return refuse(ContentChanged("block", "is not here"), {BLOCKS: fields[BLOCKS]})
        return Answer(200, fields, length_bytes=size_bytes)


def _takes_zstd(request: RequestHead) -> bool:
    return accepts_zstd(request.fields.get("accept-encoding"))


def refuse(error: CkptdError, fields: Mapping[str, str] | None = None) -> Answer:
    """Return the answer to a request that failed.

    What the peer sent is explained to it. What went wrong here is named, but not in the
    error's own words: they may hold paths of this node.
    """
    match error:
        case ProtocolViolation():
            status, message = error.status, str(error)
        case Withdrawn():
            status, message = 410, "this node does not offer it any more"
        case NotFound():
            status, message = 404, "this node does not hold it"
        case ContentChanged():
            status, message = 410, "its files are not what was published"
        case Shortage():
            status, message = 503, "this node has no descriptor, memory or thread left for it"
        case StorageError():
            status, message = 503, "the disk of this node refused"
        case _:
            status, message = 500, "this node failed"
    allow = {"Allow": "GET, HEAD"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
    return _refusal(status, error.code, message, {**allow, **(fields or {})})


def unserved_reason(request: RequestHead, answer: Answer) -> UnservedReason | None:
    """Return why an answer does not give what was asked for; ``None`` if it does.

    What cannot be asked for is the peer's mistake; many versions have no signatures or attributes.
    """
    try:
        target = parse_target(request.target)
    except ProtocolViolation:
        return None
    if (
        isinstance(target, SignaturesTarget | AttributesTarget)
        and answer.status == HTTPStatus.NOT_FOUND
    ):
        return None
    if answer.code == Withdrawn.code:
        return UnservedReason.WITHDRAWN
    return _UNSERVED.get(answer.status)


def turn_away() -> Answer:
    """Return the answer to a request for bytes while this node has enough to send."""
    message = "this node has as much to send as it can for now"
    return _refusal(
        HTTPStatus.TOO_MANY_REQUESTS, "busy", message, {"Retry-After": str(RETRY_AFTER_S)}
    )


def no_place(reason: RefusalReason) -> Answer:
    """Return the answer to whatever is asked on a connection for which there is no place."""
    fields = {"Retry-After": str(RETRY_AFTER_S), REFUSED: reason.value}
    message = f"this node {reason.cap}"
    return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "no_place", message, fields)


def _refusal(status: int, code: str, message: str, fields: Mapping[str, str]) -> Answer:
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    return Answer(status, {"Content-Type": "application/json", **fields}, body, code=code)

"""What this node serves, as the server wants it: the catalog and what recoveries have so far."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from ckptd.daemon.serve.advertising import Advertising
from ckptd.daemon.serve.block_questions import BlockQuestions
from ckptd.daemon.serve.lent_manifests import LentManifests
from ckptd.daemon.serve.sent_blocks import SentBlocks
from ckptd.errors import CkptdError, DamagedState, NotFound
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest
from ckptd.net.content_coding import Lent
from ckptd.net.source.answers import StoodBy, VersionBody
from ckptd.net.source.sending import ServedBytes
from ckptd.observe.metrics import MetricRow, counters
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.published.base_blocks import BaseBlocks
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.serving import ServedVersion
from ckptd.store.records.attribute_records import AttributeShelf
from ckptd.store.records.journal import Journal
from ckptd.store.records.signature_records import SignatureShelf
from ckptd.store.staging.staged_version import StagedVersion
from ckptd.wire.fields import CLASSES

_COPIES_MAX: Final = 8
"""So many places of a version are looked at for a right copy of a block."""


class ServedContent:
    """Everything behind the peer protocol.

    Attributes:
        sent_bytes: Body bytes sent, by the class that receivers asked for.
        asked_for: Called with each version that a peer asks for something of.
        described: Called with each version of which a peer gets the manifest.
        sent: Called with each version of which a peer gets blocks, with the peer and how many.
        look_again: Called with a version of which a file was not what was hashed.
        show_addresses: Returns where this node answers, for people at peers.
        questions: What receivers asked about bad blocks, and what came of it.
    """

    def __init__(
        self,
        advertising: Advertising,
        catalog: Catalog,
        journal: Journal,
        shelf: SignatureShelf,
        attributes: AttributeShelf,
    ) -> None:
        self._advertising = advertising
        self._catalog = catalog
        self._journal = journal
        self._shelf = shelf
        self._lent_attributes = LentManifests(attributes.answer)  # bounded in the same way
        self.sent_bytes: Counter[str] = Counter()
        self.asked_for: Callable[[Digest], None] = lambda digest: None
        self.described: Callable[[Digest], None] = lambda digest: None
        self.sent: Callable[[Digest, str, int], None] = lambda digest, receiver, blocks: None
        self.look_again: Callable[[Digest], None] = lambda digest: None
        self.show_addresses: Callable[[], Awaitable[str]] | None = None
        self.questions = BlockQuestions(time.monotonic)
        self._sent = SentBlocks()
        self._lent = LentManifests(self._load_manifest)

    @property
    def revision(self) -> int:
        """Grows with every change of what this node holds."""
        return self._advertising.holdings.revision

    def holdings_document(self) -> bytes:
        """Return the document of what this node holds."""
        return self._advertising.document()

    def holdings_delta(self, since: int) -> bytes | None:
        """Return the document of what changed since a revision, if that is remembered."""
        return self._advertising.delta(since)

    async def wait_change(self, revision: int) -> None:
        """Return when this node holds something else than at a revision."""
        await self._advertising.wait_change(revision)

    async def addresses(self) -> str:
        """Return where this node answers, as in a ``Ckptd-Addresses`` field."""
        return "" if self.show_addresses is None else await self.show_addresses()

    async def manifest(self, digest: Digest) -> memoryview:
        """Return an encoded manifest, to be let go of when it is sent.

        Raises:
            NotFound: It is not here.
            DamagedState: What the database has is not that manifest.
            Shortage: Too many others are being sent.
        """
        self.asked_for(digest)
        self.described(digest)
        return await self._lent.get(digest)

    async def coded_manifest(self, digest: Digest) -> Lent:
        """Return the same, in zstd if that saves enough.

        Raises:
            NotFound: It is not here.
            DamagedState: What the database has is not that manifest.
            Shortage: Too many others are being sent.
        """
        self.asked_for(digest)
        self.described(digest)
        return await self._lent.coded(digest)

    async def _load_manifest(self, digest: Digest) -> bytes | memoryview:
        incoming = self._advertising.find(digest)
        if incoming is None:
            return await self._catalog.manifest_bytes(digest)
        encoded = await self._journal.member(incoming.recovery, digest)
        if encoded is None:
            encoded = await self._journal.manifest(incoming.recovery)
        if encoded is None:
            raise NotFound(f"manifest {digest}", "went with its recovery")
        if await asyncio.to_thread(hexdigest_of, encoded) != digest:
            raise DamagedState(f"manifest {digest} in the journal", "is damaged")
        return encoded

    async def signatures(self, digest: Digest) -> bytes:
        """Return the document of a manifest's signatures.

        Raises:
            NotFound: It has none here.
            DamagedState: What the database has is no signature.
        """
        return await self._shelf.document(digest)

    async def attributes(self, digest: Digest) -> memoryview:
        """Return the attribute document of a manifest behind its signatures, as the manifest is.

        Raises:
            NotFound: It has none here.
            DamagedState: What the database has is no such answer.
            Shortage: Too many others are being sent.
        """
        return await self._lent_attributes.get(digest)

    async def coded_attributes(self, digest: Digest) -> Lent:
        """Return the same, in zstd if that saves enough.

        Raises:
            NotFound: It has none here.
            DamagedState: What the database has is no such answer.
            Shortage: Too many others are being sent.
        """
        return await self._lent_attributes.coded(digest)

    async def open_version(self, digest: Digest) -> ServedBytes:
        """Return the bytes of a version, from where there are most of them.

        Raises:
            NotFound: It is not here.
            ContentChanged: It is stale.
        """
        return await self._open(digest)

    async def open_base(self, checkpoint: CheckpointName, digest: Digest) -> BaseBlocks | None:
        """Return a version of a checkpoint that others are coded against, if it is held here."""
        try:
            version = await self._catalog.open_version(digest)
        except CkptdError:
            return None
        is_of_it = version.space.manifest.checkpoint == checkpoint
        return BaseBlocks(version) if is_of_it else None

    async def stand_by(self, digest: Digest, blocks: BlockSet, asker: str) -> StoodBy:
        """Look again at blocks that were bad when a receiver got them.

        Only blocks that were sent to it are read; of the others it is said whether they are here.

        Args:
            digest: Of which version.
            blocks: Which blocks.
            asker: The receiver.

        Raises:
            NotFound: Nothing of the version is here.
            ContentChanged: It is stale.
            StorageError: Too many ask, or the disk refused.
        """
        version = await self._open(digest)
        blocks &= BlockSet.full(version.space.block_count)
        lacking = BlockSet((block, block + 1) for block in blocks if not _has(version, block))
        doubted = self._sent.among(asker, digest, blocks - lacking)
        wrong = await self.questions.wrong_among(digest, version, doubted)
        if wrong:
            self._withdraw(version, wrong)
        is_held = not lacking and (not wrong or await self._has_another(digest, wrong))
        return StoodBy(lacking | wrong, is_held)

    def _withdraw(self, version: ServedVersion | StagedVersion, wrong: BlockSet) -> None:
        """Take blocks off offer that are wrong; the catalog knows its own from who read them."""
        if isinstance(version, StagedVersion):
            version.withhold(wrong)
            self._advertising.note_growth()

    async def _has_another(self, digest: Digest, blocks: BlockSet) -> bool:
        """Return whether blocks that were wrong are here once more, and right."""
        for _ in range(_COPIES_MAX):
            try:
                version = await self._open(digest)
            except CkptdError:
                return False
            if not all(_has(version, block) for block in blocks):
                return False
            if await self.questions.is_right_elsewhere(digest, version, blocks):
                return True
            self._withdraw(version, blocks)
        return False

    def sending(self, body: VersionBody, receiver: str) -> None:
        """Remember what is sent to whom."""
        version = body.version
        if isinstance(version, ServedVersion | StagedVersion):
            start, end = body.byte_range
            run = (version.space.block_at(start), version.space.block_at(end - 1) + 1)
            self._sent.note(receiver, body.digest, BlockSet.of_run(run))
            self.sent(body.digest, receiver, run[1] - run[0])

    async def _open(self, digest: Digest) -> ServedVersion | StagedVersion:
        self.asked_for(digest)
        incoming = self._advertising.find(digest)
        if incoming is not None:
            return incoming.staged
        return await self._catalog.open_version(digest)

    def content_changed(self, digest: Digest) -> None:
        """Have a version looked at whose files changed while they were served."""
        self.look_again(digest)

    def bytes_sent(self, criticality_label: str, size_bytes: int) -> None:
        """Count what was sent."""
        self.sent_bytes[criticality_label] += size_bytes


def _has(version: ServedVersion | StagedVersion, block: int) -> bool:
    start = version.space.block_start(block)
    return version.holds(start, start + version.space.block_size(block))


CONTENT_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    counters(
        "sent_bytes",
        "Body bytes sent.",
        ("criticality",),
        lambda sent_bytes: sent_bytes,
        CLASSES,
    ),
)

"""What this node serves, as the server wants it: the catalog and what recoveries have so far."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ckptd.daemon.serve.advertising import Advertising
from ckptd.errors import DamagedState, NotFound
from ckptd.model.ids import Digest
from ckptd.net.source.sending import ServedBytes
from ckptd.observe.metrics import MetricRow, counters
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.journal import Journal
from ckptd.store.records.signature_records import SignatureShelf
from ckptd.wire.fields import CLASSES


class ServedContent:
    """Everything behind the peer protocol.

    Attributes:
        sent_bytes: Body bytes sent, by the class that receivers asked for.
        look_again: Called with a version of which a file was not what was hashed.
    """

    def __init__(
        self, advertising: Advertising, catalog: Catalog, journal: Journal, shelf: SignatureShelf
    ) -> None:
        self._advertising = advertising
        self._catalog = catalog
        self._journal = journal
        self._shelf = shelf
        self.sent_bytes: Counter[str] = Counter()
        self.look_again: Callable[[Digest], None] = lambda digest: None

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

    async def manifest(self, digest: Digest) -> bytes:
        """Return an encoded manifest.

        Raises:
            NotFound: It is not here.
            DamagedState: What the database has is not that manifest.
        """
        incoming = self._advertising.find(digest)
        if incoming is None:
            return await self._catalog.manifest_bytes(digest)
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

    async def open_version(self, digest: Digest) -> ServedBytes:
        """Return the bytes of a version, from where there are most of them.

        Raises:
            NotFound: It is not here.
            ContentChanged: It is stale.
        """
        incoming = self._advertising.find(digest)
        return await self._catalog.open_version(digest) if incoming is None else incoming.staged

    def content_changed(self, digest: Digest) -> None:
        """Have a version looked at whose files changed while they were served."""
        self.look_again(digest)

    def bytes_sent(self, criticality_label: str, size_bytes: int) -> None:
        """Count what was sent."""
        self.sent_bytes[criticality_label] += size_bytes


CONTENT_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    counters(
        "sent_bytes",
        "Body bytes sent.",
        ("criticality",),
        lambda sent_bytes: sent_bytes,
        CLASSES,
    ),
)

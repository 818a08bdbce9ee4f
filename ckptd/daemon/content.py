"""What this node serves: the catalog, as the server wants it."""

from __future__ import annotations

from collections import Counter

from ckptd.model.holdings import Holdings
from ckptd.model.ids import Digest, Epoch, NodeId
from ckptd.net.sending import ServedBytes
from ckptd.observe.logs import get_logger
from ckptd.store.catalog import Catalog
from ckptd.wire.documents import encode_holdings

_log = get_logger()


class ServedContent:
    """The catalog behind the peer protocol.

    Attributes:
        sent_bytes: Body bytes sent, by the class that receivers asked for.
    """

    def __init__(self, node: NodeId, epoch: Epoch, catalog: Catalog) -> None:
        self._node = node
        self._epoch = epoch
        self._catalog = catalog
        self._document: tuple[int, bytes] = (0, b"")
        self.sent_bytes: Counter[str] = Counter()

    def holdings_document(self) -> tuple[int, bytes]:
        """Return the revision and the document of what this node holds."""
        revision = self._catalog.revision
        if self._document[0] != revision:
            holdings = Holdings(self._node, self._epoch, revision, self._catalog.holdings())
            self._document = (revision, encode_holdings(holdings))
        return self._document

    async def wait_change(self, revision: int) -> None:
        """Return when this node holds something else than at a revision."""
        await self._catalog.wait_change(revision)

    async def manifest(self, digest: Digest) -> bytes:
        """Return an encoded manifest.

        Raises:
            NotFound: It is not here.
        """
        return await self._catalog.manifest_bytes(digest)

    async def open_version(self, digest: Digest) -> ServedBytes:
        """Return the bytes of a version.

        Raises:
            NotFound: It is not here.
            ContentChanged: It is stale.
        """
        return await self._catalog.open_version(digest)

    def content_changed(self, digest: Digest) -> None:
        """Stop advertising a version whose files changed."""
        _log.warning("version.stale", digest=digest)
        self._catalog.mark_stale(digest, "a file changed while it was served")

    def bytes_sent(self, criticality_label: str, size_bytes: int) -> None:
        """Count what was sent."""
        self.sent_bytes[criticality_label] += size_bytes

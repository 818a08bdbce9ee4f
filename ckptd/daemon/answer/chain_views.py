"""Says of delta versions what they stand on, for answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ckptd.chains.chain import Series
from ckptd.chains.chain_links import ChainLink
from ckptd.control.messages.chains import ChainView
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.held_chains import series_by_name, series_of


class _End(NamedTuple):
    """Where a chain ends: after so many deltas, at a full version or at one that is not known."""

    deltas: int
    full: Version | None
    lacking: Version | None


class ChainViews:
    """What stands here, at one moment.

    Args:
        catalog: What stands here.
        checkpoint: The only one that is asked about; ``None``: any.
    """

    def __init__(self, catalog: Catalog, checkpoint: CheckpointName | None = None) -> None:
        self._catalog = catalog
        self._series: Mapping[CheckpointName, Series] = (
            series_by_name(catalog, catalog.versions())
            if checkpoint is None
            else {checkpoint: series_of(catalog, checkpoint)}
        )
        self._ends: dict[Digest, _End] = {}

    def held(self, checkpoint: CheckpointName, digest: Digest) -> ChainView | None:
        """Return what a version stands on; ``None`` if it is no delta, or unseen."""
        link = self._catalog.link(digest)
        return None if link is None else self.of(checkpoint, link)

    def of(self, checkpoint: CheckpointName, link: ChainLink) -> ChainView:
        """Return what a version stands on that may be here or not.

        Args:
            checkpoint: What it is of.
            link: What its manifest says.
        """
        end = self._end(self._series.get(checkpoint) or Series(()), link)
        return ChainView(
            base=link.base,
            base_digest=link.base_digest,
            encoding=link.encoding,
            deltas=end.deltas,
            full=end.full,
            lacking=end.lacking,
        )

    def _end(self, series: Series, link: ChainLink) -> _End:
        """Follow a chain to its end, or to where somebody followed it before."""
        passed: list[Digest] = []
        base = series.base(link)
        while base is not None and base.link is not None and base.digest not in self._ends:
            passed.append(base.digest)
            link = base.link
            base = series.base(link)
        if base is None:
            end = _End(0, None, link.base)
        else:
            end = self._ends.get(base.digest) or _End(0, base.version, None)
        for digest in reversed(passed):
            end = self._ends[digest] = end._replace(deltas=end.deltas + 1)
        return end._replace(deltas=end.deltas + 1)

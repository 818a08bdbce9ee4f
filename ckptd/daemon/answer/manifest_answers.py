"""Says what a version consists of, wherever it is."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

from msgspec import structs

from ckptd.chains.chain_links import link_of, made_of
from ckptd.control.messages.manifests import (
    UNITS_IN_ANSWER_MAX,
    ManifestRequest,
    ManifestView,
    UnitRow,
)
from ckptd.daemon.answer.chain_views import ChainViews
from ckptd.daemon.answer.found_manifests import FoundManifests
from ckptd.daemon.answer.said_rows import fold_rows, phase_rows, unit_row
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import Conflict, Missing, NotFound, UsageError
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Version,
    parse_checkpoint_name,
    parse_digest_prefix,
    parse_version,
)
from ckptd.model.patterns import compile_pattern
from ckptd.model.policy.folding import summary_of_manifest
from ckptd.model.shards import is_shard_of
from ckptd.model.space import AddressSpace
from ckptd.model.unit_choice import Choice

_SHOWN_MAX: Final = 5
"""Digests, or shards, that an error names."""
_DIGITS_SHOWN: Final = 12


class ManifestAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about manifests; changes nothing.

    Args:
        recovering: Knows what peers have, and fetches manifests.
        storage: What is here.
    """

    def __init__(self, recovering: Recovering, storage: Storage) -> None:
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._peering = recovering.peering
        self._catalog = storage.catalog
        self._found = FoundManifests(recovering.manifests, storage.catalog)

    async def manifest(self, request: ManifestRequest) -> ManifestView:
        """Say what a version consists of."""
        checkpoint = parse_checkpoint_name(request.checkpoint)
        version = None if request.version is None else parse_version(request.version)
        prefix = parse_digest_prefix(request.digest) if request.digest else ""
        Choice.parse(request.units, None)
        if request.start < 0:
            raise UsageError(f"start {request.start}", "is below 0")
        version, digest = self._chosen(checkpoint, version, prefix)
        holders = self._scheduler.holders(digest, now=self._now())
        space, problem = await self._found.find((checkpoint, version, digest), holders)
        if space is None:
            raise NotFound(f"manifest of {checkpoint}@{version}", f"cannot be had: {problem}")
        is_here = self._catalog.held(digest) is not None
        view = await asyncio.to_thread(_view, space, request, digest, is_here=is_here)
        annotations = space.manifest.annotations
        link = link_of(annotations, version)
        chain = link and ChainViews(self._catalog, checkpoint).of(checkpoint, link)
        return structs.replace(view, chain=chain, made_of=made_of(annotations) or "")

    def _chosen(
        self, checkpoint: CheckpointName, wanted: Version | None, prefix: str
    ) -> tuple[Version, Digest]:
        """Return which version is meant, and which content.

        Raises:
            NotFound: There is none such.
            Conflict: It may be several.
        """
        known: dict[Version, set[Digest]] = defaultdict(set)
        holdings = [held.holding for held in self._catalog.versions()]
        for said in self._peering.said().values():
            holdings.extend(said.holdings)
        for holding in holdings:
            if holding.checkpoint == checkpoint:
                known[holding.version].add(holding.digest)
        if wanted is None and prefix:
            known = {
                version: digests
                for version, digests in known.items()
                if any(each.startswith(prefix) for each in digests)
            } or known
        version = max(known, default=None) if wanted is None else wanted
        if version is None or not known.get(version):
            raise self._not_found(checkpoint, wanted)
        digests = sorted(known[version])
        found = [each for each in digests if each.startswith(prefix)]
        some = ", ".join(each[:_DIGITS_SHOWN] for each in (found or digests)[:_SHOWN_MAX])
        if not found:
            raise Missing(f"content {prefix[:_DIGITS_SHOWN]}", f"is not known; there are {some}")
        if len(found) > 1:
            raise Conflict(
                f"{checkpoint}@{version}",
                f"is {len(found)} contents: {some}",
                "Say which one: --digest PREFIX.",
            )
        return version, found[0]

    def _not_found(self, checkpoint: CheckpointName, wanted: Version | None) -> NotFound:
        names = {held.holding.checkpoint for held in self._catalog.versions()}
        shards = sorted(
            name for name in names.union(self._peering.names()) if is_shard_of(name, checkpoint)
        )
        subject = f"checkpoint {checkpoint}" if wanted is None else f"{checkpoint}@{wanted}"
        if shards:
            return NotFound(
                subject, "is a job, and each of its shards has a manifest", f"Ask for {shards[0]}."
            )
        return Missing(subject, "is not here or at a peer", "See 'ckptctl checkpoints'.")


def _view(
    space: AddressSpace, request: ManifestRequest, digest: Digest, *, is_here: bool
) -> ManifestView:
    """Show a manifest. Cost: O(units times patterns)."""
    manifest = space.manifest
    summary = summary_of_manifest(space)
    rows, count = _listed(space, request)
    end = request.start + len(rows)
    return ManifestView(
        checkpoint=manifest.checkpoint,
        version=manifest.version,
        digest=digest,
        is_here=is_here,
        bytes=sum(phase.size_bytes for phase in summary.phases),
        units=len(manifest.units),
        phases=phase_rows(summary),
        folds=fold_rows(summary),
        left_out=summary.left_out,
        links=len(manifest.links),
        empty_directories=len(manifest.directories),
        listed=rows,
        listed_total=count,
        next_start=end if rows and end < count else None,
    )


def _listed(space: AddressSpace, request: ManifestRequest) -> tuple[tuple[UnitRow, ...], int]:
    """Return the units that are asked for, from where on that is, and how many there are in all."""
    if not request.units:
        return (), 0
    patterns = [compile_pattern(pattern) for pattern in request.units]
    matching = [
        index
        for index, unit in enumerate(space.manifest.units)
        if any(pattern.match(unit.path) for pattern in patterns)
    ]
    shown = matching[request.start : request.start + UNITS_IN_ANSWER_MAX]
    return tuple(unit_row(space, space.manifest.units[index]) for index in shown), len(matching)

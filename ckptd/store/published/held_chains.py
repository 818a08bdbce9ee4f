"""The chains of what stands on this node, by what the manifests of it say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptd.chains.chain import KnownVersion, Series
from ckptd.chains.chain_links import ChainLink
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion


def known_version(catalog: Catalog, held: HeldVersion) -> KnownVersion:
    """Return a version that stands here with what it stands on."""
    holding = held.holding
    return KnownVersion(holding.version, holding.digest, catalog.link(holding.digest))


def series_by_name(
    catalog: Catalog, held: Iterable[HeldVersion]
) -> Mapping[CheckpointName, Series]:
    """Return the chains of each checkpoint. Of what is unseen nothing is known, so it is in none.

    Args:
        catalog: Knows what their manifests say.
        held: Versions that stand here.
    """
    by_name: dict[CheckpointName, list[KnownVersion]] = {}
    for each in held:
        if not each.is_unseen:
            known = by_name.setdefault(each.holding.checkpoint, [])
            known.append(known_version(catalog, each))
    return {name: Series(known) for name, known in by_name.items()}


def series_of(catalog: Catalog, checkpoint: CheckpointName) -> Series:
    """Return the chains of one checkpoint."""
    named = [each for each in catalog.versions() if each.holding.checkpoint == checkpoint]
    return series_by_name(catalog, named).get(checkpoint) or Series(())


def bases_for(
    catalog: Catalog, checkpoint: CheckpointName, version: Version
) -> tuple[dict[Version, Digest], dict[Digest, ChainLink]]:
    """Return what whoever publishes a version has to know of what stands here.

    Returns:
        The content of each earlier version that has one here, and not several; and what is here
        of the version itself, with what it stands on.
    """
    contents: dict[Version, list[Digest]] = {}
    for each in catalog.versions():
        if each.holding.checkpoint == checkpoint:
            contents.setdefault(each.holding.version, []).append(each.holding.digest)
    bases = {
        number: digests[0]
        for number, digests in contents.items()
        if number < version and len(digests) == 1
    }
    links = {digest: catalog.link(digest) for digest in contents.get(version, ())}
    return bases, {digest: link for digest, link in links.items() if link is not None}

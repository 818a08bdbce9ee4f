"""What a manifest says of the version that its own is a delta on, for whoever publishes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain
from typing import Final

from ckptd.chains.chain_links import MADE_OF, ChainLink, annotations_of
from ckptd.chains.delta_index import DELTA_INDEX, DeltaIndex, read_delta_index
from ckptd.errors import InvalidFormat, UsageError
from ckptd.model.formats.weight_index import INDEX_BYTES_MAX
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.candidates import Candidates
from ckptd.store.published.inner_names import InnerNames
from ckptd.store.published.scanning import PublishOrder

_WITHOUT: Final = (
    "With --allow-incomplete it is published as if it stood on nothing, and what it stands on may "
    "be removed."
)


def annotations_in(
    root: Root, relative: str, order: PublishOrder, files: Candidates, inner: InnerNames
) -> dict[str, str]:
    """Return what the manifest of a directory says of its chain.

    Of a full version that is nothing, but of a materialised copy what it was made of.

    Args:
        root: Where it lies.
        relative: Its path below the root.
        order: As what it is published.
        files: All that are published.
        inner: Links that name some of them.

    Raises:
        UsageError: It is a delta version, and not of that number, or does not say on what.
        StorageError: Its index cannot be read.
    """
    if order.made_of is not None:
        return {MADE_OF: order.made_of}
    names = chain(files.paths, inner.names_of_files())
    if order.only or DELTA_INDEX not in names:
        return {}
    try:
        index = _index_at(root, inner.places(files.places()).of(DELTA_INDEX), order)
    except InvalidFormat as error:
        if order.allows_incomplete:
            return {}
        raise UsageError(
            f"directory {root.absolute(relative)}",
            f"cannot be published: its {error.subject} {error.problem}",
            f"{error.hint} {_WITHOUT}",
        ) from error
    if index is None:
        return {}
    return annotations_of(ChainLink(index.base, order.bases.get(index.base), index.encoding))


def in_its_words(
    order: PublishOrder, annotations: dict[str, str], encode: Callable[[dict[str, str]], memoryview]
) -> memoryview:
    """Return the encoded manifest of a version; of one that is here already, in the same words.

    On what content of its base it stands is said only by who has that. The same files must not
    become another content because their base came or went since they were published.

    Args:
        order: What is here under its name and version.
        annotations: What would be said of its chain now.
        encode: Encodes its manifest with what is said of its chain.
    """
    encoded = encode(annotations)
    if not annotations or hexdigest_of(encoded) in order.links:
        return encoded
    for digest, link in order.links.items():
        before = encode(annotations_of(link))
        if hexdigest_of(before) == digest:
            return before
    return encoded


def _index_at(root: Root, place: str, order: PublishOrder) -> DeltaIndex | None:
    """Return the index of a delta version; ``None`` if it is one of a full version.

    Raises:
        InvalidFormat: It does not say on what, or is of another version.
    """
    with Names(root) as names, mapping_os_errors(root.absolute(place)):
        fd = names.open_file(place, os.O_RDONLY)
        try:
            content = os.pread(fd, INDEX_BYTES_MAX + 1, 0)
        finally:
            os.close(fd)
    index = read_delta_index(content)
    if index is not None and index.version != order.version:
        raise InvalidFormat(
            DELTA_INDEX,
            f"says that it is version {index.version}, a delta on {index.base}",
            f"Publish it as {order.checkpoint}@{index.version}.",
        )
    return index

"""What is to be published, and can be read: to hash it, or to say what it would be."""

from __future__ import annotations

from typing import NamedTuple

from ckptd.store.files.roots import Root
from ckptd.store.published.completeness import check_complete
from ckptd.store.published.inner_names import InnerNames
from ckptd.store.published.readable import check_readable, naming_closed_directories
from ckptd.store.published.scanning import (
    Candidate,
    NamesBeside,
    PublishOrder,
    find_files,
    find_inner_names,
    names_beside,
    settled_order,
)


class Found(NamedTuple):
    """What is to be published.

    Attributes:
        directory: Relative to the root.
        order: What of it is meant.
        files: All files.
        inner: The links and empty directories that are kept as they are.
    """

    directory: str
    order: PublishOrder
    files: list[Candidate]
    inner: InnerNames


def found_files(root: Root, relative: str, request: PublishOrder) -> Found:
    """Find every file that is to be published, all of which can be read.

    Args:
        root: Where it lies.
        relative: The path of the directory or of the file below the root.
        request: What is meant.

    Raises:
        CkptdError: See :func:`find_files`.
        ContentChanged: The directory is known to lack something.
        StorageError: This process may not read a file or use a directory.
    """
    with naming_closed_directories(root):
        relative, request = settled_order(root, relative, request)
        inner = find_inner_names(root, relative, request)
        candidates = find_files(root, relative, request, inner)
        check_readable(root, relative, candidates)
    if not (request.only or request.allows_incomplete):
        places = {each.path: each.place for each in candidates}
        check_complete(root, relative, inner.places(places))
    return Found(relative, request, candidates, inner)


class Outlook(NamedTuple):
    """What would be published.

    Attributes:
        directory: Relative to the root.
        units: How many.
        size_bytes: Their length together.
        beside: What would be no part of it.
        links: How many links would be kept.
        empty_directories: How many empty directories would be.
    """

    directory: str
    units: int
    size_bytes: int
    beside: NamesBeside
    links: int = 0
    empty_directories: int = 0


def outlook_of(root: Root, relative: str, request: PublishOrder) -> Outlook:
    """Say what would be published, and hash nothing.

    Raises:
        CkptdError: It would be refused; see :func:`found_files`.
    """
    root.check_in_place()
    found = found_files(root, relative, request)
    return Outlook(
        found.directory,
        len(found.files),
        sum(each.size_bytes for each in found.files),
        names_beside(root, relative, request),
        len(found.inner.links),
        len(found.inner.directories),
    )

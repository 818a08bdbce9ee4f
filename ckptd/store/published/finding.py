"""What is to be published, and can be read: to hash it, or to say what it would be."""

from __future__ import annotations

from typing import NamedTuple

from ckptd.store.files.roots import Root
from ckptd.store.published.completeness import check_complete
from ckptd.store.published.readable import check_readable, naming_closed_directories
from ckptd.store.published.scanning import (
    Candidate,
    NamesBeside,
    PublishOrder,
    find_files,
    names_beside,
    settled_order,
)


def found_files(
    root: Root, relative: str, request: PublishOrder
) -> tuple[str, PublishOrder, list[Candidate]]:
    """Find every file that is to be published, all of which can be read.

    Args:
        root: Where it lies.
        relative: The path of the directory or of the file below the root.
        request: What is meant.

    Returns:
        The directory, what is to be published of it, and the files.

    Raises:
        CkptdError: See :func:`find_files`.
        ContentChanged: The directory is known to lack something.
        StorageError: This process may not read a file or use a directory.
    """
    with naming_closed_directories(root):
        relative, request = settled_order(root, relative, request)
        candidates = find_files(root, relative, request)
        check_readable(root, relative, candidates)
    if not (request.only or request.allows_incomplete):
        check_complete(root, relative, {each.path: each.place for each in candidates})
    return relative, request, candidates


class Outlook(NamedTuple):
    """What would be published.

    Attributes:
        directory: Relative to the root.
        units: How many.
        size_bytes: Their length together.
        beside: What would be no part of it.
    """

    directory: str
    units: int
    size_bytes: int
    beside: NamesBeside


def outlook_of(root: Root, relative: str, request: PublishOrder) -> Outlook:
    """Say what would be published, and hash nothing.

    Raises:
        CkptdError: It would be refused; see :func:`found_files`.
    """
    root.check_in_place()
    directory, _, found = found_files(root, relative, request)
    beside = names_beside(root, relative, request)
    return Outlook(directory, len(found), sum(each.size_bytes for each in found), beside)

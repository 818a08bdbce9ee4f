"""What is to be published, and can be read: to hash it, or to say what it would be."""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

from ckptd.errors import UsageError
from ckptd.model.policy.assignment import Assignment
from ckptd.model.policy.recognition import Proposal
from ckptd.model.policy.rules import Policy
from ckptd.store.files.roots import Root
from ckptd.store.published.assigning import assigned, policies_of
from ckptd.store.published.candidates import Candidate, Candidates
from ckptd.store.published.chain_annotations import annotations_in
from ckptd.store.published.completeness import check_complete
from ckptd.store.published.inner_names import InnerNames
from ckptd.store.published.readable import (
    check_passed,
    closed_files,
    naming_closed_directories,
)
from ckptd.store.published.recognising import recognised
from ckptd.store.published.scanning import (
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
        closed: How many of the files this process may not open by itself.
        policies: What counts of them.
        proposal: What a recogniser makes of them, if that counts; ``None``: nothing, or not asked.
    """

    directory: str
    order: PublishOrder
    files: Candidates
    inner: InnerNames
    closed: int
    policies: tuple[Policy, ...]
    proposal: Proposal | None


def find_closed(root: Root, relative: str, request: PublishOrder) -> list[Candidate]:
    """Find the files that are to be published and that this process may not open by itself.

    Args:
        root: Where it lies.
        relative: The path of the directory or of the file below the root.
        request: What is meant.

    Raises:
        CkptdError: See :func:`find_files`.
        StorageError: This process may not use a directory.
    """
    with naming_closed_directories(root):
        relative, request = settled_order(root, relative, request)
        inner = find_inner_names(root, relative, request)
        return closed_files(root, find_files(root, relative, request, inner))


def found_files(
    root: Root, relative: str, request: PublishOrder, *, will_be_passed: bool = False
) -> Found:
    """Find every file that is to be published, all of which can be read.

    Args:
        root: Where it lies.
        relative: The path of the directory or of the file below the root.
        request: What is meant.
        will_be_passed: Files that this process may not open may be there: they will be passed. Then
            it is not known yet what they say of completeness.

    Raises:
        CkptdError: See :func:`find_files`.
        ContentChanged: The directory is known to lack something.
        UsageError: It is a delta version, and not of that number, or does not say on what.
        StorageError: This process may not read a file or use a directory.
    """
    with naming_closed_directories(root):
        relative, request = settled_order(root, relative, request)
        inner = find_inner_names(root, relative, request)
        candidates = find_files(root, relative, request, inner)
        closed = closed_files(root, candidates)
        is_waited_for = bool(closed) and will_be_passed
        if not is_waited_for:
            check_passed(root, relative, closed, len(candidates))
    proposal = recognised(root, candidates, inner) if request.recognises else None
    policies = policies_of(root, relative, request, proposal and proposal.policy)
    candidates.describe(assigned(request, policies, candidates, inner))
    if not (request.only or request.allows_incomplete or is_waited_for):
        places = inner.places(candidates.places())
        paths = chain(candidates.paths, inner.names_of_files())
        check_complete(root, relative, paths, places)
        annotations_in(root, relative, request, candidates, inner)  # before anything is hashed
    return Found(relative, request, candidates, inner, len(closed), policies, proposal)


class Proposed(NamedTuple):
    """What a recogniser proposes.

    Attributes:
        format: Which format it is.
        is_counted: It counts already.
        assignment: What would be said of the units if it counted; ``None``: see ``problem``.
        problem: Why it cannot count.
    """

    format: str
    is_counted: bool
    assignment: Assignment | None = None
    problem: str = ""


class Outlook(NamedTuple):
    """What would be published.

    Attributes:
        directory: Relative to the root.
        units: How many.
        size_bytes: Their length together.
        beside: What would be no part of it.
        links: How many links would be kept.
        empty_directories: How many empty directories would be.
        closed: How many files would have to be passed.
        files: What would be said of which units.
        proposed: What a recogniser makes of them; ``None``: nothing.
    """

    directory: str
    units: int
    size_bytes: int
    beside: NamesBeside
    links: int
    empty_directories: int
    closed: int
    files: Candidates
    proposed: Proposed | None


def outlook_of(
    root: Root, relative: str, request: PublishOrder, *, passes_files: bool = False
) -> Outlook:
    """Say what would be published, and hash nothing.

    Args:
        root: Where it lies.
        relative: The path of the directory or of the file below the root.
        request: What is meant.
        passes_files: What this process may not open would be passed.

    Raises:
        CkptdError: It would be refused; see :func:`found_files`.
    """
    root.check_in_place()
    found = found_files(root, relative, request, will_be_passed=passes_files)
    return Outlook(
        found.directory,
        len(found.files),
        found.files.size_bytes,
        names_beside(root, relative, request),
        len(found.inner.links),
        len(found.inner.directories),
        found.closed,
        found.files,
        _proposed(root, found),
    )


def _proposed(root: Root, found: Found) -> Proposed | None:
    if found.order.recognises:
        return found.proposal and Proposed(found.proposal.format, is_counted=True)
    proposal = recognised(root, found.files, found.inner)
    if proposal is None:
        return None
    try:
        assignment = assigned(
            found.order, (*found.policies, proposal.policy), found.files, found.inner
        )
    except UsageError as error:
        return Proposed(proposal.format, is_counted=False, problem=str(error))
    return Proposed(proposal.format, is_counted=False, assignment=assignment)

"""What is to be published: a directory's files, or one, and what the publisher says of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final, NamedTuple

from ckptd.chains.chain_links import ChainLink
from ckptd.errors import ContentChanged, InvalidManifest, UsageError
from ckptd.limits import MANIFEST_UNITS_MAX, UNIT_BYTES_MAX
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.patterns import compile_pattern, is_log
from ckptd.model.policy.rules import Policy
from ckptd.model.unit_paths import check_path
from ckptd.store.files.layout import (
    PARTIAL_MARKER,
    STAGING_DIRECTORY,
    STATE_FILE,
    inside,
    is_in_staging,
    is_own,
)
from ckptd.store.files.links import MisledLinks
from ckptd.store.files.roots import FoundFile, Root, no_file
from ckptd.store.files.version_state import read_state
from ckptd.store.published.candidates import Candidates
from ckptd.store.published.inner_names import NO_INNER_NAMES, InnerNames, inner_names

STILL_WRITTEN: Final = "Publish when the job has finished writing."
"""What to do about a directory that changes while it is published."""


_OWN_NAMES_MAX: Final = 20
"""Of names that are no part of a version so many are shown."""


@dataclass(frozen=True, slots=True)
class PublishOrder:
    """What to publish, and as what.

    Attributes:
        directory: Absolute path, also of a single file.
        checkpoint: Name of the checkpoint.
        version: Which version it is.
        critical: Patterns of relative paths, as of :func:`compile_pattern`.
        deferred: The same; a file that matches both is critical.
        optional: The same; a version is complete without these files. None of them is critical.
        file_max_bytes: The longest file, holes included.
        settle_ns: Nothing in the directory may have changed for so long.
        replace: Other content under the same name and version may be replaced.
        only: The one name in the directory that is meant; empty: all of them.
        exclude: Patterns of files that are left out.
        keeps_logs: Logs, see :func:`is_log`, are not left out. They are not if one of the other
            patterns names them either, nor is a single file.
        require: Patterns; unless each has a match, the directory is not complete yet.
        allows_incomplete: It may lack what its own format says that it has to have.
        keeps_links: Symbolic links that lead to names of the version, and empty directories, are
            kept; not of a single file.
        phases: Names of phases, each with a pattern.
        after: Patterns, each with one of prerequisites.
        policies: Of the configuration, for this checkpoint.
        reads_policy_inside: A policy in the directory itself counts, too.
        recognises: What a recogniser proposes counts, behind all others.
        bases: The content that each earlier version of the checkpoint has here, if it has one.
        links: What is here under this name and version, and on what it stands.
        made_of: The delta version of which the directory is a materialised copy.
        dtypes: Patterns, each with the type of the elements of those files, or ``auto``.
    """

    directory: str
    checkpoint: CheckpointName
    version: Version
    critical: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    file_max_bytes: int = UNIT_BYTES_MAX
    settle_ns: int = 0
    replace: bool = False
    only: str = ""
    exclude: tuple[str, ...] = ()
    keeps_logs: bool = False
    require: tuple[str, ...] = ()
    allows_incomplete: bool = False
    keeps_links: bool = False
    phases: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    policies: tuple[Policy, ...] = ()
    reads_policy_inside: bool = False
    recognises: bool = False
    bases: Mapping[Version, Digest] = field(default_factory=dict)
    links: Mapping[Digest, ChainLink] = field(default_factory=dict)
    made_of: Digest | None = None
    dtypes: tuple[tuple[str, str], ...] = ()


def settled_order(root: Root, relative: str, request: PublishOrder) -> tuple[str, PublishOrder]:
    """Return the directory that is meant and what is to be published of it.

    A path that leads to no directory is that of a single file, or of a link to one.

    Raises:
        StorageError: A parent is a link or no directory, or the system refused.
    """
    facts = root.stat(relative) if relative else None
    if facts is None or stat.S_ISDIR(facts.st_mode):
        return relative, request
    directory, _, name = relative.rpartition("/")
    return directory, replace(request, only=name)


def _walk(root: Root, relative: str, request: PublishOrder) -> Iterator[FoundFile]:
    """Yield the files that are meant."""
    if not request.only:
        is_excluded = _Excluded(request)
        yield from (found for found in _walk_all(root, relative) if not is_excluded(found.path))
        return
    place = inside(relative, request.only)
    facts = None if is_own(request.only) else root.stat(place)
    if facts is not None:
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
            raise no_file(root.absolute(place))
        yield FoundFile(request.only, stat.S_ISLNK(facts.st_mode), facts.st_size)


def _walk_all(root: Root, relative: str) -> Iterator[FoundFile]:
    return (found for found in root.walk(relative) if not is_own(found.path))


class NamesBeside(NamedTuple):
    """What is in a directory that is published and no part of the version.

    Attributes:
        skipped: Names that are ckptd's own, the first few.
        excluded: Files that are left out, the first few.
        excluded_files: How many are.
    """

    skipped: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    excluded_files: int = 0


def names_beside(root: Root, relative: str, request: PublishOrder) -> NamesBeside:
    """Look for what is no part of a version that is published; of a single file nothing is said.

    Raises:
        NotFound: There is no such directory.
        StorageError: The file system refused.
    """
    relative, request = settled_order(root, relative, request)
    if request.only:
        return NamesBeside()
    is_excluded = _Excluded(request)
    count, first = 0, []
    for found in _walk_all(root, relative):
        if is_excluded(found.path):
            count += 1
            if count <= _OWN_NAMES_MAX:
                first.append(found.path)
    return NamesBeside(own_names(root, relative), tuple(first), count)


def find_inner_names(root: Root, relative: str, request: PublishOrder) -> InnerNames:
    """Find the links and empty directories that are kept as they are.

    Raises:
        UsageError: Whoever follows the links would never come to an end.
        NotFound: There is no such directory.
        StorageError: The file system refused.
    """
    if request.only or not request.keeps_links:
        return NO_INNER_NAMES
    return inner_names(root, relative, _Excluded(request))


def _check_not_marked(root: Root, relative: str, subject: str, request: PublishOrder) -> None:
    """Check that no file of ckptd's says that a directory lacks something.

    Raises:
        UsageError: One does.
    """
    if root.stat(inside(relative, PARTIAL_MARKER)) is not None:
        raise UsageError(
            subject,
            f"lacks required units: it has a file {PARTIAL_MARKER}, which says what is missing",
            "Complete it with 'ckptctl recover NAME@VERSION --to DIR'; it cannot be published as a "
            "version of its own while that file is there.",
        )
    state = None if request.only else read_state(root, relative)
    if state is not None and not state.complete:
        raise UsageError(
            subject,
            f"is not complete: its file {STATE_FILE} says which phases are",
            "Publish it when the recovery has brought the rest: 'ckptctl recover NAME@VERSION "
            "--to DIR'.",
        )


def find_files(
    root: Root, relative: str, request: PublishOrder, inner: InnerNames = NO_INNER_NAMES
) -> Candidates:
    """Find every file that is to be published.

    Args:
        root: Where the directory lies.
        relative: Its path below the root.
        request: What of it is meant.
        inner: Links that are no files.

    Raises:
        UsageError: There is none, a name that no manifest can have, or the directory is known to
            lack something.
        ContentChanged: A file that has to be there is not there yet.
        OutsideRoots: A symbolic link leads out of the root.
        NotFound: There is no such directory, or a link leads to nothing.
        StorageError: Refused by the file system, or a file cannot be published.
    """
    subject = f"directory {root.absolute(relative)}"
    if is_in_staging(relative):
        raise UsageError(
            subject, "belongs to ckptd's own staging", "Publish what a recovery has completed."
        )
    _check_not_marked(root, relative, subject, request)
    candidates = Candidates(relative)
    misled, kept = MisledLinks(), inner.link_paths
    for found in _walk(root, relative, request):
        if found.path in kept:
            continue
        if len(candidates) + misled.count == MANIFEST_UNITS_MAX:
            raise UsageError(subject, f"has more than {MANIFEST_UNITS_MAX} files")
        try:
            check_path(found.path)
        except InvalidManifest as error:
            raise UsageError(
                f"file {found.path!r}", f"cannot be published: its manifest {error.problem}"
            ) from error
        place = inside(relative, found.path)
        size = found.size_bytes
        if found.is_symlink:
            followed = misled.follow(root, found.path, place)
            if followed is None:
                continue
            place = followed
            target = root.stat(place)
            size = target.st_size if target else 0
            candidates.follow(place)
        if size > request.file_max_bytes:
            raise UsageError(
                f"file {root.absolute(place)}",
                f"has {size} bytes, more than the {request.file_max_bytes} that a file may have",
                "Its holes count. Raise [publish] file_max if that is right.",
            )
        candidates.add(found.path, size)
    misled.check_none("" if request.only else subject)
    if not candidates:
        count = 0 if request.only else names_beside(root, relative, request).excluded_files
        but = f" but {count} that are left out" if count else ""
        raise UsageError(
            subject, f"has no files{but}", "Name the directory the job has written to."
        )
    for pattern in request.require:
        compiled = compile_pattern(pattern)
        if not any(map(compiled.match, chain(kept, candidates.paths))):
            raise ContentChanged(
                subject, f"is not complete yet: no file matches {pattern!r}", STILL_WRITTEN
            )
    return candidates


def own_names(root: Root, relative: str) -> tuple[str, ...]:
    """Return the names in a directory that are ckptd's own and no part of a version, the first few.

    Raises:
        NotFound: There is no such directory.
        StorageError: The file system refused.
    """
    names = root.names(relative)
    own = [name for name in names if is_own(name) and name != STAGING_DIRECTORY]
    return tuple(own[:_OWN_NAMES_MAX])


def check_same_files(
    root: Root,
    relative: str,
    candidates: Candidates,
    request: PublishOrder,
    inner: InnerNames = NO_INNER_NAMES,
) -> None:
    """Check that a directory has the files that were found before, no others and no fewer.

    They come in the same order, so nothing has to be kept of them until one is another.

    Args:
        root: Where the directory lies.
        relative: Its path below the root.
        candidates: What was found.
        request: What of it is meant.
        inner: The links and empty directories that were found.

    Raises:
        ContentChanged: One appeared or vanished.
        StorageError: The file system refused.
    """
    kept, kept_count = inner.link_paths, 0
    known = iter(candidates.paths)
    for found in _walk(root, relative, request):
        if found.path in kept:
            kept_count += 1
        elif found.path != next(known, None):
            raise _difference(root, candidates, request, kept)
    if next(known, None) is not None or kept_count < len(kept):
        raise _difference(root, candidates, request, kept)
    if find_inner_names(root, relative, request) != inner:
        raise ContentChanged(
            f"directory {root.absolute(relative)}",
            "has other links or empty directories than when it was begun to be published",
            STILL_WRITTEN,
        )


def _difference(
    root: Root, candidates: Candidates, request: PublishOrder, kept: frozenset[str]
) -> ContentChanged:
    """Return the error that there are other files than before."""
    relative = candidates.directory
    before = kept.union(candidates.paths)
    seen = {found.path for found in _walk(root, relative, request)}
    path = min(seen ^ before, default="")
    if not path:
        problem = "changed while being published"
    else:
        problem = f"{'appeared' if path in seen else 'vanished'} while being published"
    return ContentChanged(root.absolute(inside(relative, path)), problem, STILL_WRITTEN)


def changed_at_ns(
    root: Root,
    relative: str,
    candidates: Candidates,
    inner: InnerNames = NO_INNER_NAMES,
) -> int:
    """Return when a file last came to the directories of some files, or went.

    Raises:
        NotFound: One of them is gone.
        StorageError: The file system refused.
    """
    paths = chain(candidates.paths, inner.link_paths, inner.directories)
    parents = {inside(relative, path).rpartition("/")[0] for path in paths}
    changed_ns = 0
    for path in {relative, *parents}:
        fd = root.open_directory(path)
        try:
            changed_ns = max(changed_ns, os.fstat(fd).st_ctime_ns)
        finally:
            os.close(fd)
    return changed_ns


class _Excluded:
    """Says which files are left out."""

    def __init__(self, request: PublishOrder) -> None:
        named = (*request.critical, *request.deferred, *request.optional, *request.require)
        self._patterns = [compile_pattern(pattern) for pattern in request.exclude]
        self._named = [compile_pattern(pattern) for pattern in named]
        self._keeps_logs = request.keeps_logs

    def __call__(self, path: str) -> bool:
        if any(pattern.match(path) for pattern in self._patterns):
            return True
        if self._keeps_logs or not is_log(path):
            return False
        return not any(pattern.match(path) for pattern in self._named)

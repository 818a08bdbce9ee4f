"""What a directory to be published consists of: its files, and what the publisher says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ckptd.errors import InvalidManifest, UsageError
from ckptd.limits import MANIFEST_UNITS_MAX
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.manifest import block_size_for, check_path
from ckptd.model.patterns import compile_pattern
from ckptd.model.words import Criticality
from ckptd.store.files.layout import inside, is_in_staging
from ckptd.store.files.links import resolve_link
from ckptd.store.files.roots import Root


@dataclass(frozen=True, slots=True)
class PublishOrder:
    """What to publish, and as what.

    Attributes:
        directory: Absolute path.
        checkpoint: Name of the checkpoint.
        version: Which version the directory is.
        critical: Patterns of relative paths, as of :func:`compile_pattern`.
        deferred: The same; a file that matches both is critical.
        replace: Other content under the same name and version may be replaced.
    """

    directory: str
    checkpoint: CheckpointName
    version: Version
    critical: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    replace: bool = False


class Candidate(NamedTuple):
    """A file to be hashed.

    Attributes:
        path: Relative to the directory, the unit's path.
        place: Relative to the root, links followed.
        is_symlink: The two differ by more than the directory.
        size_bytes: When it was found.
        criticality: From the patterns.
    """

    path: str
    place: str
    is_symlink: bool
    size_bytes: int
    criticality: Criticality

    @property
    def grain_bytes(self) -> int:
        """How long its blocks will be."""
        return block_size_for(self.size_bytes)


def find_files(root: Root, relative: str, request: PublishOrder) -> list[Candidate]:
    """Find every file below a directory.

    Raises:
        UsageError: There is none, a name that no manifest can have, or a pattern without a match.
        OutsideRoots: A symbolic link leads out of the root.
        NotFound: There is no such directory, or a link leads to nothing.
        StorageError: Refused by the file system, or a file cannot be published.
    """
    subject = f"directory {root.absolute(relative)}"
    if is_in_staging(relative):
        raise UsageError(
            subject, "belongs to ckptd's own staging", "Publish what a recovery has completed."
        )
    criticality_of, candidates = _Patterns(request), list[Candidate]()
    for found in root.walk(relative):
        if not relative and is_in_staging(found.path):
            continue
        if len(candidates) == MANIFEST_UNITS_MAX:
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
            place = resolve_link(root, place)
            target = root.stat(place)
            size = target.st_size if target else 0
        criticality = criticality_of(found.path)
        candidates.append(Candidate(found.path, place, found.is_symlink, size, criticality))
    if not candidates:
        raise UsageError(subject, "has no files", "Name the directory the job has written to.")
    criticality_of.check_all_matched()
    return candidates


class _Patterns:
    """Says how urgent a file is, and remembers the patterns that have matched nothing yet."""

    def __init__(self, request: PublishOrder) -> None:
        self._patterns = [
            (pattern, compile_pattern(pattern), criticality)
            for patterns, criticality in (
                (request.critical, Criticality.CRITICAL),
                (request.deferred, Criticality.DEFERRED),
            )
            for pattern in patterns
        ]
        self._unmatched = {pattern for pattern, _, _ in self._patterns}

    def __call__(self, path: str) -> Criticality:
        matches = [entry for entry in self._patterns if entry[1].match(path)]
        self._unmatched.difference_update(pattern for pattern, _, _ in matches)
        return matches[0][2] if matches else Criticality.NORMAL

    def check_all_matched(self) -> None:
        if self._unmatched:
            raise UsageError(
                f"pattern {min(self._unmatched)!r}",
                "matches no file",
                "Patterns are compared with paths relative to the directory.",
            )

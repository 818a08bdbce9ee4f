"""Publishing: a directory is hashed where it lies and becomes a version. Nothing is copied.

Each file is fingerprinted before and after it is hashed, and once more when all are. One that
changes in between ends the publishing: a manifest must not describe a mixture.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ckptd.errors import CkptdError, ContentChanged, InvalidManifest, NotFound, UsageError
from ckptd.limits import MANIFEST_BYTES_MAX, MANIFEST_UNITS_MAX
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.manifest import (
    FORMAT,
    Manifest,
    Unit,
    block_size_for,
    check_manifest,
    check_path,
    encode_manifest,
    urgency,
)
from ckptd.model.patterns import compile_pattern
from ckptd.model.words import Criticality
from ckptd.store.files.fingerprints import HashedDirectory, UnitFile, check_plain, fingerprint_of
from ckptd.store.files.hashing import hash_unit, hexdigest_of
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.layout import inside, is_in_staging
from ckptd.store.files.links import resolve_link
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.hash_runs import Cancelled, HashingProgress, HashRun
from ckptd.store.published.serving import find_changed


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


class _Candidate(NamedTuple):
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


def scan_and_hash(
    root: Root,
    relative: str,
    request: PublishOrder,
    *,
    workers: int,
    on_progress: Callable[[HashingProgress], None],
    is_cancelled: Callable[[], bool],
) -> HashedDirectory:
    """Find and hash every file below a directory. Blocks; meant for a thread.

    Args:
        root: Where the directory lies.
        relative: Its path below the root.
        request: Name and version to publish as, and how urgent which files are.
        workers: Threads that hash; each needs a buffer of at least 8 MiB.
        on_progress: Called from those threads, one call at a time.
        is_cancelled: Asked often; a true answer ends the hashing.

    Returns:
        The version, not yet in the catalog.

    Raises:
        UsageError: No files, names that no manifest can have, a pattern without a match.
        ContentChanged: A file changed while it was hashed.
        OutsideRoots: A symbolic link leads out of the root.
        NotFound: There is no such directory, or a link leads to nothing.
        StorageError: Refused by the file system, or a file cannot be published.
        CkptdError: Cancelled.
    """
    root.check_in_place()
    candidates = _scan(root, relative, request)
    run = HashRun(
        root,
        candidates,
        functools.partial(_hash, root),
        on_progress=on_progress,
        is_cancelled=is_cancelled,
    )
    try:
        hashed = sorted(run.run(workers), key=lambda pair: urgency(pair[0]))
    except Cancelled as error:
        raise CkptdError("publishing", "was cancelled") from error
    manifest = Manifest(
        format=FORMAT,
        checkpoint=request.checkpoint,
        version=request.version,
        units=tuple(unit for unit, _ in hashed),
    )
    encoded = _checked(manifest, root.absolute(relative))
    directory = HashedDirectory(
        root=root.name,
        directory=relative,
        manifest=manifest,
        encoded=encoded,
        digest=hexdigest_of(encoded),
        files=tuple(file for _, file in hashed),
    )
    # Some were hashed before others: all must have been still until the last one was done.
    changed = find_changed(root, directory)
    if changed:
        raise _changed(root.absolute(relative)) from changed
    return directory


def _scan(root: Root, relative: str, request: PublishOrder) -> list[_Candidate]:
    subject = f"directory {root.absolute(relative)}"
    if is_in_staging(relative):
        raise UsageError(
            subject, "belongs to ckptd's own staging", "Publish what a recovery has completed."
        )
    criticality_of, candidates = _Patterns(request), list[_Candidate]()
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
        candidates.append(_Candidate(found.path, place, found.is_symlink, size, criticality))
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


def _hash(
    root: Root,
    run: HashRun[_Candidate, tuple[Unit, UnitFile]],
    candidate: _Candidate,
    names: Names,
    buffer: memoryview,
) -> tuple[Unit, UnitFile]:
    subject = root.absolute(candidate.place)
    try:
        directory = os.fstat(names.find(candidate.place)[0])
        fd = names.open_file(candidate.place, os.O_RDONLY)
    except NotFound as error:
        raise _changed(subject) from error
    try:
        with mapping_os_errors(subject):
            facts = run.settled(fd)
            check_plain(facts or os.fstat(fd), directory, subject)
            block_size = block_size_for(facts.st_size) if facts else 0
            if facts is None or len(buffer) < block_size:
                raise _changed(subject)
            before = fingerprint_of(facts)
            digest, block_digests = hash_unit(
                fd,
                before.size_bytes,
                block_size,
                buffer=buffer,
                on_progress=run.reporting(candidate),
            )
            after = fingerprint_of(os.fstat(fd))
    except ContentChanged as error:
        raise _changed(subject) from error
    finally:
        os.close(fd)
    if after != before:
        raise _changed(subject)
    unit = Unit(
        path=candidate.path,
        size_bytes=before.size_bytes,
        digest=digest,
        block_size_bytes=block_size,
        block_digests=block_digests,
        criticality=candidate.criticality,
        is_executable=bool(facts.st_mode & 0o100),
    )
    return unit, UnitFile(before, candidate.place if candidate.is_symlink else "")


def _checked(manifest: Manifest, directory: str) -> bytes:
    """Encode a manifest that every reader will accept."""
    try:
        check_manifest(manifest)
    except InvalidManifest as error:
        raise UsageError(
            f"directory {directory}", f"cannot be published: its manifest {error.problem}"
        ) from error
    encoded = encode_manifest(manifest)
    if len(encoded) > MANIFEST_BYTES_MAX:
        raise UsageError(
            f"directory {directory}",
            f"needs a manifest of {len(encoded)} bytes, more than {MANIFEST_BYTES_MAX}",
            "Publish its parts as checkpoints of their own.",
        )
    return encoded


def _changed(path: str) -> ContentChanged:
    return ContentChanged(
        path,
        "changed while being hashed",
        "Publish when the job has finished writing.",
    )

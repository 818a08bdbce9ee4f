"""Publishing: a directory, or a single file, is hashed where it lies and becomes a version.

Nothing is copied.

A manifest must describe all that a job has saved, and no mixture. Each file is fingerprinted before
and after it is hashed, and once more when all are. One that changes in between ends the publishing,
and so does one that appears or vanishes, or is open for writing.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from msgspec import structs

from ckptd.errors import CkptdError, ContentChanged, InvalidManifest, NotFound, UsageError
from ckptd.limits import MANIFEST_BYTES_MAX, MS, SECOND
from ckptd.model.bare_names import required_words
from ckptd.model.encoded.decoding import decode_manifest, encoding_of
from ckptd.model.encoded.encoding import encoded_with
from ckptd.model.manifest import FORMAT, Manifest, block_size_for
from ckptd.store.files.fingerprints import check_plain, fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hash_unit, hexdigest_of
from ckptd.store.files.kernel import is_open_for_writing, mapping_os_errors
from ckptd.store.files.links import doubt_about_hard_links
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.attribute_documents import document_of_hashed
from ckptd.store.published.candidates import Candidate
from ckptd.store.published.chain_annotations import annotations_in, in_its_words
from ckptd.store.published.checking import compare
from ckptd.store.published.element_reading import ElementReading
from ckptd.store.published.finding import found_files
from ckptd.store.published.hash_runs import Cancelled, HashingProgress, HashRun
from ckptd.store.published.hashed_files import HashedFiles
from ckptd.store.published.scanning import (
    STILL_WRITTEN,
    PublishOrder,
    changed_at_ns,
    check_same_files,
)

_SETTLE_STEP_NS: Final = 100 * MS
"""How often it is asked meanwhile whether somebody still wants the result."""


def scan_and_hash(  # noqa: PLR0913 (how it is read, each named)
    root: Root,
    relative: str,
    request: PublishOrder,
    *,
    workers: int,
    on_progress: Callable[[HashingProgress], None],
    is_cancelled: Callable[[], bool],
    breathe: Callable[[int], None] | None = None,
) -> HashedDirectory:
    """Find and hash every file below a directory, or one. Blocks; meant for a thread.

    Args:
        root: Where it lies.
        relative: The path of the directory or of the file below the root.
        request: Name and version to publish as, and how urgent which files are.
        workers: Threads that hash; each needs a buffer of at least 8 MiB.
        on_progress: Called from those threads, one call at a time.
        is_cancelled: Asked often; a true answer ends the hashing.
        breathe: Called after each few bytes that had to come from the disk, with how many; it may
            sleep. They do not stay in the page cache. ``None``: files are read as usual.

    Returns:
        The version, not yet in the catalog.

    Raises:
        UsageError: No files, names that no manifest can have, a pattern without a match, a policy
            that cannot be used.
        ContentChanged: A file changed, appeared or vanished meanwhile, is not there yet, or
            somebody has a required one open for writing.
        OutsideRoots: A symbolic link leads out of the root.
        NotFound: There is no such directory, or a link leads to nothing.
        StorageError: Refused by the file system, or a file cannot be published.
        CkptdError: Cancelled.
    """
    root.check_in_place()
    relative, request, candidates, inner, closed, *_ = found_files(root, relative, request)
    hashed = HashedFiles(candidates)
    run = HashRun(
        root,
        candidates,
        functools.partial(_hash, (root, ElementReading(request.dtypes)), hashed),
        on_progress=on_progress,
        is_cancelled=is_cancelled,
        breathe=breathe,
    )
    try:
        run.run(workers)
    except Cancelled as error:
        raise CkptdError("publishing", "was cancelled") from error
    words = Manifest(
        format=FORMAT,
        checkpoint=request.checkpoint,
        version=request.version,
        units=(),
        requires=required_words(inner.links, inner.directories),
        phases=candidates.phases,
        links=inner.links,
        directories=inner.directories,
    )

    def encode(annotations: dict[str, str]) -> memoryview:
        said = structs.replace(words, annotations=annotations)
        return encoded_with(said, hashed.units(), len(candidates))

    annotations = annotations_in(root, relative, request, candidates, inner)
    manifest = _checked(in_its_words(request, annotations, encode), root, relative)
    encoded = encoding_of(manifest)
    directory = HashedDirectory(
        root=root.name,
        directory=relative,
        manifest=manifest,
        encoded=encoded,
        digest=hexdigest_of(encoded),
        files=hashed.files,
    )
    changed_ns = max(
        # What else comes to the directory of a single file says nothing about that.
        0 if request.only else changed_at_ns(root, relative, candidates, inner),
        hashed.files.latest_ctime_ns(),
    )
    _settle(changed_ns, request.settle_ns, is_cancelled)
    # Some were hashed before others: all must have been still until the last one was done.
    found = compare(root, directory)
    if found.is_any:
        raise _changed(root.absolute(relative))
    check_same_files(root, relative, candidates, request, inner)
    try:
        attributes = document_of_hashed(root, directory, hashed.modes)
    except ContentChanged as error:
        raise _changed(error.subject) from error
    return replace(
        directory,
        attributes=attributes,
        passed=closed,
        unresolved=candidates.assignment.unresolved,
    )


def _settle(changed_ns: int, settle_ns: int, is_cancelled: Callable[[], bool]) -> None:
    """Wait until the last change is so long ago that a job which still writes would show.

    A job that writes one file after another leaves no trace between two of them.

    Raises:
        CkptdError: Cancelled.
    """
    left_ns = min(changed_ns + settle_ns - time.time_ns(), settle_ns)
    while left_ns > 0:
        pause_ns = min(left_ns, _SETTLE_STEP_NS)
        threading.Event().wait(pause_ns / SECOND)
        left_ns -= pause_ns
        if is_cancelled():
            raise CkptdError("publishing", "was cancelled")


def _hash(
    reading: tuple[Root, ElementReading],
    hashed: HashedFiles,
    run: HashRun[Candidate],
    candidate: Candidate,
    names: Names,
    buffer: memoryview,
) -> None:
    root, elements = reading
    subject = root.absolute(candidate.place)
    try:
        directory = os.fstat(names.find(candidate.place)[0])
        fd = names.open_file(candidate.place, os.O_RDONLY)
    except NotFound as error:
        raise _changed(subject) from error
    try:
        if not candidate.words.is_optional and is_open_for_writing(fd):
            raise ContentChanged(subject, "is open for writing", STILL_WRITTEN)
        facts, digests = _hash_open(fd, directory, subject, run, candidate, buffer)
        with mapping_os_errors(subject):  # that it is still the same is seen when all are hashed
            said = elements.fact(fd, candidate.path, facts.st_size)
        hashed.take(candidate, fingerprint_of(facts), facts.st_mode, digests, said)
    finally:
        os.close(fd)


def _hash_open(
    fd: int,
    directory: os.stat_result,
    subject: str,
    run: HashRun[Candidate],
    candidate: Candidate,
    buffer: memoryview,
) -> tuple[os.stat_result, tuple[bytes, bytes]]:
    """Return what a file is, and its digest and those of its blocks."""
    try:
        with mapping_os_errors(subject):
            facts = run.settled(fd)
            doubt = functools.partial(doubt_about_hard_links, fd)
            check_plain(facts or os.fstat(fd), directory, subject, doubt)
            block_size = block_size_for(facts.st_size) if facts else 0
            if facts is None or len(buffer) < block_size:
                raise _changed(subject)
            digests = hash_unit(
                fd,
                facts.st_size,
                block_size,
                buffer=buffer,
                on_progress=run.reporting(candidate),
                read=run.reader(fd),
            )
            after = fingerprint_of(os.fstat(fd))
    except ContentChanged as error:
        raise _changed(subject) from error
    if after != fingerprint_of(facts):
        raise _changed(subject)
    return facts, digests


def _checked(encoded: memoryview, root: Root, relative: str) -> Manifest:
    """Return a manifest that every reader will accept."""
    subject = f"directory {root.absolute(relative)}"
    if len(encoded) > MANIFEST_BYTES_MAX:
        raise UsageError(
            subject,
            f"needs a manifest of {len(encoded)} bytes, more than {MANIFEST_BYTES_MAX}",
            "Publish its parts as checkpoints of their own.",
        )
    try:
        return decode_manifest(encoded)
    except InvalidManifest as error:
        raise UsageError(subject, f"cannot be published: its manifest {error.problem}") from error


def _changed(path: str) -> ContentChanged:
    return ContentChanged(path, "changed while being hashed", STILL_WRITTEN)

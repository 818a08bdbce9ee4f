"""Whether what stands in a place is still what it was: by its metadata, and by its content.

Metadata only suspects. A volume that is attached again, ``chmod -R``, ``touch``, a backup that
links files, the same bytes written again: all of them change metadata and no content. So
:func:`compare` looks, and what differs is read and hashed by :func:`hash_again`, which alone says
that content changed. The reverse holds as well: rot, and a writer through a mapping, change content
and no metadata; so everything is read again now and then, however it looks.

All calls block; none belongs on the event loop.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import threading
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Final, NamedTuple

from ckptd.errors import CkptdError, ContentChanged, NotFound
from ckptd.limits import MIB
from ckptd.model.manifest import Unit
from ckptd.store.files.compressed_files import CompressedFile
from ckptd.store.files.fingerprints import Fingerprint, UnitFile, fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import wrong_blocks
from ckptd.store.files.kernel import drop_cached, storage_error
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.packed_paths import PackedPaths, PathIndex
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import FilesByUnit
from ckptd.store.published.bare_names import bare_names_of, wrong_names
from ckptd.store.published.hash_runs import FilesOf, HashingProgress, HashRun

_UNSIGNED: Final = 2**64 - 1
_DAMAGED: Final = {errno.EIO, errno.EUCLEAN, errno.EBADMSG}
"""Reading fails because of the medium, or because the file system's own checksum is wrong."""
_REPLACED: Final = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR}
"""Opening fails because something took the place of a file or of its directory."""
_DROPPED_BYTES: Final = 32 * MIB
"""After so much that was read past the page cache, its pages leave it again."""

ROT: Final = "its content is not what was published (bit rot or a writer through a mapping)"


class Recorded:
    """What was recorded of the files of one place, in about 70 bytes a file.

    It is compared with the disk every minute; unpacking a manifest for that would cost as much as
    the comparison itself.
    """

    __slots__ = ("_directory", "_files", "_indices", "_others", "_paths", "_units", "bare_names")

    def __init__(self, hashed: HashedDirectory) -> None:
        self._directory = hashed.directory
        self._files = hashed.files
        self._units = array("I", self._files.units())
        self._paths = PackedPaths(
            self._files.path_of(unit, inside(hashed.directory, of_unit.path))
            for unit, of_unit in enumerate(hashed.manifest.units)
            if self._files.has(unit)
        )
        self.bare_names = tuple(bare_names_of(hashed.directory, hashed.manifest))
        self._others = PackedPaths(bare.path for bare in self.bare_names)
        self._indices: tuple[PathIndex, ...] | None = None

    def __len__(self) -> int:
        return len(self._units)

    @property
    def directory(self) -> str:
        """The place's directory, relative to the root."""
        return self._directory

    def directories(self) -> set[str]:
        """Return the directories in which the files lie, relative to the root."""
        paths = chain(self._paths, self._others)
        return {path.rpartition("/")[0] for path in paths}

    def rows(self) -> Iterator[tuple[int, str, tuple[int, int, int, int]]]:
        """Yield each unit that has a file, with its path relative to the root, and its facts."""
        for unit, path in zip(self._units, self._paths, strict=True):
            yield unit, path, self._files.facts(unit)

    def index(self) -> tuple[PathIndex, ...]:
        """Prepare for :meth:`has`, which does that itself otherwise: 2 µs for each file."""
        if self._indices is None:
            self._indices = PathIndex(self._paths), PathIndex(self._others)
        return self._indices

    def has(self, path: str) -> bool:
        """Return whether a path below the root is a file or a bare name, or a directory of one."""
        return any(index.has(path) for index in self.index())


class Differences(NamedTuple):
    """What a look at the files of a place showed, by unit, each with a sentence for people.

    Attributes:
        suspect: They look different, and may have the same content.
        changed: They cannot: nothing is there, or something else, or a file of another length.
        facts: What the file of each of them looks like now, to be compared with itself; ``None``
            if that cannot be seen. Also of units that were asked about.
        bare_names: Links and empty directories that are not as they were, by their names.
    """

    suspect: dict[int, str]
    changed: dict[int, str]
    facts: dict[int, tuple[int, ...] | None]
    bare_names: Mapping[str, str] = MappingProxyType({})

    @property
    def is_any(self) -> bool:
        """Something is not as it was recorded."""
        return bool(self.suspect or self.changed or self.bare_names)


def compare(
    root: Root, hashed: HashedDirectory | Recorded, about: Collection[int] = ()
) -> Differences:
    """Look at every file of a place and compare it with what was recorded.

    Args:
        root: Where the place lies.
        hashed: The place, or what was recorded of it.
        about: Units whose facts are asked for, also if they do not differ.

    Cost: 4 µs a file, on a local file system.
    """
    recorded = hashed if isinstance(hashed, Recorded) else Recorded(hashed)
    bare_names = {name: wrong.why for name, wrong in wrong_names(root, recorded.bare_names).items()}
    found = Differences({}, {}, {}, bare_names)
    with Names(root) as names:
        for unit, path, expected in recorded.rows():
            facts: os.stat_result | None = None
            try:
                facts = names.stat(path)
                why, is_certain = _difference(facts, expected)
            except CkptdError as error:
                why, is_certain = error.problem, False
            if why:
                kind = found.changed if is_certain else found.suspect
                kind[unit] = _sentence(root, path, why)
            if why or unit in about:
                found.facts[unit] = _facts_of(fingerprint_of(facts)) if facts else None
    return found


def _facts_of(fingerprint: Fingerprint) -> tuple[int, int, int, int]:
    return (
        fingerprint.inode & _UNSIGNED,
        fingerprint.size_bytes & _UNSIGNED,
        fingerprint.mtime_ns & _UNSIGNED,
        fingerprint.ctime_ns & _UNSIGNED,
    )


def _difference(
    facts: os.stat_result | None, expected: tuple[int, int, int, int]
) -> tuple[str, bool]:
    """Say in which way a file looks different, and whether its content must be; empty: in none."""
    inode, size_bytes, mtime_ns, ctime_ns = expected
    if facts is None:
        return "was removed", True
    if not stat.S_ISREG(facts.st_mode):
        return "is no regular file any more", True
    if facts.st_size != size_bytes:
        return _other_length(facts.st_size, size_bytes), True
    why = ""
    if facts.st_ino & _UNSIGNED != inode:
        why = "was replaced"
    elif facts.st_mtime_ns & _UNSIGNED != mtime_ns:
        why = "was written to"
    elif facts.st_ctime_ns & _UNSIGNED != ctime_ns:
        why = "has other metadata"
    return why, False


def _other_length(is_bytes: int, was_bytes: int) -> str:
    return f"has {is_bytes} bytes instead of {was_bytes}"


def _sentence(root: Root, path: str, why: str) -> str:
    return f"file {root.absolute(path)}: {why}"


class Checked(NamedTuple):
    """What hashing files again showed, by unit; each stands in one of the first three.

    Attributes:
        files: Content that is right, with the files as they are now: to be recorded.
        changed: Content that is not, or that is gone, with a sentence for people.
        undecided: It cannot be said now, with a sentence for people: to be asked about again.
        rotten: Those of ``changed`` whose files look as they did when they were hashed.
        read_bytes: How much was read.
    """

    files: Mapping[int, UnitFile]
    changed: dict[int, str]
    undecided: dict[int, str]
    rotten: set[int]
    read_bytes: int


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read again.

    Attributes:
        workers: Threads that hash; each needs a buffer of at least 8 MiB. One hashes without a
            second core: nobody waits for it.
        pace: Called with how many bytes were read since the last call; it returns when more may be
            read.
        is_from_disk: What is in memory is not believed: pages that nobody uses are dropped before,
            and after.
        is_cancelled: Asked often; a true answer ends the hashing.
        on_progress: Called from the threads, one call at a time.
    """

    workers: int = 1
    pace: Callable[[int], None] = lambda _: None
    is_from_disk: bool = False
    is_cancelled: Callable[[], bool] = lambda: False
    on_progress: Callable[[HashingProgress], None] = lambda _: None


def hash_again(
    root: Root, hashed: HashedDirectory, units: Iterable[int], reading: Reading
) -> Checked:
    """Hash units of a place where they lie, and compare their content with the manifest.

    A file that changes while it is read is undecided. A file of another length is not read.

    Args:
        root: Where the place lies.
        hashed: The place.
        units: Which; those that were left out of the place are passed over.
        reading: How fast, and until when.

    Raises:
        Cancelled: The caller wants no more of it.
    """
    those = array("I", (unit for unit in sorted(units) if hashed.files.has(unit)))
    findings = _Findings(root, hashed, those)
    HashRun(
        root,
        FilesOf(those, functools.partial(_to_check, hashed)),
        lambda *asked: findings.take(_check(reading, *asked)),
        on_progress=reading.on_progress,
        is_cancelled=reading.is_cancelled,
    ).run(reading.workers)
    return findings.checked()


class _Findings:
    """Takes in what hashing shows, from several threads."""

    def __init__(self, root: Root, hashed: HashedDirectory, units: array[int]) -> None:
        self._root = root
        self._hashed = hashed
        self._files = FilesByUnit(units)
        self._changed: dict[int, str] = {}
        self._undecided: dict[int, str] = {}
        self._rotten: set[int] = set()
        self._read_bytes = 0
        self._lock = threading.Lock()

    def take(self, found: _Outcome) -> None:
        """Take in what one unit showed."""
        with self._lock:
            self._read_bytes += found.read_bytes
        if found.file is not None:
            self._files[found.unit] = found.file
            return
        kind = self._changed if found.is_changed else self._undecided
        kind[found.unit] = _sentence(self._root, self._hashed.path_of(found.unit), found.why)
        if found.is_rotten:
            self._rotten.add(found.unit)

    def checked(self) -> Checked:
        """Return all of it."""
        return Checked(self._files, self._changed, self._undecided, self._rotten, self._read_bytes)


class _UnitToCheck(NamedTuple):
    unit: int
    place: str
    expected: Unit
    file: UnitFile

    @property
    def size_bytes(self) -> int:
        return self.expected.size_bytes

    @property
    def grain_bytes(self) -> int:
        return self.expected.block_size_bytes


class _Outcome(NamedTuple):
    """What hashing one unit again showed.

    Attributes:
        unit: Which.
        why: Why it is not right; empty if it is.
        file: Its file, if it is right.
        is_changed: Its content is known to be different, or it is gone.
        is_rotten: The file looks as it did when it was hashed.
        read_bytes: How much was read.
    """

    unit: int
    why: str
    file: UnitFile | None = None
    is_changed: bool = False
    is_rotten: bool = False
    read_bytes: int = 0


def _to_check(hashed: HashedDirectory, unit: int) -> _UnitToCheck:
    file = hashed.files[unit]
    assert file
    return _UnitToCheck(unit, hashed.path_of(unit), hashed.manifest.units[unit], file)


_Run = HashRun[_UnitToCheck]


def _check(
    reading: Reading, run: _Run, asked: _UnitToCheck, names: Names, buffer: memoryview
) -> _Outcome:
    try:
        fd = names.open_file(asked.place, os.O_RDONLY)
    except NotFound:
        return _Outcome(asked.unit, "was removed", is_changed=True)
    except CkptdError as error:
        cause = error.__cause__
        code = cause.errno if isinstance(cause, OSError) else None
        return _refused(asked.unit, error.problem, code)
    try:
        return _check_open(reading, run, asked, fd, buffer)
    except OSError as error:
        return _refused(asked.unit, storage_error(asked.place, error).problem, error.errno)
    except ContentChanged:
        return _Outcome(asked.unit, "changes while it is read")
    finally:
        os.close(fd)


def _check_open(
    reading: Reading, run: _Run, asked: _UnitToCheck, fd: int, buffer: memoryview
) -> _Outcome:
    unit, expected = asked.unit, asked.expected
    facts = run.settled(fd)
    if facts is None:
        return _Outcome(unit, "is being written to")
    file = asked.file
    size_bytes = file.fingerprint.size_bytes if file.is_compressed else expected.size_bytes
    if facts.st_size != size_bytes:
        why = _other_length(facts.st_size, size_bytes)
        return _Outcome(unit, why, is_changed=True)
    before = fingerprint_of(facts)
    note = _Note(reading, fd, run.reporting(asked))
    if reading.is_from_disk:
        drop_cached(fd)
    if file.is_compressed:
        is_wrong = _is_wrong_compressed(fd, expected, note)
    else:
        is_wrong = bool(
            wrong_blocks(
                fd,
                expected,
                buffer=buffer,
                on_progress=note,
                is_hurried=reading.workers > 1,
            )
        )
    note.end(expected.size_bytes)
    if fingerprint_of(os.fstat(fd)) != before:
        return _Outcome(unit, "changes while it is read", read_bytes=note.read_bytes)
    if not is_wrong:
        right = UnitFile(before, file.link_target, plain_bytes=file.plain_bytes)
        return _Outcome(unit, "", right, read_bytes=note.read_bytes)
    is_rotten = _facts_of(before) == _facts_of(file.fingerprint)
    why = ROT if is_rotten else "its content is not what was published"
    return _Outcome(unit, why, is_changed=True, is_rotten=is_rotten, read_bytes=note.read_bytes)


def _is_wrong_compressed(fd: int, unit: Unit, note: _Note) -> bool:
    """Return whether what a file has compressed is not the content of its unit."""
    is_wrong = False
    try:
        for block_bytes, is_block_wrong in CompressedFile(fd).wrong_blocks(unit):
            is_wrong |= is_block_wrong
            note(block_bytes)
    except ContentChanged:
        return True
    return is_wrong


class _Note:
    """Takes note of what was read of one file, and waits until more may be."""

    def __init__(self, reading: Reading, fd: int, report: Callable[[int], None] | None) -> None:
        self.read_bytes = 0
        self._reading = reading
        self._fd = fd
        self._report = report
        self._cached_bytes = 0

    def __call__(self, size_bytes: int) -> None:
        self.read_bytes += size_bytes
        self._cached_bytes += size_bytes
        if self._reading.is_from_disk and self._cached_bytes >= _DROPPED_BYTES:
            drop_cached(self._fd)
            self._cached_bytes = 0
        if self._report:
            self._report(size_bytes)
        self._reading.pace(size_bytes)

    def end(self, size_bytes: int) -> None:
        """Report holes, which were not read."""
        if self._reading.is_from_disk:
            drop_cached(self._fd)
        if self._report and size_bytes > self.read_bytes:
            self._report(size_bytes - self.read_bytes)


def _refused(unit: int, problem: str, code: int | None) -> _Outcome:
    """Say what it means that a file cannot be opened or read."""
    if code in _DAMAGED:
        return _Outcome(unit, "cannot be read: the disk reports an error", is_changed=True)
    return _Outcome(unit, problem, is_changed=code is None or code in _REPLACED)

"""Compresses units of a copy where they stand: a seekable zstd file beside each, then it alone.

The file that a unit becomes is written under a name of ckptd's own, synced, read again from the
disk, decoded and compared with the digests of the unit; then it gets its name and that is synced;
then it is recorded. The file that has the unit as it was goes later, when nobody reads it any more.
Whatever a crash leaves, one of the two is recorded and right, and the other one is known for what
it is by its time: :class:`ckptd.store.published.removing.OtherForms`.

All calls block; none belongs on the event loop.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.coding.seek_tables import SeekTable
from ckptd.errors import CkptdError, ContentChanged
from ckptd.limits import COMPRESSED_UNIT_BYTES_MIN, DIGEST_BYTES, MIB
from ckptd.model.manifest import Unit
from ckptd.store.files import confined
from ckptd.store.files.compressed_files import CompressedFile, compressed_block
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of, is_unchanged
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import digest_of, read_exactly
from ckptd.store.files.kernel import (
    drop_cached,
    mapping_os_errors,
    set_modified,
    sync_file,
)
from ckptd.store.files.layout import COMPRESSING, compressed, inside, may_be_compressed
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import ROT
from ckptd.store.published.pieces import check_unchanged, open_published
from ckptd.store.published.removing import OtherForms

_RATIO_MIN: Final = (11, 10)
"""What is kept compressed is shorter by this: less is not worth the time of each reading."""
_SAMPLES: Final = 4
_SAMPLE_BYTES: Final = 1 * MIB
_SECTOR_BYTES: Final = 512


def compressible(hashed: HashedDirectory) -> Iterator[int]:
    """Yield the units of a place that may be compressed, by what is recorded of them."""
    units, files = hashed.manifest.units, hashed.files
    taken = {each.path for each in units if may_be_compressed(each.path)}
    taken.update(link.path for link in hashed.manifest.links)
    taken.update(hashed.manifest.directories)
    for unit in files.units():
        of_unit = units[unit]
        if of_unit.size_bytes < COMPRESSED_UNIT_BYTES_MIN or compressed(of_unit.path) in taken:
            continue
        file = files[unit]
        if file and not (file.is_compressed or file.is_wrong or file.link_target):
            yield unit


def compress_unit(
    root: Root, hashed: HashedDirectory, unit: int, note: Callable[[int], None]
) -> UnitFile | None:
    """Make the file that has a unit compressed, durably; the other one stays.

    Args:
        root: Where the place lies.
        hashed: The place.
        unit: Which unit; see :func:`compressible`.
        note: Called after every few bytes that were read, with how many; what it raises ends it.

    Returns:
        The file, to be recorded; ``None``: it would not be shorter by enough.

    Raises:
        ContentChanged: The unit is not what was recorded.
        StorageError: The system refused.
    """
    recorded, of_unit = hashed.files[unit], hashed.manifest.units[unit]
    assert recorded is not None
    path = hashed.path_of(unit)
    with Names(root) as names, mapping_os_errors(root.absolute(path)):
        source = open_published(root, names, path)
        try:
            facts = os.fstat(source)
            stored_bytes = min(facts.st_size, facts.st_blocks * _SECTOR_BYTES)
            check_unchanged(source, recorded.fingerprint, root.absolute(path))
            if not _is_worth(source, of_unit, stored_bytes):
                return None
            with _new_file(root, made := inside(hashed.directory, COMPRESSING)) as target:
                if not _is_shorter(_compress(source, of_unit, target, note), stored_bytes):
                    return None
                _finish(target, facts)
                _check(target, of_unit, note)
                check_unchanged(source, recorded.fingerprint, root.absolute(path))
                _rename(root, made, compressed(path))
                return UnitFile(fingerprint_of(os.fstat(target)), plain_bytes=of_unit.size_bytes)
        finally:
            os.close(source)


@contextlib.contextmanager
def _new_file(root: Root, path: str) -> Iterator[int]:
    """Lend an empty file, which is removed in the end unless it got another name."""
    fd = root.open_file(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
        root.remove_tree(path)


def clean(root: Root, hashed: HashedDirectory) -> int:
    """Remove what compressing left at a place, beside files that are as recorded.

    Returns:
        How many bytes the files had that went.

    Raises:
        StorageError: The system refused.
    """
    freed_bytes = 0
    with Names(root) as names:
        other_forms = OtherForms(names, hashed)
        for unit in hashed.files.units():
            if hashed.manifest.units[unit].size_bytes < COMPRESSED_UNIT_BYTES_MIN:
                continue
            file = hashed.files[unit]
            facts = names.stat(hashed.path_of(unit))
            if file and facts is not None and is_unchanged(facts, file.fingerprint):
                freed_bytes += other_forms.remove(unit, facts.st_mtime_ns)
        if names.stat(made := inside(hashed.directory, COMPRESSING)) is not None:
            names.remove_file(made)
    return freed_bytes


def _is_shorter(made_bytes: int, stored_bytes: int) -> bool:
    more, less = _RATIO_MIN
    return made_bytes * more <= stored_bytes * less


def _is_worth(fd: int, unit: Unit, stored_bytes: int) -> bool:
    """Return whether a few blocks of a file get so much shorter that all of it may.

    Raises:
        ContentChanged: The file is shorter than it should be.
        OSError: The disk refused.
    """
    buffer = page_buffer(_SAMPLE_BYTES)
    plain_bytes = made_bytes = 0
    last = unit.block_count - 1
    for block in {last * number // (_SAMPLES - 1) for number in range(_SAMPLES)}:
        offset = block * unit.block_size_bytes
        size_bytes = min(_SAMPLE_BYTES, unit.block_size_bytes, unit.size_bytes - offset)
        plain_bytes += size_bytes
        made_bytes += len(compressed_block(read_exactly(fd, offset, size_bytes, buffer)))
    # Where there are holes the file is shorter than the unit already.
    return _is_shorter(made_bytes * unit.size_bytes, plain_bytes * stored_bytes)


def _compress(source: int, unit: Unit, target: int, note: Callable[[int], None]) -> int:
    """Write the blocks of a unit as frames, and the table of them; return how long that is.

    Raises:
        ContentChanged: A block is not what was published.
        OSError: The disk refused.
    """
    grain_bytes = unit.block_size_bytes
    buffer = page_buffer(min(grain_bytes, unit.size_bytes))
    lengths: list[tuple[int, int]] = []
    for number in range(unit.block_count):
        offset = number * grain_bytes
        size_bytes = min(grain_bytes, unit.size_bytes - offset)
        block = read_exactly(source, offset, size_bytes, buffer)
        digest = unit.block_digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
        if digest_of(block) != digest:
            raise ContentChanged("unit", ROT)
        frame = compressed_block(block)
        lengths.append((len(frame), size_bytes))
        _write(target, frame)
        note(size_bytes)
    table = SeekTable(lengths)
    end = table.encoded()
    _write(target, end)
    return table.frames_bytes + len(end)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _finish(fd: int, facts: os.stat_result) -> None:
    """Give a file what the one has of which it is another form, and make it durable."""
    made = os.fstat(fd)
    if (made.st_uid, made.st_gid) != (facts.st_uid, facts.st_gid):
        os.fchown(fd, facts.st_uid, facts.st_gid)
    os.fchmod(fd, facts.st_mode & 0o777)
    set_modified(fd, facts.st_mtime_ns)
    sync_file(fd)


def _check(fd: int, unit: Unit, note: Callable[[int], None]) -> None:
    """Read from the disk what was written, and compare it with what it should be.

    Raises:
        CkptdError: It is something else: nothing was replaced.
        OSError: The disk refused.
    """
    drop_cached(fd)
    for block_bytes, is_wrong in CompressedFile(fd).wrong_blocks(unit):
        if is_wrong:
            raise CkptdError(f"unit {unit.path!r}", "was not the same when it was decoded again")
        note(block_bytes)


def _rename(root: Root, made: str, path: str) -> None:
    with root.parent(made) as old, root.parent(path) as new:
        confined.rename_replacing(*old, *new)
        sync_file(new[0])

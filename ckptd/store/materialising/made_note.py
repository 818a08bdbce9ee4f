"""The file beside a materialised copy that says of what it was made: ``.ckptd-materialised.json``.

By it the same copy is known when it is asked for again: not by what the file says, but by hashing
the files that it names. So nothing is ever applied to what was made already.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import msgspec

from ckptd.buffers import page_buffer
from ckptd.errors import NotFound
from ckptd.limits import MIB
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.files.hashing import unit_digest
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.layout import MADE_NOTE, inside
from ckptd.store.files.roots import Root

FORMAT: Final = 1
_BYTES_MAX: Final = 64 * MIB
"""More than the names of all files of a version take."""
_BUFFER_BYTES: Final = 8 * MIB


class NotedFile(msgspec.Struct, frozen=True):
    """A file of the copy.

    Attributes:
        path: Relative to the directory.
        size_bytes: Its length.
        digest: Of its content.
    """

    path: str
    size_bytes: int
    digest: str


class MadeNote(msgspec.Struct, frozen=True):
    """What the file says.

    Attributes:
        format: 1; a reader must refuse another number.
        checkpoint: Of what the copy is a version.
        version: Which version.
        of: The delta version that it was made of.
        left_out: Names of the full version that it does not have.
        files: All files, by path.
    """

    format: int
    checkpoint: CheckpointName
    version: Version
    of: Digest
    left_out: tuple[str, ...]
    files: tuple[NotedFile, ...]

    def encoded(self) -> bytes:
        """Return the content of the file."""
        return msgspec.json.encode(self) + b"\n"

    @property
    def size_bytes(self) -> int:
        """Length of all files."""
        return sum(file.size_bytes for file in self.files)


def read_note(root: Root, directory: str) -> MadeNote | None:
    """Return what the file in a directory says; ``None``: there is none that this ckptd wrote.

    Raises:
        StorageError: The system refused.
    """
    try:
        fd = root.open_file(inside(directory, MADE_NOTE), os.O_RDONLY)
    except NotFound:
        return None
    try:
        with mapping_os_errors(root.absolute(directory)):
            size_bytes = os.fstat(fd).st_size
            content = os.pread(fd, size_bytes, 0) if size_bytes <= _BYTES_MAX else b""
    finally:
        os.close(fd)
    try:
        said = msgspec.json.decode(content, type=MadeNote)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return said if said.format == FORMAT else None


def differing_file(
    root: Root, directory: str, note: MadeNote, on_progress: Callable[[int], None]
) -> str | None:
    """Hash all files of a copy; return the first that is not what was made. Blocks.

    Args:
        root: Where it stands.
        directory: Its own.
        note: What was made.
        on_progress: Called with how many bytes were hashed since the last call; what it raises ends
            the hashing.

    Raises:
        StorageError: The disk refused.
    """
    buffer = page_buffer(_BUFFER_BYTES)

    def check() -> None:
        on_progress(0)

    for file in note.files:
        path = inside(directory, file.path)
        try:
            fd = root.open_file(path, os.O_RDONLY)
        except NotFound:
            return file.path
        try:
            with mapping_os_errors(root.absolute(path)):
                is_right = os.fstat(fd).st_size == file.size_bytes and (
                    unit_digest(fd, file.size_bytes, buffer=buffer, check=check).hex()
                    == file.digest
                )
        finally:
            os.close(fd)
        if not is_right:
            return file.path
        on_progress(file.size_bytes)
    return None

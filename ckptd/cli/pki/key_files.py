"""Writes key files: completely, durably, and never over an existing key."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from typing import Final

from ckptd.errors import Conflict, UsageError
from ckptd.store.files.kernel import storage_error
from ckptd.store.files.keys import (
    PRIVATE_MODE,
    TRUSTED_FILE_BYTES_MAX,
    SigningKey,
    TrustedKey,
    parse_trusted_key,
    parse_trusted_keys,
    read_key_file,
)

_TRUSTED_FILE_MODE: Final = 0o644


def write_signing_key(path: str, key: SigningKey) -> None:
    """Write a key to a new file with mode 0600.

    Raises:
        Conflict: There is something at the path.
        StorageError: It cannot be written.
    """
    _replace(path, key.pem(), mode=PRIVATE_MODE, is_new=True)


def add_trusted_key(path: str, added: TrustedKey) -> bool:
    """Append a key to the file, which is made if it is missing; readers see all or nothing.

    Returns:
        Whether it was added; ``False``: the same line stands there already.

    Raises:
        Conflict: The key stands there with other patterns.
        ConfigurationError: The file cannot be used as it is.
        StorageError: It cannot be written.
    """
    path = os.path.realpath(path)
    subject = f"trusted keys {path}"
    if not added.line.isprintable() or parse_trusted_key(added.line).line != added.line:
        raise UsageError(f"key {added.public.id}", "has patterns or a comment of other characters")
    try:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise storage_error(subject, error) from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # for another 'keys trust'
        data = b""
        if os.path.lexists(path):
            data = read_key_file(subject, path, TRUSTED_FILE_BYTES_MAX, forbidden_mode=0o002)
        known = parse_trusted_keys(subject, data).get(added.public.id)
        if known is not None:
            if (known.allowed and known.allowed.texts) == (added.allowed and added.allowed.texts):
                return False
            raise Conflict(
                f"key {added.public.id}", f"stands in {path} already", "Edit its line there."
            )
        if data and not data.endswith(b"\n"):
            data += b"\n"
        data += f"{added.line}\n".encode()
        parse_trusted_keys(subject, data)  # what is written can be read
        mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.lexists(path) else _TRUSTED_FILE_MODE
        _replace(path, data, mode=mode)
    finally:
        os.close(directory)
    return True


def _replace(path: str, data: bytes, *, mode: int, is_new: bool = False) -> None:
    """Replace a file durably, or create it where there is none."""
    subject = f"file {path}"
    temporary = f"{path}.new-{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
        try:
            with open(fd, "wb") as file:
                os.fchmod(fd, mode)
                file.write(data)
                file.flush()
                os.fsync(fd)
            if is_new:
                os.link(temporary, path)
            else:
                os.rename(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except FileExistsError as error:
        raise Conflict(
            subject, "exists already", "Name another one; an old key is never overwritten."
        ) from error
    except OSError as error:
        raise storage_error(subject, error) from error

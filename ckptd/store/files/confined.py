"""Confinement: the one place where a name reaches the kernel.

A directory that the configuration names is opened by its path, once. Everything else is a plain
name in a directory that is held open, or a run of plain names walked from one without following
a link: by ``openat2`` with ``RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS``, or component by component
where the kernel has no such call. So neither a name nor a file that is placed or replaced in
between leads out of the directory: a call acts on the file that was checked, or on none.

Names are checked before each call. That is no formality: the kernel ignores the directory
descriptor when a name is absolute.

All calls block. A refusal of the kernel is an ``OSError``; the caller adds what it is about.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Sequence
from typing import Final

from ckptd.errors import OutsideRoots, StorageError
from ckptd.limits import PATH_BYTES_MAX, PATH_COMPONENT_BYTES_MAX
from ckptd.store.files.kernel import last_error
from ckptd.store.files.mounts import mount_of

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_RELATIVE_BYTES_MAX: Final = 2 * PATH_BYTES_MAX
"""A unit's path below a target, both as long as they may be."""

_OPENAT2: Final = 437
"""Its number on every architecture with the common table: <asm-generic/unistd.h>."""
_RESOLVE: Final = 0x02 | 0x04 | 0x08
"""``RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH`` of <linux/openat2.h>."""
_HOW: Final = struct.pack("QQQ", _DIRECTORY, 0, _RESOLVE)
"""``struct open_how`` of <linux/openat2.h>: flags, mode, resolve."""

_WALK_INSTEAD: Final = {errno.ENOSYS, errno.EPERM, errno.EAGAIN, errno.E2BIG, errno.ENAMETOOLONG}
"""No openat2 before Linux 5.6; sandboxes that do not know it say EPERM; openat2(2) asks to try
again when a rename crossed its way; one call takes a path of 4095 bytes."""

_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
"""From <linux/fs.h>."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def check_relative(relative: str) -> tuple[str, ...]:
    """Split a path below a directory into its components; ``""`` has none.

    Raises:
        OutsideRoots: Absolute, an empty, ``.`` or ``..`` component, NUL, not encodable, or
            too long.
    """
    if not relative:
        return ()
    if len(relative) > _RELATIVE_BYTES_MAX:
        raise _outside(relative, "is too long")
    components = tuple(relative.split("/"))
    for component in components:
        _check_component(component, relative)
    if len(os.fsencode(relative)) > _RELATIVE_BYTES_MAX:
        raise _outside(relative, "is too long")
    return components


def _check_component(name: str, relative: str) -> None:
    is_bad = name in {"", ".", ".."} or "\0" in name or "/" in name
    if not is_bad and name.isascii() and len(name) <= PATH_COMPONENT_BYTES_MAX:
        return  # nearly always, and names come by the ten thousands
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError as error:
        raise _outside(relative) from error
    if is_bad:
        raise _outside(relative)
    if len(encoded) > PATH_COMPONENT_BYTES_MAX:
        raise _outside(relative, f"has a component of more than {PATH_COMPONENT_BYTES_MAX} bytes")


def _outside(relative: str, problem: str = "is not a plain path below a root") -> OutsideRoots:
    return OutsideRoots(f"path {relative[:200]!r}", problem)


def open_configured(path: str, *, create_mode: int | None = None) -> int:
    """Open a directory that the configuration names. Links are followed here and nowhere else.

    Args:
        path: Absolute.
        create_mode: Make it and its parents if they are missing, the last with this mode.

    Raises:
        OSError: Refused.
    """
    if create_mode is not None:
        os.makedirs(path, create_mode, exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def leads_to(path: str, fd: int) -> bool:
    """Return whether the path of a configured directory still leads to the directory that is open.

    It is not if its file system was unmounted, if another one was mounted over it, or if
    another directory took its name.
    """
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False


def is_read_only(fd: int) -> bool:
    """Return whether the file system of a directory that is open takes no writes here.

    An ext4 that met an error takes none either; since Linux 6.15 only its mount options say so.

    Raises:
        OSError: Refused.
    """
    return bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY) or "emergency_ro" in (
        mount_of(fd).of_file_system
    )


def may_write(fd: int) -> bool:
    """Return whether this process may make files in a directory that is open, by modes and ACLs.

    Ask :func:`is_read_only` before: where nobody may write, this one may not either.
    """
    return os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True)


def may_read(parent: int, name: str) -> bool:
    """Return whether this process may read a file, by modes and ACLs; ``True`` if there is none.

    Raises:
        OutsideRoots: The name is not plain.
    """
    _check_component(name, name)
    if os.access(name, os.R_OK, dir_fd=parent, effective_ids=True, follow_symlinks=False):
        return True
    return not os.access(name, os.F_OK, dir_fd=parent, effective_ids=True, follow_symlinks=False)


def closed_directory(start: int, components: Sequence[str]) -> int | None:
    """Find the first directory on a way that this process may not enter, or the last not list.

    Args:
        start: Descriptor of the directory to begin at.
        components: Names on the way.

    Returns:
        How many of the names lead to it; ``None`` if nothing is closed.

    Raises:
        OutsideRoots: A name is not plain.
        OSError: Something else is in the way.
    """
    fd = os.dup(start)
    try:
        for done, component in enumerate(components):
            _check_component(component, "/".join(components))
            try:
                inner = os.open(component, _DIRECTORY | os.O_PATH, dir_fd=fd)
            except PermissionError:
                return done
            os.close(fd)
            fd = inner
        is_open = os.access(".", os.R_OK | os.X_OK, dir_fd=fd, effective_ids=True)
        return None if is_open else len(components)
    finally:
        os.close(fd)


def resolved(path: str) -> str:
    """Return a configured path with its links resolved. For comparing text, not for opening."""
    return os.path.realpath(path)


def open_directory(start: int, components: Sequence[str]) -> int:
    """Open a directory below another one, through no link.

    Args:
        start: Descriptor of the directory to begin at.
        components: Names on the way; none opens ``start`` once more.

    Returns:
        A descriptor, which the caller closes.

    Raises:
        OutsideRoots: A name is not plain.
        OSError: Refused; ``ELOOP`` or ``ENOTDIR`` if a component is a link.

    Cost: 2 µs with openat2, that for each component without.
    """
    path = "/".join(components)
    for component in components:
        _check_component(component, path)
    if not components:
        return os.dup(start)
    fd: int = _libc.syscall(_OPENAT2, start, os.fsencode(path), _HOW, len(_HOW))
    if fd >= 0:
        return fd
    refusal = last_error()
    if refusal.errno not in _WALK_INSTEAD:
        raise refusal
    return _walk(start, components, create=False)


def make_directories(start: int, components: Sequence[str]) -> int:
    """Open a directory below another one; make what is missing on the way, durably."""
    for component in components:
        _check_component(component, "/".join(components))
    return _walk(start, components, create=True)


def _walk(start: int, components: Sequence[str], *, create: bool) -> int:
    fd = os.dup(start)
    for component in components:
        try:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(component, 0o755, dir_fd=fd)
                    os.fsync(fd)
            inner = os.open(component, _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


def open_file(parent: int, name: str, flags: int, mode: int = 0o644, *, subject: str) -> int:
    """Open a regular file. The call follows no link, does not block and does not take a terminal.

    Args:
        parent: Descriptor of the directory it is in.
        name: Its name there.
        flags: As for ``os.open``.
        mode: Permissions if it is created.
        subject: What an error is about.

    Raises:
        OutsideRoots: The name is not plain.
        StorageError: It is a directory, a FIFO, a socket or a device.
        OSError: Refused; ``ELOOP`` if it is a link.
    """
    _check_component(name, name)
    try:
        fd = os.open(name, flags | _FILE, mode, dir_fd=parent)
    except OSError as error:
        # A directory refuses to be written, a FIFO without a reader and a socket to be opened.
        if error.errno in {errno.EISDIR, errno.ENXIO}:
            raise _no_file(subject) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _no_file(subject)
    return fd


def _no_file(subject: str) -> StorageError:
    return StorageError(
        subject,
        "is no regular file but a directory, a FIFO, a socket or a device",
        "Put a regular file there.",
    )


def look(parent: int, name: str) -> os.stat_result:
    """Return what ``lstat`` says of a name.

    Raises:
        OutsideRoots: The name is not plain.
        OSError: Refused.
    """
    _check_component(name, name)
    return os.stat(name, dir_fd=parent, follow_symlinks=False)


def read_link(parent: int, name: str) -> str | None:
    """Return where a symbolic link leads to; ``None`` if it is something else.

    Raises:
        OutsideRoots: The name is not plain.
        OSError: Refused.
    """
    _check_component(name, name)
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def make_link(parent: int, name: str, target: str) -> None:
    """Make a symbolic link. Not durable until ``parent`` is synced.

    Whether its target stays inside is for the caller to know; a target that begins at the root of
    everything is refused here, too.

    Raises:
        OutsideRoots: The name is not plain, or the target is absolute.
        FileExistsError: There is something of that name.
        OSError: Refused.
    """
    _check_component(name, name)
    if not target or target.startswith("/") or "\0" in target:
        raise _outside(target, "is no target for a symbolic link")
    os.symlink(target, name, dir_fd=parent)


def entries(directory: int) -> list[tuple[str, os.stat_result]]:
    """Return the names in a directory in order, each with what ``lstat`` says.

    A name that disappears before its ``lstat`` is left out.

    Raises:
        OSError: Refused.
    """
    found: list[tuple[str, os.stat_result]] = []
    with os.scandir(directory) as seen:
        for entry in seen:
            with contextlib.suppress(FileNotFoundError):
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda entry: entry[0])


def names(directory: int) -> list[str]:
    """Return the names in a directory in order.

    Raises:
        OSError: Refused.
    """
    return sorted(os.listdir(directory))


def create_file(parent: int, name: str, mode: int) -> int:
    """Make a file, open for writing. The system's mask takes bits from the mode.

    Raises:
        OutsideRoots: The name is not plain.
        FileExistsError: There is something of that name, if only a link.
        OSError: Refused.
    """
    _check_component(name, name)
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _FILE, mode, dir_fd=parent)


def make_directory(parent: int, name: str) -> None:
    """Make a directory; one that is there is fine. Not durable until ``parent`` is synced.

    Raises:
        OutsideRoots: The name is not plain.
        OSError: Refused.
    """
    _check_component(name, name)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)


def remove_directory(parent: int, name: str) -> None:
    """Remove an empty directory.

    Raises:
        OutsideRoots: The name is not plain.
        OSError: Refused; ``ENOTEMPTY`` or ``EEXIST`` if it is not empty.
    """
    _check_component(name, name)
    os.rmdir(name, dir_fd=parent)


def remove_tree(parent: int, name: str) -> None:
    """Remove a file, a link, or a directory and all that is in it. Absent is fine.

    ``shutil.rmtree`` opens what it finds before it looks whether that is still the directory it
    saw; a link or a FIFO swapped in would be opened.

    Raises:
        OutsideRoots: The name is not plain.
        OSError: Refused; part of it may be gone.
    """
    try:
        is_directory = stat.S_ISDIR(look(parent, name).st_mode)
    except FileNotFoundError:
        return
    if not is_directory:
        remove_file(parent, name)
        return
    pending: list[tuple[str, ...]] = [(name,)]
    while pending:
        components = pending[-1]
        fd = open_directory(parent, components)
        try:
            inner: list[tuple[str, ...]] = []
            for entry, facts in entries(fd):
                if stat.S_ISDIR(facts.st_mode):
                    inner.append((*components, entry))
                else:
                    remove_file(fd, entry)
        finally:
            os.close(fd)
        if inner:
            pending += inner
            continue
        pending.pop()
        above = open_directory(parent, components[:-1])
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(components[-1], dir_fd=above)
        finally:
            os.close(above)


def remove_file(parent: int, name: str) -> None:
    """Remove a file or a link; absent is fine. A directory is refused with an ``OSError``."""
    _check_component(name, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)


def link(source_parent: int, source_name: str, target_parent: int, target_name: str) -> None:
    """Give a file one more name. A link is not followed but gets the name itself.

    Args:
        source_parent: Descriptor of the directory it is in.
        source_name: Its name there.
        target_parent: Descriptor of the directory of the other name.
        target_name: The other name.

    Raises:
        OutsideRoots: A name is not plain.
        FileExistsError: The name is taken.
        OSError: Refused; ``EPERM`` also for a file of another user, or where links are unknown.
    """
    _check_component(source_name, source_name)
    _check_component(target_name, target_name)
    os.link(
        source_name,
        target_name,
        src_dir_fd=source_parent,
        dst_dir_fd=target_parent,
        follow_symlinks=False,
    )


def rename_replacing(
    source_parent: int, source_name: str, target_parent: int, target_name: str
) -> None:
    """Rename a file over another one: at every moment the name leads to one of the two.

    Args:
        source_parent: Descriptor of the directory it is in.
        source_name: Its name there.
        target_parent: Descriptor of the directory it moves to.
        target_name: Its new name.

    Raises:
        OutsideRoots: A name is not plain.
        OSError: Refused; ``EISDIR`` if the target is a directory.
    """
    _check_component(source_name, source_name)
    _check_component(target_name, target_name)
    os.rename(source_name, target_name, src_dir_fd=source_parent, dst_dir_fd=target_parent)


def rename_noreplace(
    source_parent: int, source_name: str, target_parent: int, target_name: str
) -> None:
    """Rename a file or directory, but never replace one: renameat2(2).

    Args:
        source_parent: Descriptor of the directory it is in.
        source_name: Its name there.
        target_parent: Descriptor of the directory it moves to.
        target_name: Its new name.

    Raises:
        OutsideRoots: A name is not plain.
        FileExistsError: The target exists.
        OSError: Refused for another reason.
    """
    _check_component(source_name, source_name)
    _check_component(target_name, target_name)
    result = _libc.renameat2(
        source_parent,
        os.fsencode(source_name),
        target_parent,
        os.fsencode(target_name),
        _RENAME_NOREPLACE,
    )
    if result == 0:
        return
    refusal = last_error()
    if refusal.errno != errno.EINVAL:
        raise refusal
    # NFS and some FUSE file systems know no flags. A directory then replaces at most an
    # empty one made since the look; anything else is refused by rename(2) itself.
    with contextlib.suppress(FileNotFoundError):
        look(target_parent, target_name)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if not stat.S_ISDIR(look(source_parent, source_name).st_mode):
        raise refusal
    os.rename(source_name, target_name, src_dir_fd=source_parent, dst_dir_fd=target_parent)


def exchange(parent: int, one: str, other: str) -> bool:
    """Give two names of one directory to each other, at one moment: renameat2(2).

    So nothing is lost that came to one of them since somebody looked.

    Args:
        parent: Descriptor of the directory.
        one: A name there.
        other: Another one.

    Returns:
        Whether the file system can do that; if not, nothing was changed.

    Raises:
        OutsideRoots: A name is not plain.
        FileNotFoundError: There is nothing of one of the names.
        OSError: Refused for another reason.
    """
    _check_component(one, one)
    _check_component(other, other)
    first, second = os.fsencode(one), os.fsencode(other)
    if _libc.renameat2(parent, first, parent, second, _RENAME_EXCHANGE) == 0:
        return True
    refusal = last_error()
    if refusal.errno == errno.EINVAL:  # NFS, some FUSE file systems
        return False
    raise refusal

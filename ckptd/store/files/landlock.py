"""Landlock: the daemon gives up the permission to write anywhere but where it has to.

A second line behind :mod:`ckptd.store.files.confined`: what a bug in ckptd or in a library it uses
could change is the roots, the state directory and the directory of the control socket. Reading
is left alone: configuration, certificates and shared libraries lie where the operator put them.

Three reasons why it cannot are kept apart: a kernel without it needs another kernel, one that has
it switched off a word at boot, a filter of system calls (systemd's, a container's) a line there.

Source: landlock(7), Linux 5.13; the kernel's Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from ckptd.model.words import ConfinementState
from ckptd.store.files.kernel import last_error, storage_error

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""System calls: <asm-generic/unistd.h>."""

_QUERY_ABI: Final = 1
_PATH_BENEATH: Final = 1
"""``LANDLOCK_CREATE_RULESET_VERSION``, ``LANDLOCK_RULE_PATH_BENEATH``: <linux/landlock.h>."""

_WRITES: Final = 1 << 1 | sum(1 << bit for bit in range(4, 14))
"""``WRITE_FILE``, the two ``REMOVE_``, the seven ``MAKE_`` and ``REFER`` of ``ACCESS_FS_``."""
_TRUNCATE: Final = 1 << 14
_TRUNCATE_ABI: Final = 3
_ABI_MIN: Final = 2
"""ABI 1 forbids every rename from one directory to another, which is how a version is placed."""

_FILE_RIGHTS: Final = 1 << 1 | _TRUNCATE
_NULL_DEVICE: Final = "/dev/null"
_NO_NEW_PRIVS: Final = 38
"""``PR_SET_NO_NEW_PRIVS``: <linux/prctl.h>."""

_MODULES: Final = "/sys/kernel/security/lsm"
"""Where the kernel names the security modules that are in use, if that is mounted."""
_MODULES_BYTES_MAX: Final = 4096

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Confinement(NamedTuple):
    """What became of the permission to write elsewhere.

    Attributes:
        state: Given up, or why it was not.
        refusal: What the system call said; empty if it was given up or the kernel is too old.
    """

    state: ConfinementState
    refusal: str = ""


def confine_writing(directories: Sequence[int]) -> Confinement:
    """Give up the permission to write, create, rename and remove anything elsewhere, for good.

    It applies to the calling thread and the threads that it starts from now on; so call it
    before other threads exist.

    Args:
        directories: Descriptors of the directories below which writing stays possible.

    Returns:
        Whether it was given up; if not, all can be written that could be before.

    Raises:
        StorageError: The kernel can do it, nothing forbids it, and it refused.
    """
    abi = _libc.syscall(_CREATE_RULESET, None, 0, _QUERY_ABI)
    if abi < 0:
        return _judge(ctypes.get_errno())
    if abi < _ABI_MIN:
        return Confinement(ConfinementState.ABSENT)
    try:
        _give_up(directories, abi)
    except PermissionError as error:  # a filter that permits only some of the calls
        return _judge(error.errno or errno.EPERM)
    except OSError as error:
        raise storage_error("Landlock", error) from error
    return Confinement(ConfinementState.CONFINED)


def _judge(code: int) -> Confinement:
    """Say why the kernel was not even asked, by what the first call ended with."""
    refusal = os.strerror(code)
    match code:
        case errno.EOPNOTSUPP:
            return Confinement(ConfinementState.DISABLED, refusal)
        case errno.ENOSYS if not _is_in_use():
            return Confinement(ConfinementState.ABSENT, refusal)
        case _:
            # The kernel has no other answer to this question: somebody else gave it.
            return Confinement(ConfinementState.FORBIDDEN, refusal)


def _is_in_use() -> bool:
    """Return whether the kernel says that it has Landlock: then "no such call" is a filter's."""
    try:
        fd = os.open(_MODULES, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # not mounted, or not for this user
    try:
        return b"landlock" in os.read(fd, _MODULES_BYTES_MAX).strip().split(b",")
    except OSError:
        return False
    finally:
        os.close(fd)


def _give_up(directories: Sequence[int], abi: int) -> None:
    """Give the permission up.

    Raises:
        PermissionError: A call is not permitted.
        OSError: The kernel refused.
    """
    rights = _WRITES | (_TRUNCATE if abi >= _TRUNCATE_ABI else 0)
    attributes = struct.pack("Q", rights)
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        for fd in directories:
            _allow(ruleset, fd, rights)
        null = os.open(_NULL_DEVICE, os.O_PATH | os.O_CLOEXEC)
        try:
            _allow(ruleset, null, rights & _FILE_RIGHTS)
        finally:
            os.close(null)
        _checked(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, fd: int, rights: int) -> None:
    # struct landlock_path_beneath_attr is packed.
    rule = struct.pack("=Qi", rights, fd)
    _checked(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))


def _checked(result: int) -> int:
    if result < 0:
        raise last_error()
    return result

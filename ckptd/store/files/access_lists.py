"""Access lists (POSIX ACLs) that a directory hands on to what is made in it: acl(5).

A version is made elsewhere than where it will stand, so its directory gets those of that place; the
kernel hands them on from there, and a file's mode bounds them as its mask.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

_HANDED_ON: Final = "system.posix_acl_default"
_OWN: Final = "system.posix_acl_access"
_VERSION: Final = struct.pack("<I", 2)
_ENTRY: Final = struct.Struct("<HHI")
_OWNING_GROUP: Final = 0x04
_MASK: Final = 0x10
_NAMED: Final = {0x02, 0x08}
_ALL: Final = 7
_NONE: Final = {errno.ENODATA, errno.EOPNOTSUPP}


def inherit(parent: int, made: int, *, opens_group: bool) -> None:
    """Let a new and empty directory hand on what another one does, and nothing else.

    Args:
        parent: Descriptor of the directory below which it will stand.
        made: Descriptor of the new one.
        opens_group: Its group uses all that will be in it, as far as modes permit.

    Raises:
        OSError: The system refused.
    """
    handed_on = _handed_on(parent)
    if handed_on is None:
        if _handed_on(made) is not None:
            os.removexattr(made, _HANDED_ON)
            os.removexattr(made, _OWN)
        return
    if opens_group:
        handed_on = _with_group(handed_on)
    os.setxattr(made, _HANDED_ON, handed_on)
    os.setxattr(made, _OWN, handed_on)


def _handed_on(directory: int) -> bytes | None:
    try:
        return os.getxattr(directory, _HANDED_ON)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise


def _with_group(entries: bytes) -> bytes:
    if not entries.startswith(_VERSION) or (len(entries) - len(_VERSION)) % _ENTRY.size:
        raise OSError(errno.EINVAL, "access list of an unknown form")
    found = [*_ENTRY.iter_unpack(entries[len(_VERSION) :])]
    mask = next((permissions for tag, permissions, _ in found if tag == _MASK), _ALL)
    opened = {_OWNING_GROUP: _ALL, _MASK: _ALL}
    return _VERSION + b"".join(
        # Modes open the mask for the group; nobody else gets more by that.
        _ENTRY.pack(tag, permissions & mask if tag in _NAMED else opened.get(tag, permissions), who)
        for tag, permissions, who in found
    )

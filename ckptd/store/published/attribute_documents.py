"""Attribute documents of directories here: of what was just hashed, and of what stands there.

Both block; neither belongs on the event loop.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from ckptd.errors import ContentChanged
from ckptd.model.attributes import (
    DIRECTORY_MODE_BITS,
    FILE_MODE_BITS,
    directories_in,
    encode_attributes,
)
from ckptd.store.files.fingerprints import Fingerprint, fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import compare


def document_of_hashed(root: Root, hashed: HashedDirectory, modes: Sequence[int]) -> bytes:
    """Return the attribute document of what was just hashed, empty if it would be too long.

    Args:
        root: Where the directory lies.
        hashed: What was hashed, every file of it.
        modes: Of its files, from the first byte that was hashed to the last: a chmod changes the
            fingerprint of a file.

    Raises:
        ContentChanged: A directory is gone.
        StorageError: The system refused.
    """
    names = directories_in(hashed.manifest)
    if names is None:
        return b""
    assert hashed.files.is_whole
    own_modes = array("H", (mode & FILE_MODE_BITS for mode in modes))
    times = array("q", hashed.files.mtimes_ns())
    for name in names:
        path = inside(hashed.directory, name) if name else hashed.directory
        facts = root.stat(path)
        if facts is None:
            raise ContentChanged(root.absolute(path), "is gone")
        own_modes.append(facts.st_mode & DIRECTORY_MODE_BITS)
        times.append(facts.st_mtime_ns)
    return encode_attributes(hashed.digest, own_modes, times)


def document_of_standing(root: Root, hashed: HashedDirectory) -> bytes:
    """Return the same for what was hashed some time ago; nothing is hashed for it.

    Returns:
        Empty also if any file is not just as it was then: a fingerprint has the time of the last
        chmod, so as long as it fits, modes and times are those of what was hashed.

    Raises:
        ContentChanged: A directory is gone.
        StorageError: The system refused.
    """
    found = compare(root, hashed)
    if found.suspect or found.changed or not hashed.files.is_whole:
        return b""
    modes = array("H")
    with Names(root) as names:
        for unit, file in enumerate(hashed.files):
            facts = names.stat(hashed.path_of(unit))
            assert file is not None
            if facts is None or not _is_same(fingerprint_of(facts), file.fingerprint):
                return b""
            modes.append(facts.st_mode)
    return document_of_hashed(root, hashed, modes)


def _is_same(seen: Fingerprint, recorded: Fingerprint) -> bool:
    """Return whether a file is as it was; devices have other numbers after a restart."""
    return seen._replace(device=recorded.device) == recorded

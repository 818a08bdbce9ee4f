"""Units that are kept compressed where a recovery puts a version right, or more of it.

They count as they stand. One that is not right any more does not stand at all: the unit comes as it
is, beside the file, which goes when copies are compressed next.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from ckptd.errors import CkptdError, ContentChanged
from ckptd.model.manifest import Manifest, Unit
from ckptd.store.files.compressed_files import CompressedFile
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of, is_unchanged
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles


class AsTheyStand(NamedTuple):
    """What is recorded of a place, but for compressed units that are not as it says.

    Attributes:
        files: One for each unit.
        changed: Units that are known to be wrong.
        is_recorded: It is just what was recorded.
    """

    files: UnitFiles
    changed: frozenset[int]
    is_recorded: bool


def as_they_stand(
    root: Root,
    directory: str,
    recorded: AsTheyStand,
    manifest: Manifest,
    *,
    check: Callable[[], None],
) -> AsTheyStand:
    """Look at the units of a place that are kept compressed.

    Args:
        root: Where it lies.
        directory: The place, relative to the root.
        recorded: What is known of it.
        manifest: What should stand there.
        check: Called before each block that is hashed; what it raises ends it.

    Cost: one ``stat`` for each of them; reads those that look different, or are known to be wrong.
    """
    files, changed = recorded.files, recorded.changed
    is_recorded = recorded.is_recorded
    with Names(root) as names:
        for unit in recorded.files.compressed():
            file = recorded.files[unit]
            assert file is not None
            of_unit = manifest.units[unit]
            path = files.path_of(unit, inside(directory, of_unit.path))
            facts = names.stat(path)
            if facts and unit not in changed and is_unchanged(facts, file.fingerprint):
                continue
            if is_recorded:
                files, is_recorded = files.copied(), False
            files[unit] = None if facts is None else _verified(names, path, of_unit, check)
            if files.has(unit):
                changed -= {unit}
    return AsTheyStand(files, changed, is_recorded)


def _verified(names: Names, path: str, unit: Unit, check: Callable[[], None]) -> UnitFile | None:
    """Return a file that has a unit compressed; ``None``: it has not."""
    try:
        fd = names.open_file(path, os.O_RDONLY)
    except CkptdError:
        return None
    try:
        before = fingerprint_of(os.fstat(fd))
        for _, is_wrong in CompressedFile(fd).wrong_blocks(unit):
            check()
            if is_wrong:
                return None
        is_still = fingerprint_of(os.fstat(fd)) == before
        return UnitFile(before, plain_bytes=unit.size_bytes) if is_still else None
    except (ContentChanged, OSError):
        return None
    finally:
        os.close(fd)

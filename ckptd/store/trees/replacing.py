"""Puts single files of a version right where it stands: each by one rename.

A file is never written to where it stands, so whoever has it open or mapped keeps what he has, and
whoever opens its path finds the old file or the new one. What somebody changed is kept first: under
``.ckptd/replaced`` of its root. After a crash every path has the old file or the new one, and the
next run goes on from there.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Collection, Iterable
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.errors import Conflict, NotFound, StorageError
from ckptd.limits import MIB
from ckptd.model.manifest import Manifest
from ckptd.store.files import confined
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.kernel import mapping_os_errors, sync_file
from ckptd.store.files.layout import inside
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import as_directory, swept
from ckptd.store.trees.standing_files import WrongFile

_FEW_DIRECTORIES: Final = 16
"""So many are synced one by one (0.22 ms each on ext4); more by one syncfs."""

_COPY_BYTES: Final = 4 * MIB


def replace_files(
    root: Root,
    tree: Root,
    manifest: Manifest,
    wrong: Iterable[tuple[int, WrongFile]],
    put: dict[int, UnitFile],
    *,
    kept_in: str,
) -> None:
    """Rename finished files from staging to where they belong, one by one, and make that durable.

    Args:
        root: Where the version stands.
        tree: The staging directory.
        manifest: What the version consists of.
        wrong: The units to put right, in the order in which they become visible; their files are
            finished in staging.
        put: Gets the files as they stand now, also those before one that could not be put.
        kept_in: The directory, relative to the root, for what somebody changed.

    Raises:
        Conflict: A file changed since it was looked at. Those before it are put right.
        StagingLost: A finished file was removed from staging.
        StorageError: The system refused.
    """
    synced: set[str] = set()
    try:
        for unit, file in wrong:
            parent = file.path.rpartition("/")[0]
            os.close(root.open_directory(parent, create=True))
            if file.is_touched:
                synced.add(_keep(root, file, inside(kept_in, manifest.units[unit].path)))
            put[unit] = _replace(root, tree, manifest.units[unit].path, file)
            synced.add(parent)
    finally:
        _sync(root, synced)


def _check_same(root: Root, file: WrongFile) -> os.stat_result | None:
    """Check that a file is what was looked at; ``None``: there is none.

    Raises:
        Conflict: It is not.
    """
    facts = root.stat(file.path)
    if facts is None:
        return None
    now, then = fingerprint_of(facts), file.fingerprint
    if then is None:
        raise _appeared(root, file)
    if now._replace(device=then.device) != then:
        raise Conflict(
            f"file {root.absolute(file.path)}",
            "changed while the version was put right",
            "Recover again when nobody writes there.",
        )
    return facts


def _appeared(root: Root, file: WrongFile) -> Conflict:
    return Conflict(
        f"file {root.absolute(file.path)}",
        "appeared while the version was put right, and is in the way",
        "Move it away; recover again when nobody writes there.",
    )


def _keep(root: Root, file: WrongFile, kept: str) -> str:
    """Give what somebody changed a second name, or a copy; return the directory of it.

    It changes the file's ctime; so the comparison before the rename is made here, and what is
    renamed over is what was kept.
    """
    facts = _check_same(root, file)
    directory = kept.rpartition("/")[0]
    os.close(root.open_directory(directory, create=True))
    if facts is None:
        return directory
    kept = _free_name(root, kept, facts)
    if not kept:
        return directory  # an earlier run came as far as this
    with root.parent(file.path) as old, root.parent(kept) as new:
        if not stat.S_ISREG(facts.st_mode):
            confined.rename_noreplace(*old, *new)  # no file of the version: nobody reads it
            return directory
        try:
            confined.link(*old, *new)
        except OSError:  # of another user, or the file system knows no links
            _copy(root, file.path, kept)
    return directory


def keep_aside(root: Root, path: str, kept: str, facts: os.stat_result) -> None:
    """Move what somebody put in the place of a link or an empty directory out of the way.

    Args:
        root: Where both are.
        path: Where it is.
        kept: Where it is to be; another name like it if that is taken.
        facts: What it is.

    Raises:
        StorageError: The system refused.
    """
    os.close(root.open_directory(kept.rpartition("/")[0], create=True))
    if kept := _free_name(root, kept, facts):
        with root.parent(path) as old, root.parent(kept) as new:
            _rename_new(old, new)
            sync_file(new[0])


def _free_name(root: Root, kept: str, facts: os.stat_result) -> str:
    """Return a name for what is kept; empty if it has one already."""
    for number in itertools.count(1):
        found = root.stat(kept if number == 1 else f"{kept}.{number}")
        if found is None:
            return kept if number == 1 else f"{kept}.{number}"
        if os.path.samestat(found, facts):
            break
    return ""


def _copy(root: Root, path: str, kept: str) -> None:
    source = root.open_file(path, os.O_RDONLY)
    try:
        target = root.open_file(kept, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with mapping_os_errors(root.absolute(kept)):
                buffer = page_buffer(_COPY_BYTES)
                while count := os.readv(source, [buffer]):
                    view = buffer[:count]
                    while view:
                        view = view[os.write(target, view) :]
                sync_file(target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _replace(root: Root, tree: Root, staged: str, file: WrongFile) -> UnitFile:
    """Rename one file to where it belongs; return it as it stands there."""
    try:
        fd = tree.open_file(staged, os.O_RDONLY)
    except NotFound as error:
        raise swept(tree, staged) from error
    try:
        before = os.fstat(fd)
        if not file.is_touched:
            _check_same(root, file)
        with tree.parent(staged) as old, root.parent(file.path) as new:
            try:
                if file.fingerprint is None:
                    _rename_new(old, new)
                else:
                    confined.rename_replacing(*old, *new)
            except FileExistsError as error:
                raise _appeared(root, file) from error
        after = os.fstat(fd)
    finally:
        os.close(fd)
    # A rename changes ctime, and nothing else may have: the fingerprint is of what was verified.
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise StorageError(
            f"file {root.absolute(file.path)}", "was written to while it was put right"
        )
    return UnitFile(fingerprint_of(after), file.link_target)


def _rename_new(old: tuple[int, str], new: tuple[int, str]) -> None:
    try:
        confined.rename_noreplace(*old, *new)
    except OSError as error:
        # NFS and some FUSE file systems know no such rename; a link replaces nothing either.
        if error.errno != errno.EINVAL:
            raise
        confined.link(*old, *new)
        confined.remove_file(*old)


def _sync(root: Root, directories: Collection[str]) -> None:
    if len(directories) > _FEW_DIRECTORIES:
        root.sync()
        return
    for path in sorted(directories):
        with as_directory(root, path) as fd:
            sync_file(fd)

"""What was staged of a content that gave way to another one, kept in case its holders return.

One for each recovery, in a directory beside that in which it writes. What is in it is hashed again
like anything that an earlier run left, so a crash on the way costs at most another fetch. All
functions block.
"""

from __future__ import annotations

import stat

from ckptd.errors import NotFound
from ckptd.model.ids import Digest, RecoveryId
from ckptd.store.files import confined
from ckptd.store.files.layout import STAGING_DIRECTORY, inside, kept_staging_of, staging_of
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import as_directory, remove_empty_staging_directory


def staged_directories(root: Root) -> tuple[str, ...]:
    """Return the names of the directories in which something is staged, in order.

    Raises:
        StorageError: The system refused.
    """
    try:
        with as_directory(root, STAGING_DIRECTORY) as fd:
            found = confined.entries(fd)
    except NotFound:
        return ()
    return tuple(
        name for name, facts in found if stat.S_ISDIR(facts.st_mode) and facts.st_dev == root.device
    )


def swap_staging(root: Root, recovery: RecoveryId, before: Digest, now: Digest) -> None:
    """Put aside what is staged of one content, and take up again what was staged of another.

    Args:
        root: Where the recovery stages; it has nothing open there.
        recovery: Which recovery.
        before: What lies in its staging directory.
        now: What will.

    Raises:
        StorageError: The system refused.
    """
    path, again = staging_of(recovery), kept_staging_of(recovery, now)
    aside = kept_staging_of(recovery, before)
    drop_kept(root, recovery, besides=again)
    if root.stat(path) is not None:
        root.rename(path, aside)
    if root.stat(again) is not None:
        root.rename(again, path)


def drop_kept(root: Root, recovery: RecoveryId, *, besides: str = "") -> None:
    """Remove what a recovery keeps.

    Args:
        root: Where it stages.
        recovery: Which recovery.
        besides: The path of a directory that stays.

    Raises:
        StorageError: The system refused.
    """
    for name in staged_directories(root):
        path = inside(STAGING_DIRECTORY, name)
        if path.startswith(f"{staging_of(recovery)}.") and path != besides:
            root.remove_tree(path)
    remove_empty_staging_directory(root)

"""Where things lie: every path that ckptd makes below a root or in the state directory.

Paths below a root are relative to it. Nothing here touches the disk.
"""

from __future__ import annotations

import re
from typing import Final

from ckptd.model.ids import CheckpointName, Digest, RecoveryId, Version
from ckptd.model.unit_paths import RESERVED_PREFIX

STAGING_DIRECTORY: Final = ".ckptd"
"""Below each root; holds one directory for each recovery that has not ended, and the probe."""

REPLACED_DIRECTORY: Final = f"{STAGING_DIRECTORY}/replaced"
"""Below each root; holds what recoveries that overwrite put aside, each in a directory of its own.
No recovery has that name."""

PARTIAL_MARKER: Final = ".ckptd-partial.json"
"""In a version's directory that lacks required units; says which."""

POLICY_FILE: Final = "ckptd.policy.toml"
"""Beside the directories of versions, or inside one: what its publisher says of the files. Inside
it is a file of the version as any other."""

STATE_FILE: Final = ".ckptd-state.json"
"""In a version's directory that was placed phase by phase; says how far it is."""

MADE_NOTE: Final = ".ckptd-materialised.json"
"""In the directory of a materialised copy; says of what it was made, and which files."""

PROBE: Final = f"{STAGING_DIRECTORY}/probe"
"""The file whose writing shows how fast the disk below a root is."""

COMPRESSING: Final = ".ckptd-compressing"
"""In the directory of a copy; what a unit of it becomes that is being compressed."""

_COMPRESSED: Final = ".zst"

CHECKPOINT_PART: Final = "{checkpoint}"
"""Stands for the name in what the configuration says of the links to what is active."""

LOCK: Final = "lock"
"""In the state directory; locked by the daemon that owns it."""

DATABASE: Final = "ckptd.db"
"""In the state directory; holds the catalog and the journal."""

DATABASE_SUFFIXES: Final = ("-wal", "-shm", "")
"""SQLite keeps its files side by side; the database itself comes last."""

_RECOVERY: Final = re.compile(r"(r-[0-9a-f]{12})(\.[0-9a-f]{12})?")
"""How recoveries are named: :meth:`RecoveryAnswers.recover`; what is kept has a suffix."""


def inside(directory: str, path: str) -> str:
    """Return a path below a directory; ``""`` is the root itself."""
    return f"{directory}/{path}" if directory else path


def compressed(path: str) -> str:
    """Return where a unit is that is kept compressed, by its path."""
    return f"{path}{_COMPRESSED}"


def may_be_compressed(path: str) -> bool:
    """Return whether a path is like those that :func:`compressed` returns."""
    return path.endswith(_COMPRESSED)


def usual_target(checkpoint: CheckpointName, version: Version) -> str:
    """Return where a version is recovered to if nobody says otherwise."""
    return f"{checkpoint}/{version}"


def current_link(pattern: str, checkpoint: CheckpointName) -> str:
    """Return the link that leads to the active version of a checkpoint, or of a job.

    Args:
        pattern: What ``[recovery] current`` says.
        checkpoint: Whose link.
    """
    return pattern.replace(CHECKPOINT_PART, checkpoint)


def passing_link(name: str) -> str:
    """Return the name that a link has, in the same directory, while it is swapped."""
    return f"{RESERVED_PREFIX}-{name}"


def staging_of(recovery: RecoveryId) -> str:
    """Return the directory that a recovery writes to until its version is placed."""
    return f"{STAGING_DIRECTORY}/{recovery}"


def kept_staging_of(recovery: RecoveryId, digest: Digest) -> str:
    """Return where a recovery keeps what it staged of a content that gave way to another."""
    return f"{staging_of(recovery)}.{digest[:12]}"


def recovery_of(name: str) -> RecoveryId | None:
    """Return the recovery whose staging directory has a name; ``None``: it is not of one."""
    found = _RECOVERY.fullmatch(name)
    return RecoveryId(found[1]) if found else None


def replaced_by(recovery: RecoveryId) -> str:
    """Return the directory for files that a recovery puts aside."""
    return f"{REPLACED_DIRECTORY}/{recovery}"


def is_in_staging(path: str) -> bool:
    """Return whether a path is the staging directory or lies in it."""
    return path.split("/", maxsplit=1)[0] == STAGING_DIRECTORY


def is_own(path: str) -> bool:
    """Return whether a path below a version's directory is ckptd's own and never a unit."""
    return path.startswith(RESERVED_PREFIX)


def database_in(state_directory: str) -> str:
    """Return the path of the database in a state directory."""
    return f"{state_directory.rstrip('/')}/{DATABASE}"


def is_of_database(name: str) -> bool:
    """Return whether a name in the state directory is of the database, or of a damaged one."""
    return name.startswith(DATABASE)


def damaged_database(name: str, number: int) -> str:
    """Return the name that a damaged database gets, so that a new one can take its place."""
    return f"{name}.damaged-{number}"

"""Policies that lie in files beside the directories of versions, or inside one."""

from __future__ import annotations

import os
import shlex
from typing import Final

from ckptd.errors import NotFound, StorageError, UsageError
from ckptd.limits import POLICY_FILE_BYTES_MAX
from ckptd.model.policy.documents import read_policy
from ckptd.model.policy.rules import Policy
from ckptd.model.toml_text import parse_toml
from ckptd.store.files.fingerprints import check_plain
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.layout import POLICY_FILE, inside
from ckptd.store.files.links import doubt_about_hard_links
from ckptd.store.files.names import Names
from ckptd.store.files.permission import user_name
from ckptd.store.files.roots import Root

_HINTS: Final = {
    "checkpoint": "The file counts for what lies beside it: remove the key.",
    "place": "Say it on the nodes that recover, or with 'ckptctl recover --place'.",
}
"""Keys of a ``[[policy]]`` that a file has not, with what to do instead."""

BESIDE: Final = f"../{POLICY_FILE}"
"""The origin of rules from the directory above."""


def policy_in(root: Root, directory: str, origin: str) -> Policy | None:
    """Read the policy that lies in a directory; ``None`` if there is none.

    Args:
        root: Where the directory lies.
        directory: Its path below the root.
        origin: What it is called where it is said which rule said what.

    Raises:
        UsageError: It is none; says which key of it cannot be used.
        StorageError: It is no plain file, or this process may not read it.
    """
    place = inside(directory, POLICY_FILE)
    subject = root.absolute(place)
    if root.stat(place) is None:
        return None
    content = _content(root, place)
    if content is None:
        return None
    if len(content) > POLICY_FILE_BYTES_MAX:
        raise UsageError(subject, f"has more than {POLICY_FILE_BYTES_MAX} bytes")
    try:
        table = parse_toml(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(subject, f"is not UTF-8 (at line {line})") from error
    except UsageError as error:
        raise UsageError(subject, error.problem, error.hint) from error

    def refuse(key: str, error: UsageError) -> UsageError:
        problem = f"{error.subject} {error.problem}".lstrip()
        return UsageError(f"{subject}: {key}", problem, error.hint)

    for key in _HINTS:
        if key in table:
            problem = "is a key of [[policy]] in the configuration, and of no file"
            raise refuse(key, UsageError("", problem, _HINTS[key]))
    return read_policy(table, f"{origin} ", refuse)


def _content(root: Root, place: str) -> bytes | None:
    """Return what is in a policy, and at most a byte more than may be; ``None`` if it is gone."""
    subject = root.absolute(place)
    with Names(root) as names, mapping_os_errors(subject):
        try:
            directory = os.fstat(names.find(place)[0])
            fd = names.open_file(place, os.O_RDONLY)
        except NotFound:
            return None
        except StorageError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            raise StorageError(
                subject,
                f"user {user_name()} may not read it, and it says what matters first",
                f"Run 'chmod a+r {shlex.quote(subject)}'.",
            ) from error
        try:
            check_plain(os.fstat(fd), directory, subject, lambda: doubt_about_hard_links(fd))
            return os.pread(fd, POLICY_FILE_BYTES_MAX + 1, 0)
        finally:
            os.close(fd)

"""Symbolic links inside a root: followed by reading them, never by the kernel."""

from __future__ import annotations

import stat
from typing import Final

from ckptd.errors import NotFound, OutsideRoots, StorageError
from ckptd.store.files.confined import check_relative
from ckptd.store.files.roots import Root

_LINKS_MAX: Final = 40
"""Links followed for one name, as in the kernel: path_resolution(7)."""


def resolve_link(root: Root, relative: str) -> str:
    """Follow a symbolic link to the regular file it leads to.

    A target is walked from where its link lies; an absolute one must begin with the root's
    own path, as configured or as resolved.

    Returns:
        The file's path below the root, free of links.

    Raises:
        OutsideRoots: It leads out of the root.
        NotFound: It leads to nothing.
        StorageError: It leads to no regular file, or through too many links.
    """
    subject = f"symbolic link {root.absolute(relative)}"
    pending = list(reversed(check_relative(relative)))
    resolved: list[str] = []
    links = 0
    while pending:
        component = pending.pop()
        if component in {"", "."}:
            continue
        if component == "..":
            if not resolved:
                raise _leads_out(subject, root)
            resolved.pop()
            continue
        resolved.append(component)
        try:
            target = root.read_link("/".join(resolved))
        except NotFound as error:
            raise NotFound(subject, "leads to nothing", "Remove it or mend it.") from error
        if target is None:
            continue
        links += 1
        if links > _LINKS_MAX:
            raise StorageError(subject, f"leads through more than {_LINKS_MAX} links")
        resolved.pop()
        if target.startswith("/"):
            below = root.below(target)
            if below is None:
                raise _leads_out(subject, root)
            resolved, target = [], below
        pending += reversed(target.split("/"))
    path = "/".join(resolved)
    found = root.stat(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise StorageError(subject, "does not lead to a file", "Link files, not directories.")
    return path


def _leads_out(subject: str, root: Root) -> OutsideRoots:
    return OutsideRoots(
        subject, f"leads out of the root {root.path}", "Put a copy where the link is."
    )

"""Carries out on the disk what is to become of the link of a checkpoint; may be done again.

What is known of a link is a row of the catalog: what it says that ckptd made, and where it is to
lead. All calls block; none belongs on the event loop.
"""

from __future__ import annotations

import time
from contextlib import suppress

from ckptd.errors import Conflict, NotFound
from ckptd.store.files.roots import Root
from ckptd.store.records.active_records import ActiveVersion
from ckptd.store.staging.current_link import CurrentLink, text_of
from ckptd.store.trees.ownership import Owner


def texts_of(*rows: ActiveVersion | None) -> set[str]:
    """Return what links say that lead where some rows say; of one that leads nowhere, nothing."""
    return {
        text_of(row.link, row.directory)
        for row in rows
        if row is not None and row.directory is not None
    }


def swap_link(
    root: Root, row: ActiveVersion, before: ActiveVersion | None, owner: Owner | None
) -> int | None:
    """Let a link lead where it is to lead, durably.

    Args:
        root: Where it lies.
        row: Where it is to lead.
        before: Where it leads; ``None``: nowhere yet.
        owner: Whose directories become that are made for it.

    Returns:
        How many nanoseconds passed from the first change of the link until that was durable;
        ``None``: it led there already.

    Raises:
        Conflict: Something else has its name.
        StorageError: The system refused.
    """
    ours = texts_of(before, row)
    (text,) = texts_of(row)
    root.check_in_place()
    link = CurrentLink(root, row.link)
    said = link.check(ours)
    if said == text:
        with suppress(Conflict):  # which is in nobody's way
            link.clean(ours)
        link.sync()  # an earlier life may have come no further than the rename
        return None
    link.prepare(text, ours, owner)
    began_ns = time.monotonic_ns()
    link.swap(said)
    link.sync()
    return time.monotonic_ns() - began_ns


def is_so(root: Root, row: ActiveVersion, before: ActiveVersion | None) -> bool:
    """Return whether a link is as it was to be; remove what else an interrupted swap has left.

    Args:
        root: Where it lies.
        row: Where it was to lead, or that it was to be taken away.
        before: Where it led.

    Raises:
        StorageError: The disk does not say.
    """
    link, wanted = CurrentLink(root, row.link), texts_of(row)
    try:
        with suppress(Conflict):
            link.clean(texts_of(before, row))
        said = link.look()
    except Conflict:
        return False
    return said in wanted if wanted else said is None


def take_away(root: Root, row: ActiveVersion) -> str:
    """Remove a link; return why what stands at its name was left, empty if nothing is.

    Raises:
        StorageError: The system refused.
    """
    root.check_in_place()
    link = CurrentLink(root, row.link)
    (text,) = texts_of(row)
    try:
        if link.check({text}) is not None:
            link.take_away(text)
        link.sync()
    except NotFound:
        return ""  # its directory is gone as well
    except Conflict as error:
        return f"{error.subject}: {error.problem}"
    return ""


def check_as_made(root: Root, row: ActiveVersion) -> None:
    """Check that a link leads where ckptd let it lead.

    Raises:
        Conflict: Something else has its name.
        NotFound: It is gone.
        StorageError: The disk does not say.
    """
    if CurrentLink(root, row.link).check(texts_of(row)) is None:
        raise NotFound(
            f"link {root.absolute(row.link)}",
            "is gone",
            f"Activate a version again: ckptctl activate {row.checkpoint}@{row.version}",
        )

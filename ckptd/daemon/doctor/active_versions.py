"""Says which links to active versions are not as they were made, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.errors import CkptdError
from ckptd.store.files.roots import Roots
from ckptd.store.records.active_records import ActiveVersion
from ckptd.store.staging.active_links import check_as_made


def judge_active(rows: Iterable[ActiveVersion], roots: Roots) -> list[CheckRow]:
    """Return what is wrong with links. Blocks.

    Args:
        rows: Where they were made to lead.
        roots: Where they lie.
    """
    rows = tuple(rows)
    wrong = list(_wrong(rows, roots))
    if wrong or not rows:
        return wrong
    links = f"{len(rows)} link{'' if len(rows) == 1 else 's'}"
    return [passed("active", "this node", f"{links} to active versions as ckptd made them")]


def _wrong(rows: Iterable[ActiveVersion], roots: Roots) -> Iterator[CheckRow]:
    for row in rows:
        link, directory = (
            roots.absolute(row.root, path or "") for path in (row.link, row.directory)
        )
        try:
            root = roots[row.root]
            check_as_made(root, row)
            if root.stat(row.directory or "") is None:
                yield warned(
                    "active",
                    link,
                    f"leads to {directory}, which is gone",
                    f"Activate another version, or: ckptctl activate --none {row.checkpoint}",
                )
        except CkptdError as error:
            yield warned("active", link, error.problem, error.hint)

"""Says of which versions there are too few copies, before the last one is lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, NamedTuple

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import failed, passed, warned
from ckptd.model.holdings import Holding

_NAMED_MAX: Final = 10


class ScarceVersion(NamedTuple):
    """A version that this node holds or lost, of which there are too few copies.

    Attributes:
        holding: Which version.
        copies: How often its rarest required unit is on live nodes.
        is_here: It is in the catalog of this node.
    """

    holding: Holding
    copies: int
    is_here: bool


async def look_at_copies(
    scarce: Callable[[], Sequence[ScarceVersion]], *, are_some_listed: bool = False
) -> AsyncGenerator[CheckRow, None]:
    """Yield what is said of versions with too few copies, the rarest first.

    Args:
        scarce: Finds them.
        are_some_listed: ``[copies]`` lists names, of which other numbers are asked.
    """
    found = sorted(scarce(), key=lambda each: each.copies)
    for each in found[:_NAMED_MAX]:
        yield _judge(each)
    if len(found) > _NAMED_MAX:
        yield warned(
            "copies",
            f"{len(found) - _NAMED_MAX} more versions",
            "have too few copies",
            "'ckptctl checkpoints' lists who has which.",
        )
    if not found:
        yield passed(
            "copies",
            "newest versions",
            "each that is or was here is on two live nodes at least"
            + (", but for what [copies] lists" if are_some_listed else ""),
        )


def _judge(scarce: ScarceVersion) -> CheckRow:
    version = f"{scarce.holding.checkpoint}@{scarce.holding.version}"
    if scarce.copies:
        return warned(
            "copies",
            version,
            "is whole only once on the nodes that answer: lose that one, and it is lost",
            f"Run 'ckptctl recover {version}' on a second node, or bring back one that had it.",
        )
    lost = "files changed or are gone here" if scarce.is_here else "it was here, and is gone"
    return failed(
        "copies",
        version,
        f"is whole on no node that answers: {lost}",
        f"Bring back a node that had it. Nobody needs it: 'ckptctl forget {version}'.",
    )

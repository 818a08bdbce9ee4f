"""Whether versions have several contents, and which nodes have which."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.core.peers.conflicts import Conflicts, Contested
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.model.ids import shortened

_SHOWN_MAX: Final = 10
_NODES_SHOWN: Final = 5


async def look_at_conflicts(
    look: Callable[[], Awaitable[Conflicts]],
) -> AsyncGenerator[CheckRow, None]:
    """Look for versions with several contents, and judge them."""
    for row in judge_conflicts(await look()):
        yield row


def judge_conflicts(conflicts: Conflicts) -> Iterator[CheckRow]:
    """Name the versions of which somebody will have to choose a content."""
    if not conflicts.count:
        yield passed("conflict", "all versions", "have one content each")
    for contested in conflicts.named[:_SHOWN_MAX]:
        yield _judge(contested)
    if conflicts.count > _SHOWN_MAX:
        rest = f"{conflicts.count - _SHOWN_MAX} more versions"
        yield warned("conflict", rest, "have several contents", _REMEDY)


_REMEDY: Final = (
    "Take the wrong ones off offer with 'ckptctl withdraw' where they are; until then "
    "'ckptctl recover --digest' chooses. Give each job and each node a name of its own."
)


def _judge(contested: Contested) -> CheckRow:
    contents = "; ".join(
        f"{shortened(rival.digest)} at {_listed(rival.nodes)}" for rival in contested.rivals
    )
    return warned(
        "conflict",
        f"{contested.checkpoint}@{contested.version}",
        f"has {len(contested.rivals)} contents: {contents}",
        _REMEDY,
    )


def _listed(nodes: tuple[str, ...]) -> str:
    shown = ", ".join(nodes[:_NODES_SHOWN])
    return shown if len(nodes) <= _NODES_SHOWN else f"{shown} and {len(nodes) - _NODES_SHOWN} more"

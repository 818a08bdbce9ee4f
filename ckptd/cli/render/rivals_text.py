"""Several contents that go by one version, as text for people."""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.cli.render.text import printable, reference, table
from ckptd.control.messages.checkpoints import PublishResult
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.rivals import RivalRow
from ckptd.model.ids import shortened
from ckptd.model.quantities import format_size


def conflict_lines(result: RecoveryResult) -> list[str]:
    """Say which contents go by one version, and how to choose one."""
    name = reference(result.checkpoint, result.version)
    ended = f"recovery {printable(result.recovery)} of {name} {result.result}"
    return [
        f"{ended}: {len(result.rivals)} contents go by that version",
        *rival_lines(result.rivals),
        f"choose one: ckptctl recover {name} --digest PREFIX, or --from NODE",
    ]


def rival_lines(rivals: Iterable[RivalRow]) -> list[str]:
    """List the contents that go by one version; nothing if there are none."""
    rows = [
        (
            shortened(rival.digest),
            format_size(rival.size_bytes),
            ", ".join(rival.signers) or "nobody",
            "yes" if rival.is_own else "no",
            ", ".join(rival.nodes),
        )
        for rival in rivals
    ]
    return table(("DIGEST", "SIZE", "SIGNED BY", "HERE", "NODES"), rows) if rows else []


def rival_warning_lines(result: PublishResult) -> list[str]:
    """Say who has other content under what was published; nothing if nobody has."""
    if not result.rivals:
        return []
    name = reference(result.checkpoint, result.version)
    warning = f"warning: other content goes by {name} as well; a recovery will have to choose:"
    return [warning, *rival_lines(result.rivals)]

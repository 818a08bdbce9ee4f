"""What a verification found, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from ckptd.cli.render.text import Picture, hashing_picture, printable, reference
from ckptd.control.messages.verifications import BadUnit, VerifyProgress, VerifyResult
from ckptd.model.quantities import format_duration, format_size


def verifying_picture(progress: VerifyProgress) -> Picture:
    """Show a verification that is in progress."""
    return hashing_picture("verifying", progress)


def bad_unit_lines(units: Sequence[BadUnit]) -> list[str]:
    """Say which units are not right, and why."""
    lines: list[str] = []
    version = None
    for unit in units:
        if version != (unit.digest, unit.directory):
            version = (unit.digest, unit.directory)
            name = reference(unit.checkpoint, unit.version)
            lines.append(f"{name} in {printable(unit.directory)}")
        lines.append(f"  {printable(unit.path)}: {printable(unit.why)}")
    return lines


def verified_lines(result: VerifyResult) -> list[str]:
    """Say what was verified."""
    amounts = (
        f"{result.units} units in {result.places} "
        f"{'directory' if result.places == 1 else 'directories'}, "
        f"{format_size(result.read_bytes)} read in {format_duration(result.duration_s)}"
    )
    wrong = []
    if result.changed_units:
        wrong.append(f"{result.changed_units} not what was published, and not served")
    if result.unread_units:
        wrong.append(f"{result.unread_units} not read to the end")
    return [f"verified {amounts}: {'; '.join(wrong) or 'all are what was published'}"]

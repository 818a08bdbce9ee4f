"""What a check of ``ckptctl doctor`` found, in three degrees."""

from __future__ import annotations

from msgspec.structs import replace

from ckptd.control.messages.observation import CheckRow
from ckptd.model.words import CheckResult


def passed(check: str, subject: str, finding: str) -> CheckRow:
    """Return a finding that asks for nothing."""
    return CheckRow(check=check, subject=subject, verdict=CheckResult.OK, finding=finding)


def warned(check: str, subject: str, finding: str, remedy: str) -> CheckRow:
    """Return a finding that somebody should look at, and how.

    Args:
        check: Which check.
        subject: What was looked at.
        finding: What was found, a sentence for people.
        remedy: What to do, likewise.
    """
    return CheckRow(
        check=check, subject=subject, verdict=CheckResult.WARN, finding=finding, remedy=remedy
    )


def failed(check: str, subject: str, finding: str, remedy: str) -> CheckRow:
    """Return a finding that is in the way of recoveries, and what to do about it.

    Args:
        check: Which check.
        subject: What was looked at.
        finding: What was found, a sentence for people.
        remedy: What to do, likewise.
    """
    return CheckRow(
        check=check, subject=subject, verdict=CheckResult.FAIL, finding=finding, remedy=remedy
    )


def and_also(row: CheckRow, more: str) -> CheckRow:
    """Add to a finding what changes nothing about the verdict, if there is something."""
    return replace(row, finding=f"{row.finding}; {more}") if more else row

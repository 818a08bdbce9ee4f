"""What a check of ``ckptctl doctor`` found, in three degrees."""

from __future__ import annotations

from ckptd.control.messages.observation import CheckRow
from ckptd.model.words import CheckResult


def passed(check: str, subject: str, finding: str) -> CheckRow:
    """Return a finding that asks for nothing."""
    return CheckRow(check=check, subject=subject, verdict=CheckResult.OK, finding=finding)


def warned(check: str, subject: str, finding: str, remedy: str) -> CheckRow:
    """Return a finding that somebody should look at, and how."""
    return CheckRow(
        check=check, subject=subject, verdict=CheckResult.WARN, finding=finding, remedy=remedy
    )


def failed(check: str, subject: str, finding: str, remedy: str) -> CheckRow:
    """Return a finding that is in the way of recoveries, and what to do about it."""
    return CheckRow(
        check=check, subject=subject, verdict=CheckResult.FAIL, finding=finding, remedy=remedy
    )

"""Whether the catalog has room for more versions."""

from __future__ import annotations

from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import failed, passed, warned
from ckptd.limits import HOLDINGS_MAX

_FULL_SHARE: Final = 0.8
"""Eight ranks that save every ten minutes take two days for the rest."""
_REMEDY: Final = "Let old ones go: 'ckptctl forget NAME@VERSION', or 'remove' to free their room."


def judge_catalog(versions: int) -> CheckRow:
    """Judge how many versions the catalog has; at its limit nothing more is recovered."""
    finding = f"has {versions:,} of {HOLDINGS_MAX:,} versions"
    if versions >= HOLDINGS_MAX:
        return failed("catalog", "this node", f"is full: {finding}", _REMEDY)
    if versions > _FULL_SHARE * HOLDINGS_MAX:
        return warned("catalog", "this node", finding, _REMEDY)
    return passed("catalog", "this node", finding)

"""Loads what codes and decodes blocks, once, and only for those who do.

With numpy a daemon has 25 MiB more. Where it cannot be loaded, for a process has no descriptor left
just then, it cannot be loaded later either: half of it is there. Then blocks go as they are.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Final

_MODULES: Final = ("ckptd.net.lane.coded_bodies", "ckptd.net.source.coded_blocks")


@cache
def can_code() -> bool:
    """Return whether blocks can be coded and decoded; loads for a tenth of a second at first."""
    try:
        for name in _MODULES:
            importlib.import_module(name)
    except (ImportError, OSError, MemoryError):
        return False
    return True

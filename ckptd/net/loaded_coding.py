"""Loads what codes and decodes blocks, once, and only for those who do.

With numpy a daemon has 25 MiB more. Where it cannot be loaded, for a process has no descriptor left
just then, it cannot be loaded later either: half of it is there. Then blocks go as they are.
"""

from __future__ import annotations

from functools import cache


@cache
def can_code() -> bool:
    """Return whether blocks can be coded and decoded; loads for a tenth of a second at first."""
    try:
        import ckptd.coding.block_coding  # noqa: PLC0415
        import ckptd.coding.fitting  # noqa: F401, PLC0415 -- loaded, and used elsewhere
    except (ImportError, OSError, MemoryError):
        return False
    return True

"""Memory of long columns goes back to the system when nobody needs it any more.

The C library takes long pieces from the system one by one, and gives each back when it is freed;
but after the first one it keeps all of up to that length (of 32 MiB at most), and what is left
between them serves nothing else. With versions of 100,000 files that was half of what a daemon had.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Final

from ckptd.limits import MIB

_MAPPED_FROM: Final = -3
"""``M_MMAP_THRESHOLD`` of <malloc.h>."""
_LONG_BYTES: Final = MIB
"""Columns of versions with many files are longer; nothing that is made again and again is."""
_VARIABLES: Final = ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def give_back_long_pieces(environment: Mapping[str, str]) -> bool:
    """Have the C library give long pieces back, unless somebody set that otherwise.

    Args:
        environment: The variables of this process.

    Returns:
        Whether it was done: some C libraries do so by themselves and have no such call (musl).
    """
    if any(name in environment for name in _VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(_MAPPED_FROM, _LONG_BYTES))

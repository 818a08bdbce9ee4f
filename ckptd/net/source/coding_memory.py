"""The memory that coding takes for those who are sent coded blocks, all together.

Whoever takes little at a time keeps what is coded for him in memory meanwhile.
"""

from __future__ import annotations

import threading
from typing import Final

from ckptd.limits import MIB

CODING_BYTES_MAX: Final = 512 * MIB
"""For 100 answers with blocks of 1 MiB, and for 6 with the longest."""
_COPIES: Final = 5
"""Of a block: itself, its base, its planes, what was made of it, and that as it is sent."""


class CodingMemory:
    """Lends memory to answers. Any thread.

    Args:
        size_bytes: How much there is.

    Attributes:
        size_bytes: How much there is.
        left_bytes: How much of it nobody has.
    """

    def __init__(self, size_bytes: int = CODING_BYTES_MAX) -> None:
        self.size_bytes = size_bytes
        self.left_bytes = size_bytes
        self._lock = threading.Lock()

    def borrow(self, block_bytes: int) -> bool:
        """Take what coding blocks of a length needs; return whether it was there."""
        with self._lock:
            if self.left_bytes < _COPIES * block_bytes:
                return False
            self.left_bytes -= _COPIES * block_bytes
            return True

    def give_back(self, block_bytes: int) -> None:
        """Give back what was borrowed for blocks of a length."""
        with self._lock:
            self.left_bytes += _COPIES * block_bytes

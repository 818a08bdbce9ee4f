"""``ckptd`` with blocks far smaller than it makes: a million of them in two gigabytes.

    python -m tests.benchmarks.peers.small_blocks run --config …

What a million blocks cost does not depend on how long they are; with those that ckptd makes it
would take 256 GiB to find out.
"""

from __future__ import annotations

import sys

from ckptd import limits

BLOCK_BYTES = 2 * limits.KIB


def main() -> int:
    """Run ``ckptd``."""
    setattr(limits, "BLOCK_BYTES_MIN", BLOCK_BYTES)  # noqa: B010 (a constant to everybody else)
    from ckptd.cli import daemon  # noqa: PLC0415 (whoever looks at the limit, only now)

    return daemon.main()


if __name__ == "__main__":
    sys.exit(main())

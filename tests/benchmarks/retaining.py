"""A thousand versions come and go with retention while eight recoveries read them.

    python -m tests.benchmarks.retaining --versions 1000 --seed 1

Real files, catalogs and databases of four nodes in one process, no network and small disks:
``tests/support/coming_and_going.py``. It ends with 1 if a reader lost a file, the last copy of a
version went, or a disk was above its mark though something could have gone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.support.coming_and_going import CAPACITY_BYTES, MARK_BYTES, VERSION_BYTES, come_and_go


def main() -> int:
    """Let them come and go, and say what was seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--dir", default=None, help="where the disks of the nodes are")
    arguments = parser.parse_args()
    structlog.configure(processors=[_drop])
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="retaining-", dir=arguments.dir) as directory:
        tally = asyncio.run(
            come_and_go(
                Path(directory),
                versions=arguments.versions,
                seed=arguments.seed,
                readers=arguments.readers,
            )
        )
    print(
        f"{tally.saved} versions saved, {tally.removed} times one went from a node, "
        f"{tally.read} recoveries read one, in {time.monotonic() - began_s:.0f} s\n"
        f"lost by readers: {len(tally.lost)}; without a copy: {len(set(tally.gone))}; "
        f"above the mark of {MARK_BYTES // VERSION_BYTES} versions without need: "
        f"{tally.over_mark}; most on a disk of {CAPACITY_BYTES // VERSION_BYTES}: "
        f"{tally.most_bytes // VERSION_BYTES}"
    )
    return int(bool(tally.lost or tally.gone or tally.over_mark))


def _drop(*_: object) -> str:
    """Drop a line of the log."""
    raise structlog.DropEvent


if __name__ == "__main__":
    sys.exit(main())

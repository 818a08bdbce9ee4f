"""``python -m tests.fuzz.dialogues --seeds 7``: plays drawn dialogues, one after another.

``make fuzz TARGET=dialogues`` runs it on all processors.
"""

from __future__ import annotations

from tests.fuzz.dialogues.jumping_time import Clock

_CLOCK = Clock()
_CLOCK.install()  # before ckptd is imported

import argparse  # noqa: E402
import gc  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

from tests.fuzz.dialogues.playing import Finding, play  # noqa: E402
from tests.fuzz.dialogues.scene import World  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.dialogues")
    parser.add_argument("--seeds", required=True, help="of the dialogues, separated by commas")
    parser.add_argument("--count", type=int, default=1, help="play so many from each seed on")
    parser.add_argument("--verbose", action="store_true", help="a line for each")
    options = parser.parse_args()
    warnings.simplefilter("error")  # of what is left open, too, when it is collected
    found = 0
    with tempfile.TemporaryDirectory(prefix="ckptd-dialogues-", dir=_memory()) as directory:
        world = World.make(Path(directory))
        gc.freeze()  # to look at all modules after each dialogue would take longer than that
        firsts = [int(seed) for seed in options.seeds.split(",") if seed]
        for seed in (first + number for first in firsts for number in range(options.count)):
            began_s = time.perf_counter()
            try:
                course = play(world, seed, _CLOCK)
            except Finding as finding:
                print(f"FOUND seed {seed}: {finding}", flush=True)
                found += 1
                continue
            if options.verbose:
                taken_s = time.perf_counter() - began_s
                print(
                    f"{seed} {taken_s * 1000:.0f} ms, {course.virtual_s:.0f} s,"
                    f" turn {course.longest_turn_ns / 1e6:.0f} ms,"
                    f" {course.received_bytes} bytes, {course.ended}",
                    flush=True,
                )
    return int(bool(found))


def _memory() -> str | None:
    """Return a directory in memory, if there is one: removing files takes a while on a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    sys.exit(main())

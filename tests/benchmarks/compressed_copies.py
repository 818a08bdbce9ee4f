"""What keeping a copy compressed saves, and what it costs. No daemon, one thread.

    python -m tests.benchmarks.compressed_copies bench-results/weights/2e-05-60-*.safetensors

Without files: 256 MiB of drawn bf16 weights. Each file is published in a temporary directory below
``--directory``, compressed as a copy is (read, hashed, compressed, written, read again, decoded and
hashed), then sent plain, which is decoding alone, and scrubbed. Rates are plain bytes by seconds of
the processor; what a file system does in the background is not in them.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeVar

from ckptd.limits import MIB
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import Reading, hash_again
from tests.support.compressing import compress
from tests.support.stores import publish, served_from

_T = TypeVar("_T")


def drawn_weights(size_bytes: int) -> bytes:
    """Return bf16 weights that were never trained: normal, the exponents alike."""
    draw = Random(1)
    some = bytearray()
    for _ in range(MIB // 2):
        low, sign = draw.randrange(256), draw.getrandbits(1)
        exponent = 120 - min(int(draw.expovariate(0.7)), 30)
        some += bytes((low, sign << 7 | exponent >> 1))
    return bytes(some) * (size_bytes // len(some))


def timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """Do something; return what came of it and how long the processor took."""
    begun_s = time.process_time()
    done = work()
    return done, time.process_time() - begun_s


def measure(root: Root, path: Path) -> None:
    """Print a line about a file in a directory of its own."""
    plain = publish(root, path.parent.name)
    size_bytes = path.stat().st_size
    kept, compressing_s = timed(lambda: compress(root, plain))
    if not kept.files.compressed():
        print(f"{path.name:40} stays as it is")
        return
    served = served_from(root, kept)

    def send() -> None:
        for _ in served.pieces(0, size_bytes):
            pass

    _, sending_s = timed(send)
    checked, scrubbing_s = timed(lambda: hash_again(root, kept, [0], Reading()))
    assert checked.files
    made_bytes = size_bytes - kept.files.saved_bytes
    rates = [size_bytes / each / 1e9 for each in (compressing_s, sending_s, scrubbing_s)]
    print(
        f"{path.name:40} {size_bytes / made_bytes:5.2f} times shorter; made {rates[0]:.2f},"
        f" sent {rates[1]:.2f}, scrubbed {rates[2]:.2f} GB/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="weights")
    parser.add_argument("--directory", help="where it is done; a real disk (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        root = Root.open("copies", directory)
        try:
            for number, file in enumerate(options.files or [None]):
                target = Path(directory, str(number), file.name if file else "drawn bf16")
                target.parent.mkdir()
                if file:
                    shutil.copy(file, target)
                else:
                    target.write_bytes(drawn_weights(256 * MIB))
                measure(root, target)
                shutil.rmtree(target.parent)
        finally:
            root.close()


if __name__ == "__main__":
    main()

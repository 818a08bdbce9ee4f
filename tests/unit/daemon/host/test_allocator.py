import os
import subprocess
import sys

import pytest

from ckptd.daemon.host.allocator import give_back_long_pieces

_KEPT = """
import os
from ckptd.daemon.host.allocator import give_back_long_pieces
if {is_asked}:
    assert give_back_long_pieces({{}})
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
del (first := [b"x" * 2**24])[:]  # from now on as much is kept, unless it was asked
before = resident()
pieces = [b"x" * 2**21 for _ in range(32)]
between = [bytearray(2**16) for _ in range(32)]
del pieces
print(resident() - before)
"""


@pytest.mark.parametrize("is_asked", [True, False])
def test_long_pieces_go_back_when_they_are_freed(is_asked: bool) -> None:
    variables = {k: v for k, v in os.environ.items() if "MALLOC" not in k and "GLIBC" not in k}
    kept_bytes = subprocess.run(
        [sys.executable, "-c", _KEPT.format(is_asked=is_asked)],
        env=variables,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert (int(kept_bytes) < 2**24) == is_asked, int(kept_bytes)


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_somebody_set_stays(name: str) -> None:
    assert not give_back_long_pieces({name: "1"})

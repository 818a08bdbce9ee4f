"""What the machine itself can do, by programs that measure nothing else."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from ckptd.cli.demo.demo_checkpoint import files_below
from ckptd.core.options import Options
from ckptd.limits import MIB
from ckptd.model.quantities import format_size
from tests.benchmarks.competitors import Fetched, Place, free_port, process, run, version_of

SYNC_BYTES = Options().commits.bytes_due
"""So much lies between two syncs of a recovery to a disk that keeps up."""


class Iperf:
    """One TCP stream, nothing hashed, nothing written."""

    name = "iperf3"
    what = "one TCP stream, from memory to nowhere"
    verifies = False
    makes_files = False
    programs = ("iperf3",)

    def version(self) -> str:
        return version_of("iperf3", "--version")

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        self._size_bytes = sum(each.st_size for each in files_below(str(place.source)).values())
        self._port = free_port()
        with process("iperf3", "--server", "--bind=127.0.0.1", f"--port={self._port}"):
            time.sleep(0.5)  # a connection that asks nothing would disturb it
            yield

    def fetch(self, target: Path) -> Fetched:
        target.mkdir(parents=True)
        told = run(
            *("iperf3", "--client=127.0.0.1", f"--port={self._port}"),
            *(f"--bytes={self._size_bytes}", "--json"),
        )
        received = json.loads(told)["end"]["sum_received"]
        return Fetched(self._size_bytes * 8 / received["bits_per_second"])


class Fio:
    """Writing one file in order.

    Args:
        name: In tables and rows.
        sync_bytes: How much is written between two syncs; 0: there is one at the end alone.
    """

    verifies = False
    makes_files = False
    programs = ("fio",)

    def __init__(self, name: str, *, sync_bytes: int) -> None:
        self.name = name
        often = f"fdatasync each {format_size(sync_bytes)}, " if sync_bytes else ""
        self.what = f"in order, {often}fsync at the end"
        self._sync_blocks = sync_bytes // MIB

    def version(self) -> str:
        return version_of("fio", "--version")

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        self._size_bytes = sum(each.st_size for each in files_below(str(place.source)).values())
        yield

    def fetch(self, target: Path) -> Fetched:
        target.mkdir(parents=True)
        told = run(
            *("fio", "--name=write", f"--directory={target}", "--rw=write", "--bs=1M"),
            *("--ioengine=psync", f"--size={self._size_bytes}", "--fallocate=posix"),
            *(f"--fdatasync={self._sync_blocks}", "--end_fsync=1", "--output-format=json"),
        )
        job = json.loads(told[told.index("{") :])["jobs"][0]
        return Fetched(job["job_runtime"] / 1000)

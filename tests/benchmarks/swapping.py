"""Swap the active version while somebody reads: how long that takes, and what he sees.

    python -m tests.benchmarks.swapping --rounds 200

A daemon has two versions of many small files; each file names its version. A reader opens the link
once, reads all files below that descriptor, and does that again and again. What is measured is what
the daemon says of each swap: from the first change of the link until that is durable. And how long
``ckptctl activate`` takes as a whole: it looks at all files first and writes down what it is about.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from ckptd.control.messages.current_links import ActivateRequest
from tests.support.cluster import NAME, Cluster, Node

FILES: Final = 8
VERSIONS: Final = (100, 200)


class Swaps(NamedTuple):
    """What was measured.

    Attributes:
        swap_s: How long each swap took.
        whole_s: How long each request took.
        reads: How often the reader read a whole version.
        seen: Which versions it saw.
    """

    swap_s: Sequence[float]
    whole_s: Sequence[float]
    reads: int
    seen: frozenset[int]


@dataclass
class Reader:
    """Reads what a link leads to until it is stopped, in a thread.

    Attributes:
        reads: How often it has read all.
        seen: Which versions.
        faults: What was no version: files of two, or a file that was not there.
    """

    link: Path
    reads: int = 0
    seen: set[int] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until it is stopped."""
        while not self._stop.is_set():
            try:
                self._read()
            except OSError as error:
                self.faults.append(str(error))

    def stop(self) -> None:
        """End after this round."""
        self._stop.set()

    def _read(self) -> None:
        directory = os.open(self.link, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = {_version_in(directory, name) for name in os.listdir(directory)}
        finally:
            os.close(directory)
        if len(found) == 1:
            self.seen |= found
        else:
            self.faults.append(f"a mixture of {sorted(found)}")
        self.reads += 1


def _version_in(directory: int, name: str) -> int:
    fd = os.open(name, os.O_RDONLY, dir_fd=directory)
    with open(fd, "rb") as file:
        text = file.read().decode()
    assert len(set(text.split())) == 1, f"{name} is of several versions"
    return int(text.split()[0])


def make_versions(node: Node, files: int = FILES) -> None:
    """Make versions whose files name them, and publish them."""
    for version in VERSIONS:
        directory = node.path(NAME, str(version))
        directory.mkdir(parents=True)
        for number in range(files):
            (directory / f"part-{number}").write_text(f"{version} " * 500)
        node.publish(directory, version=version, critical=(), deferred=())


def swap(node: Node, rounds: int) -> Swaps:
    """Swap the versions of a node while somebody reads.

    Raises:
        AssertionError: He saw what was no version.
    """
    swap_s, whole_s = [], []
    reader = Reader(node.path(NAME, "current"))
    _activate(node, VERSIONS[0])
    thread = threading.Thread(target=reader.run)
    thread.start()
    try:
        for number in range(rounds):
            began_s = time.perf_counter()
            swap_s.append(_activate(node, VERSIONS[(number + 1) % 2]))
            whole_s.append(time.perf_counter() - began_s)
    finally:
        reader.stop()
        thread.join()
    assert not reader.faults, reader.faults[:5]
    return Swaps(swap_s, whole_s, reader.reads, frozenset(reader.seen))


def _activate(node: Node, version: int) -> float:
    (row,) = node.client.activate(ActivateRequest(checkpoint=NAME, version=version)).links
    assert row.is_new, f"{version} was active already"
    return row.swap_s


def main() -> int:
    """Measure, and print what was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--files", type=int, default=FILES, help="in each version")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Cluster(Path(directory)) as cluster:
        node = cluster.node("a")
        make_versions(node, arguments.files)
        swaps = swap(node, arguments.rounds)
    print(f"{arguments.rounds} swaps, versions of {arguments.files} files, one reader")
    for what, values in (("swap", swaps.swap_s), ("whole request", swaps.whole_s)):
        median, worst = statistics.median(values), max(values)
        print(f"  {what:<14} median {median * 1000:7.2f} ms   worst {worst * 1000:7.2f} ms")
    print(f"  read {swaps.reads} times, never a mixture; versions {sorted(swaps.seen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

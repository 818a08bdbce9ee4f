"""A root with a version to recover, and the file systems it may have to live on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from ckptd.errors import CkptdError
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.roots import Root
from ckptd.store.staging.area import Staging
from ckptd.store.staging.block_files import Writing
from tests.support.manifests import make_manifest

TARGET = "llama/100"
NOTHING = BlockSet()


def go_on() -> None:
    """Be the check of a hashing that nobody interrupts."""


def content_of(size_bytes: int, seed: int = 0) -> bytes:
    """Bytes of which no two blocks are alike."""
    return b"".join(
        (seed << 32 | number).to_bytes(8, "big") * 128 for number in range(-(-size_bytes // 1024))
    )[:size_bytes]


SHARD_CONTENTS = {
    "config.json": b"{}",
    "empty": b"",
    "shards/1.bin": content_of(3 * MIB + 1, seed=1),
    "shards/deep/2.bin": content_of(600 * KIB, seed=2),
}
"""17 blocks: thirteen of ``shards/1.bin``, which is critical and so comes first, one, three."""

STAGED_CONTENTS = {
    "config.json": b"{}",
    "empty": b"",
    "shards/large.bin": content_of(3 * MIB, seed=1),
    "shards/deep/small.bin": content_of(300 * KIB, seed=2),
}
COMES_WHOLE = ("config.json",)
"""What comes whole: one block."""


class Site:
    """A directory that is a root, and a version that is recovered to it."""

    def __init__(
        self,
        path: Path,
        contents: Mapping[str, bytes],
        *,
        critical: Collection[str] = (),
        manifest: Manifest | None = None,
    ) -> None:
        self.path = path
        self.contents = contents
        self.root = Root.open("data", str(path))
        self.space = AddressSpace(manifest or make_manifest(contents, critical=critical))
        self.bytes = b"".join(contents[unit.path] for unit in self.space.manifest.units)
        self.everything = BlockSet.full(self.space.block_count)
        self._stagings: list[Staging] = []

    def staging(
        self, recovery: str = "r-1", target: str = TARGET, writing: Writing | None = None
    ) -> Staging:
        made = Staging(self.root, RecoveryId(recovery), target, self.space, writing)
        self._stagings.append(made)
        return made

    def blocks_of(self, *paths: str) -> BlockSet:
        units = enumerate(self.space.manifest.units)
        return BlockSet(self.space.unit_run(index) for index, unit in units if unit.path in paths)

    def unit(self, path: str) -> int:
        return [unit.path for unit in self.space.manifest.units].index(path)

    def data(self, start: int, end: int) -> memoryview:
        space = self.space
        return memoryview(self.bytes)[space.block_start(start) : space.block_start(end)]

    def deliver_run(self, staging: Staging, start: int, end: int) -> tuple[int, ...]:
        return staging.deliver(tuple(self.space.places((start, end))), self.data(start, end))

    def deliver(self, staging: Staging, blocks: BlockSet) -> None:
        """Deliver, commit and release block by block."""
        for block in blocks:
            run = (block, block + 1)
            assert self.deliver_run(staging, *run) == ()
            staging.commit(BlockSet([run]))
            staging.release(BlockSet([run]))

    def take_nearby(self, staging: Staging) -> BlockSet:
        """Take what lies nearby; return what was right, and is committed and released."""
        nearby, copier = staging.nearby.blocks, staging.copier()
        places = [place for run in nearby.runs() for place in self.space.places(run)]
        wrong = staging.take(places, copier)
        taken = nearby - BlockSet((block, block + 1) for block in wrong)
        if taken:
            staging.commit(taken)
            staging.release(taken)
        return taken

    def staged(self, path: str = "", recovery: str = "r-1") -> Path:
        return self.path / ".ckptd" / recovery / path

    def placed(self, path: str = "") -> Path:
        return self.path / TARGET / path

    def files(self) -> dict[str, bytes]:
        """Every file below the root, links not followed."""
        return {
            str(Path(directory, name).relative_to(self.path)): Path(directory, name).read_bytes()
            for directory, _, names in os.walk(self.path)
            for name in names
        }

    def version(self, *paths: str) -> dict[str, bytes]:
        """What is below the root when exactly these units, or all, are placed."""
        return {f"{TARGET}/{path}": self.contents[path] for path in paths or self.contents}

    def close(self) -> None:
        for staging in self._stagings:
            staging.close()
        self.root.close()


def fill(site: Site) -> None:
    """Write into each staged file what it shall have."""
    for path, content in STAGED_CONTENTS.items():
        site.staged(path).write_bytes(content)


def start_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[str]]:
    """Do something in another thread; the problems it ran into are in the list."""
    problems: list[str] = []

    def run() -> None:
        try:
            work()
        except CkptdError as error:
            problems.append(error.problem)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, problems


def end_thread(thread: threading.Thread) -> None:
    thread.join(60)
    assert not thread.is_alive()

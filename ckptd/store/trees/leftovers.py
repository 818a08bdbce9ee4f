"""What lies in a directory of a recovery, compared with its manifest: after a restart, or a crash.

A file counts if its type and size are right, and a block if its bytes on the disk have the right
digest.
"""

from __future__ import annotations

import itertools
import operator
import os
import stat
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.errors import CkptdError
from ckptd.limits import BLOCK_BYTES_MAX, MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.manifest import Manifest, Unit
from ckptd.model.space import AddressSpace
from ckptd.model.unit_paths import directories_of
from ckptd.store.files import confined
from ckptd.store.files.hashing import matching_blocks
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import STAGED_FILE_MODE, as_directory
from ckptd.store.trees.ownership import Owner

_STAT_BLOCK_BYTES: Final = 512
"""Unit of ``st_blocks``: stat(2)."""

_HASHING_THREADS_MAX: Final = 4
_PORTION_BYTES: Final = 64 * MIB
"""What a thread hashes again before it takes the next piece; evens out the threads."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in a directory, held against a manifest.

    Attributes:
        allocated: Units whose file has the right type and size, with the bytes set aside for it.
        strangers: Paths of everything else but the directories in between.
        finished: Those of the units that are not open to this process any more.
    """

    allocated: dict[int, int]
    strangers: tuple[str, ...]
    finished: tuple[int, ...] = ()


def survey(tree: Root, manifest: Manifest) -> Survey:
    """Look through a directory without following links.

    A file with a second name is a stranger, for others may write to it.

    Raises:
        StorageError: The system refused.
    """
    units = {unit.path: index for index, unit in enumerate(manifest.units)}
    directories = set(directories_of(units))
    allocated: dict[int, int] = {}
    strangers: list[str] = []
    finished: list[int] = []
    pending = [""]
    while pending:
        inner = pending.pop()
        with as_directory(tree, inner) as fd:
            found = confined.entries(fd)
        for name, facts in found:
            path = inside(inner, name)
            index = units.get(path)
            if stat.S_ISDIR(facts.st_mode) and path in directories:
                pending.append(path)
            elif index is not None and _is_intact(facts, manifest.units[index]):
                allocated[index] = facts.st_blocks * _STAT_BLOCK_BYTES
                if not facts.st_mode & stat.S_IWUSR or facts.st_uid != os.geteuid():
                    finished.append(index)
            else:
                strangers.append(path)
    return Survey(allocated, tuple(strangers), tuple(finished))


def take_up(
    tree: Root, manifest: Manifest, unwanted: Container[int], owner: Owner | None = None
) -> dict[int, int]:
    """Remove from a staging directory what is no file of a unit, or of one that is not wanted.

    Args:
        tree: The staging directory.
        manifest: What the version consists of.
        unwanted: Units of which nothing is wanted.
        owner: To whom an earlier run may have given files; what is of others is removed.

    Returns:
        The units whose files stay, with the bytes allocated for each.

    Raises:
        StorageError: The system refused.
    """
    seen = survey(tree, manifest)
    others = [manifest.units[unit].path for unit in seen.allocated if unit in unwanted]
    for path in (*seen.strangers, *others):
        tree.remove_tree(path)
    for unit in seen.finished:
        if unit not in unwanted and not _open_again(tree, manifest.units[unit].path, owner):
            tree.remove_tree(manifest.units[unit].path)
            del seen.allocated[unit]
    return {unit: size for unit, size in seen.allocated.items() if unit not in unwanted}


def _open_again(tree: Root, path: str, owner: Owner | None) -> bool:
    """Let this process write to a file again that an earlier run finished and did not place.

    Returns:
        Whether it is this process's now.
    """
    fd = tree.open_file(path, os.O_RDONLY)
    try:
        with mapping_os_errors(tree.absolute(path)):
            if owner is not None:
                owner.take_back(fd)
            if os.fstat(fd).st_uid != os.geteuid():
                return False
            os.fchmod(fd, STAGED_FILE_MODE)
            return True
    finally:
        os.close(fd)


def _is_intact(facts: os.stat_result, unit: Unit) -> bool:
    is_ours = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
    return is_ours and facts.st_size == unit.size_bytes


def matching(
    tree: Root,
    space: AddressSpace,
    blocks: BlockSet,
    *,
    check: Callable[[], None],
    path_of: Callable[[int], str] | None = None,
    skips_unreadable: bool = False,
) -> BlockSet:
    """Hash blocks on the disk and return those that are right.

    Several threads read side by side, each with one buffer of the longest block.

    Args:
        tree: Where the files are.
        space: What they should be.
        blocks: Which blocks to look at.
        check: Called before each block by all these threads; what it raises ends the hashing.
        path_of: Says where a unit's file is; ``None``: at its path.
        skips_unreadable: What cannot be read is not right, and no error.

    Raises:
        NotFound: A unit's file is not there.
        StorageError: The disk refused.

    Cost: reads all of them once.
    """
    portions = [portion for run in blocks.runs() for portion in _portions(space, run)]
    if not portions:
        return BlockSet()
    threads = min(os.cpu_count() or 1, _HASHING_THREADS_MAX, len(portions))
    shares = [portions[first::threads] for first in range(threads)]
    buffer_bytes = max(min(unit.block_size_bytes, unit.size_bytes) for unit in space.manifest.units)
    assert buffer_bytes <= BLOCK_BYTES_MAX

    def match(share: Sequence[BlockRun]) -> list[int]:
        found: list[int] = []
        buffer = page_buffer(max(buffer_bytes, 1))
        with Names(tree) as names:
            places = itertools.chain.from_iterable(space.places(run) for run in share)
            for index, of_unit in itertools.groupby(places, operator.attrgetter("unit")):
                path = path_of(index) if path_of else space.manifest.units[index].path
                try:
                    fd = names.open_file(path, os.O_RDONLY)
                except CkptdError:
                    if skips_unreadable:
                        continue
                    raise
                try:
                    with mapping_os_errors(tree.absolute(path)):
                        found += matching_blocks(
                            fd,
                            of_unit,
                            buffer=buffer,
                            check=check,
                            skips_unreadable=skips_unreadable,
                        )
                finally:
                    os.close(fd)
        return found

    with ThreadPoolExecutor(threads, "ckptd-rehash") as pool:
        found = itertools.chain.from_iterable(pool.map(match, shares))
        return BlockSet((block, block + 1) for block in found)


def _portions(space: AddressSpace, run: BlockRun) -> Iterator[BlockRun]:
    start = run.start
    while start < run.end:
        end = min(space.run_within(start, _PORTION_BYTES).end, run.end)
        yield BlockRun(start, end)
        start = end

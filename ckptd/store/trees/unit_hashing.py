"""Units hashed as a whole, most of them while the rest of the version still comes.

A unit's digest is not made of those of its blocks, so that they belong together shows only when
the unit is hashed from its first byte to its last. One thread follows what is committed, while the
pages are warm and cores wait for the network; what it did not come to, :meth:`UnitHashing.finish`
does before the version is placed. Units of one block are compared when the manifest comes, and what
this node has, or had, of the version was hashed both ways before: of that each block was verified.

Critical units are hashed at the end, all of them: what is checked there is what the disk returns.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from ckptd.buffers import page_buffer
from ckptd.errors import (
    CkptdError,
    ContentChanged,
    ContradictoryManifest,
    NotFound,
    VerificationFailed,
)
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import Manifest, Unit, contradiction
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.store.files.hashing import UnitHasher, unit_digest, wrong_blocks
from ckptd.store.files.kernel import drop_cached, mapping_os_errors
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.uncached_reading import UncachedReading
from ckptd.store.published.hash_runs import FilesOf, HashRun
from ckptd.store.trees.directories import swept

_THREADS_MAX: Final = 8
"""At the end. Each has a buffer of 8 to 32 MiB."""
_PIECE_BYTES: Final = MIB
"""What the thread that follows reads at once: what was copied is still in the cache of its core
when it is hashed, 0.33 s of a core for each GiB; with 16 MiB it is 0.41 s."""
_CHECKED_BYTES: Final = 8 * MIB
"""What is read at once where only whether a unit is right as a whole is still open."""
_BEGUN_MAX: Final = 256
"""Units that are hashed in part; each costs 2 KiB, and ranges of few units are under way."""


class _Ended(Exception):
    """The thread is to end."""


class _Taken(Exception):
    """The unit is hashed to its end by somebody who waits for it."""


class _Hashed(NamedTuple):
    """A unit that is hashed at the end."""

    number: int
    unit: Unit

    @property
    def place(self) -> str:
        return self.unit.path

    @property
    def size_bytes(self) -> int:
        return self.unit.size_bytes

    @property
    def grain_bytes(self) -> int:
        return self.unit.block_size_bytes


class UnitHashing:
    """The hashing of one recovery's units.

    Args:
        tree: Where the files are; open until :meth:`end`.
        space: What they should be.
        check: Called between two pieces; what it raises ends the hashing.
        is_warm: Returns whether what was read of a unit stays in the page cache.
        begun: Blocks that are there before any is written.
        is_proven: Says of which units it is known that their digests and those of their blocks
            belong together.
        cold: Returns the blocks that are not in the page cache, and are read past it.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        tree: Root,
        space: AddressSpace,
        *,
        check: Callable[[], None],
        is_warm: Callable[[int], bool] = lambda _: True,
        begun: BlockSet | None = None,
        is_proven: Callable[[int], bool] = lambda _: False,
        cold: Callable[[], BlockSet] = BlockSet,
    ) -> None:
        self._tree = tree
        self._space = space
        self._check = check
        self._is_warm = is_warm
        self._is_proven = is_proven
        self._cold = cold
        self._changed = threading.Condition()
        self._committed = begun or BlockSet()
        self._is_ended = False
        self._thread: threading.Thread | None = None
        self._begun: dict[int, UnitHasher] = {}
        self._right: set[int] = set()
        self._taken: set[int] = set()  # by whoever waits for them
        self._current: int | None = None  # what the thread hashes now

    def note(self, blocks: BlockSet, units: Iterable[int]) -> None:
        """Take note of blocks that were written; they may be hashed from now on.

        Args:
            blocks: Which ones.
            units: The units that they belong to.
        """
        with self._changed:
            if self._is_ended or not any(map(self._is_followed, units)):
                return
            self._committed |= blocks
            self._changed.notify_all()
            if self._thread is None:
                thread = threading.Thread(target=self._follow, name="ckptd-units", daemon=True)
                # Where none can be started now, the next call tries, and ``finish`` hashes all.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def end(self) -> None:
        """Hash nothing more in the background; returns when nothing is read any more."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def finish(self, left_out: Container[int]) -> None:
        """Hash the units that were not hashed so far, by several threads. May be called again.

        Args:
            left_out: Units to skip, by index.

        Raises:
            ContradictoryManifest: A unit has the digests of its blocks, and not its own.
            VerificationFailed: A unit is not what came.
            StorageError: The disk refused.
        """
        self.end()
        count = len(self._space.manifest.units)
        self._hash(index for index in range(count) if index not in left_out)

    def finish_some(self, units: Collection[int]) -> None:
        """Hash some units to their ends that are all there, while others still come.

        What the thread that follows began of them is gone on with.

        Args:
            units: Which ones, by index.

        Raises:
            ContradictoryManifest: As for :meth:`finish`, and so for the others.
            VerificationFailed: …
            StorageError: …
        """
        with self._changed:
            self._taken.update(units)
            self._changed.wait_for(lambda: self._current not in self._taken)
        self._hash(units)

    def _hash(self, wanted: Iterable[int]) -> None:
        all_units = self._space.manifest.units
        units = (
            index
            for index in wanted
            if index not in self._right and self._is_hashed(index, all_units[index])
        )
        HashRun(
            self._tree,
            FilesOf(array("I", units), lambda index: _Hashed(index, all_units[index])),
            lambda run, hashed, names, buffer: self._finish_unit(hashed, names, buffer),
            on_progress=lambda progress: None,
            is_cancelled=lambda: False,
        ).run(min(os.cpu_count() or 1, _THREADS_MAX))

    def _is_hashed(self, index: int, unit: Unit) -> bool:
        if unit.criticality is Criticality.CRITICAL:
            return True
        return unit.block_count > 1 and not self._is_proven(index)

    def _finish_unit(self, hashed: _Hashed, names: Names, buffer: memoryview) -> None:
        unit, begun = hashed.unit, self._begun.pop(hashed.number, None)
        if begun is not None:
            piece = buffer[:_PIECE_BYTES]
            self._read_on(names, hashed.number, begun, unit.size_bytes, piece, self._check)
        with self._open(names, hashed.number) as fd:
            if begun is None:
                digest = unit_digest(fd, unit.size_bytes, buffer=buffer, check=self._check)
            else:
                digest = begun.digest()
            if digest != unit.digest:
                raise self._fault_of(fd, unit, buffer)
        self._right.add(hashed.number)

    def _fault_of(self, fd: int, unit: Unit, buffer: memoryview) -> CkptdError:
        """Return whose fault it is that a unit does not have its digest."""
        wrong = wrong_blocks(
            fd, unit, buffer=buffer, on_progress=lambda size_bytes: self._check(), is_hurried=True
        )
        return differs(unit) if wrong else contradiction(unit)

    @contextmanager
    def _open(self, names: Names, index: int) -> Iterator[int]:
        unit = self._space.manifest.units[index]
        try:
            fd = names.open_file(unit.path, os.O_RDONLY)
        except NotFound as error:
            raise swept(self._tree, unit.path) from error
        try:
            with mapping_os_errors(self._tree.absolute(unit.path)):
                yield fd
                if not self._is_warm(index):
                    drop_cached(fd)
        except ContentChanged as error:
            raise differs(unit) from error
        finally:
            os.close(fd)

    # In the thread

    def _follow(self) -> None:
        seen, buffer = BlockSet(), page_buffer(_PIECE_BYTES)
        while True:
            with self._changed:
                while not self._is_ended and seen == self._committed:
                    self._changed.wait()
                if self._is_ended:
                    return
                new, seen = self._committed - seen, self._committed
            try:
                with Names(self._tree) as names:
                    for unit in self._space.units_of(new):
                        with self._followed(unit) as is_followed, suppress(_Taken):
                            if is_followed:
                                self._advance(names, unit, seen, buffer)
            except (CkptdError, OSError):
                continue  # whoever finishes it finds out, and says so
            except _Ended:
                return

    @contextmanager
    def _followed(self, index: int) -> Iterator[bool]:
        """Have a unit for a block of code, unless it is not followed or somebody took it."""
        with self._changed:
            is_followed = self._is_followed(index) and index not in self._taken
            self._current = index if is_followed else None
        try:
            yield is_followed
        finally:
            with self._changed:
                self._current = None
                self._changed.notify_all()

    def _advance(self, names: Names, index: int, committed: BlockSet, buffer: memoryview) -> None:
        """Hash a unit as far as all of it is there from its beginning."""
        unit, (first, end) = self._space.manifest.units[index], self._space.unit_run(index)
        run = committed.first_run(first)
        is_full = index not in self._begun and len(self._begun) >= _BEGUN_MAX
        if run is None or run.start != first or is_full:
            return
        upto = min((min(run.end, end) - first) * unit.block_size_bytes, unit.size_bytes)
        hasher = self._begun.setdefault(index, UnitHasher())
        try:
            self._read_on(names, index, hasher, upto, buffer, self._check_going_on)
        except (CkptdError, OSError):
            del self._begun[index]
            raise
        if upto == unit.size_bytes:
            del self._begun[index]
            if hasher.digest() == unit.digest:
                self._right.add(index)

    def _read_on(
        self,
        names: Names,
        index: int,
        hasher: UnitHasher,
        upto: int,
        buffer: memoryview,
        check: Callable[[], None],
    ) -> None:
        """Hash more of a unit's file; past the page cache what is not in it."""
        while hasher.done_bytes < upto:
            end, is_cold = self._next_stretch(index, hasher.done_bytes)
            with self._open(names, index) as fd:
                read = UncachedReading(fd).read_exactly if is_cold else None
                hasher.advance(fd, min(end, upto), buffer, check=check, read=read)

    def _next_stretch(self, index: int, start: int) -> tuple[int, bool]:
        """Return up to which byte of a unit all is cold, or nothing, and whether it is."""
        grain_bytes = self._space.manifest.units[index].block_size_bytes
        first, end = self._space.unit_run(index)
        block = first + start // grain_bytes
        run = self._cold().first_run(block)
        is_cold = run is not None and run.start == block
        stop = end if run is None else run.end if is_cold else run.start
        return (stop - first) * grain_bytes, is_cold

    def _check_going_on(self) -> None:
        self._check()
        if self._is_ended:
            raise _Ended
        if self._current in self._taken:
            raise _Taken

    def _is_followed(self, index: int) -> bool:
        unit = self._space.manifest.units[index]
        return unit.criticality is not Criticality.CRITICAL and self._is_hashed(index, unit)


def find_contradiction(
    root: Root,
    manifest: Manifest,
    units: Iterable[int],
    path_of: Callable[[int], str],
    *,
    check: Callable[[], None],
) -> ContradictoryManifest | None:
    """Look whether some units whose blocks are all right do not have their own digests.

    Args:
        root: Where their files are.
        manifest: What they should be.
        units: Which ones; what is gone or shorter by now is for the caller to find out.
        path_of: Says where a unit's file is.
        check: Called between two pieces; what it raises ends the hashing.

    Raises:
        StorageError: The disk refused.
    """
    buffer = page_buffer(_CHECKED_BYTES)
    with Names(root) as names:
        for index in units:
            unit, path = manifest.units[index], path_of(index)
            if unit.block_count <= 1:
                continue
            with suppress(NotFound, ContentChanged), _reading(names, path) as fd:
                with mapping_os_errors(root.absolute(path)):
                    digest = unit_digest(fd, unit.size_bytes, buffer=buffer, check=check)
                if digest != unit.digest:
                    return contradiction(unit)
    return None


@contextmanager
def _reading(names: Names, path: str) -> Iterator[int]:
    fd = names.open_file(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def differs(unit: Unit) -> VerificationFailed:
    """Return the error that a unit is not what came."""
    return VerificationFailed(
        f"{unit.criticality.label} unit {unit.path!r}",
        "was verified when it came and is something else now",
        "Check the disk and the memory of this node, then recover again.",
    )

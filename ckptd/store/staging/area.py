"""Where one recovery writes before its result becomes visible.

``<root>/.ckptd/<recovery>/`` mirrors the version's directory. A recovery goes through

    prepare → deliver, commit, release, widen, place_phase … → place → close

and may be discarded at any point. ``deliver`` is called by many lane threads at once, the rest
by one worker thread at a time, but that ``commit`` and ``release`` go on beside ``place_phase``;
all calls block.

Invariants:

* Only bytes with the right digest are written. Blocks of zeros are not: a file has its length from
  the start, and is a hole where nothing was written.
* What the journal claims was durable before: ``commit`` returns, the caller journals, ``release``.
* Verified bytes that are not in the journal are at most ``uncommitted_bytes_max``, so that a
  crash costs little; ``deliver`` waits while they are more.
* After a failed write or sync nothing more is written or synced here: the kernel reports a lost
  page once and then calls it clean (Rebello et al., *Can Applications Recover from fsync
  Failures?*, ATC 2020). What was journaled before stays good.
* The target is absent or right; an empty directory of that name counts as absent. Where the
  version stands already, in part or with faults, each of its files is the old or the new one.
  Placed by phases, each is absent or right, and none is there before all of earlier phases are.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from ckptd.errors import (
    CkptdError,
    NotFound,
    OutOfSpace,
    Shortage,
    StagingLost,
    StorageError,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.zeros import bytes_by_unit, zero_blocks
from ckptd.store.files import layout
from ckptd.store.files.hashed_directories import blocks_of
from ckptd.store.files.hashing import digest_of_zeros
from ckptd.store.files.kernel import mapping_os_errors, storage_error
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.staging import placing, preparing
from ckptd.store.staging.block_files import BlockFiles, Writing
from ckptd.store.staging.deliveries import BlockWrite, verify_delivery
from ckptd.store.staging.held import HeldBlocks
from ckptd.store.staging.lane_times import LaneTimes
from ckptd.store.staging.phases import (
    AllBut,
    PlacedUnits,
)
from ckptd.store.staging.placing import finish_directories
from ckptd.store.staging.staged_version import StagedVersion
from ckptd.store.staging.target import Target
from ckptd.store.staging.warmth import WarmBlocks, drop_files
from ckptd.store.trees import directories, leftovers
from ckptd.store.trees.equal_blocks import EqualBlocks, SimilarPlace
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.local_blocks import BlockCopier
from ckptd.store.trees.nearby import Nearby
from ckptd.store.trees.ownership import Owner
from ckptd.store.trees.partial_marker import remove_marker, write_marker
from ckptd.store.trees.standing_files import (
    NOTHING_HERE,
    KnownPlace,
    OnDisk,
    blocks_at,
    blocks_of_place,
    is_there,
)
from ckptd.store.trees.state_file import DescribeState, replace_state, stage_state
from ckptd.store.trees.unit_hashing import UnitHashing
from ckptd.store.trees.whole_units import is_whole, write_whole

_NO_BLOCKS: Final = BlockSet()
_SMALL_BLOCKS: Final = 8
"""This many in one delivery are small ones, which cost the interpreter more than the kernel. Only
one lane at a time handles them: several would hand the interpreter back and forth at every call,
which took a fifth longer with 20,000 files of 16 KiB from four sources."""


class Staging:
    """The files of one recovery until they are placed.

    Attributes:
        is_placed: The version stands under its final name.
        local: Blocks that :meth:`prepare` found on this node's disks, or that consist of zeros,
            and that no earlier run of the recovery left.
        zeros: Blocks of zeros that are here from the start, and are never written.
        finishing: What files and directories get last; may be set until :meth:`place`.
        target: What stands where the version belongs, and is put there.
        nearby: Where else on this node's disks blocks lie that are not here.
        held: Which blocks are here, and whether lanes wait for a commit.
        warm: What of it stays in the page cache.
        lane_times: How the lanes that deliver spend their time.
        served: The blocks among them that the journal has, for others to fetch.
    """

    def __init__(
        self,
        root: Root,
        recovery: RecoveryId,
        target: str,
        space: AddressSpace,
        writing: Writing | None = None,
        owner: Owner | None = None,
    ) -> None:
        self.is_placed = False
        self.local = BlockSet()
        self.nearby = Nearby()
        self._owner = owner
        self.finishing = Finishing(space.manifest, owner=owner)
        self._subject = f"recovery {recovery}"
        self.held = HeldBlocks(self._subject, space)
        self.lane_times = LaneTimes()
        self._root = root
        self._path = layout.staging_of(recovery)
        self._space = space
        self.served = StagedVersion(root, self._path, target, space)
        self.target = Target(root, target, space, recovery, owner, self.served)
        self._tree: Root | None = None
        self._hashing: UnitHashing | None = None
        self._hashing_begins = threading.Lock()
        writing = writing or Writing()
        self._warmth = writing.warmth
        self.warm = WarmBlocks.none(recovery, space)
        self._known: tuple[KnownPlace, ...] = ()
        self.zeros = BlockSet()
        self._zeros_known = BlockSet()  # also of what is not wanted
        self._unstaged: frozenset[int] = frozenset()  # units of which nothing is wanted
        self._placed = UnitFiles()
        self._small_turn = threading.Lock()
        self._unreserved: list[int] = []
        self._spoiled = ""  # which write or sync failed
        self._is_unwanted = threading.Event()
        self._files = BlockFiles(space, self._open_unit, writing.mode, lambda: self.warm.kept)

    def prepare(
        self,
        journaled: BlockSet,
        here: OnDisk = NOTHING_HERE,
        *,
        similar: tuple[SimilarPlace, ...] = (),
        unchosen: BlockSet = _NO_BLOCKS,
        reserved_elsewhere_bytes: int = 0,
        is_begun: bool = False,
    ) -> BlockSet:
        """Look at what is here, check and reserve room, create files or reuse what is there.

        May be called again after it failed; until then nothing is open.

        Args:
            journaled: Blocks that the journal claims; they are hashed again.
            here: What this node has of the version beside that.
            similar: Where other versions stand from which it may take blocks.
            unchosen: Blocks that are not wanted; there is no file for a unit of which none is.
            reserved_elsewhere_bytes: Sum of :attr:`promised_bytes` of the other recoveries
                on the same file system.
            is_begun: The recovery began to place the version at the target, phase by phase: what
                somebody changed there holds a phase up, and is no reason to refuse.

        Returns:
            Blocks that are here. All of them, with ``is_placed`` set, if the version stands at
            the target and is right. Then only :meth:`place` remains to be called.

        Raises:
            Conflict: The target exists and is something else, or somebody changed it.
            OutOfSpace: It does not fit; nothing that was made for it is left.
            UsageError: The target is where recoveries are staged.
            StorageError: The target is on another file system, the root is not where it was,
                or the system refused.
        """
        self.target.is_begun = is_begun
        try:
            return self._prepare(journaled, here, similar, unchosen, reserved_elsewhere_bytes)
        except CkptdError:
            self._close_tree()
            raise

    def _prepare(
        self,
        journaled: BlockSet,
        here: OnDisk,
        similar: tuple[SimilarPlace, ...],
        unchosen: BlockSet,
        reserved_bytes: int,
    ) -> BlockSet:
        root, space = self._root, self._space
        self._known = here.known_places
        root.check_in_place()
        preparing.check_target(root, self.target.path)
        wanted = space.units_of(BlockSet.full(space.block_count) - unchosen) if unchosen else ()
        self._unstaged = frozenset(space.units_of(unchosen)).difference(wanted)
        standing = self.target.look(here, self._unstaged, check=self._check_wanted)
        right = BlockSet()
        if standing is not None:
            right = standing.right_of(space)
            self.local = right - journaled
            self.held.add(right)
            self.served.expect_rename(standing.files)
            if self.target.is_begun:
                self.served.add(right)
            if standing.is_right and not unchosen:  # more may be wanted before it is placed
                root.remove_tree(self._path)  # of a run that was interrupted at its end
                self._tree = directories.open_tree(root, self.target.path)
                self._placed = standing.files
                self.is_placed = True
                return right
        self._zeros_known = zero_blocks(space, digest_of_zeros) - right
        staged = self._stage(journaled, self._zeros_known - unchosen, unchosen, reserved_bytes)
        self.local |= self.zeros - journaled
        self.nearby = self._look_nearby(
            here, similar, BlockSet.full(space.block_count) - right - staged
        )
        return right | staged

    def _stage(
        self, journaled: BlockSet, zeros: BlockSet, unchosen: BlockSet, reserved_bytes: int
    ) -> BlockSet:
        """Open the staging directory, with a file for every unit that is wanted from elsewhere."""
        root, space = self._root, self._space
        stands = self.target.units | self._unstaged
        if root.stat(self._path) is not None:
            self._tree = directories.make_staging(root, self._path, self._owner)
        is_new = self._tree is None
        left: dict[int, int] = {}
        if self._tree is not None:
            left = leftovers.take_up(self._tree, space.manifest, stands, self._owner)
        zero_bytes = bytes_by_unit(space, zeros)
        preparing.check_space(root, space.manifest, left, reserved_bytes, stands, zero_bytes)
        try:
            tree = self._tree = self._tree or directories.make_staging(root, self._path)
            if is_new:
                opens_group = self._owner is not None and self._owner.is_other
                directories.inherit_access(root, tree, self.target.path, opens_group=opens_group)
            self._unreserved = preparing.create_files(tree, space, stands.union(left), zeros)
        except CkptdError:
            if is_new:
                self._remove()
            raise
        for unit, allocated_bytes in left.items():
            data_bytes = space.manifest.units[unit].size_bytes - zero_bytes.get(unit, 0)
            if allocated_bytes < data_bytes:
                self._unreserved.append(unit)
        there = blocks_of(space, left)
        looked_at = (journaled | zeros) & there
        verified = leftovers.matching(tree, space, looked_at, check=self._check_wanted)
        verified |= zeros - there  # of files that were made just now
        brought = BlockSet.full(space.block_count) - blocks_of(space, stands)
        self.warm = self._warmth.begin(self.warm.recovery, space, brought)
        self._files.drop(looked_at)
        self.zeros = zeros & verified
        self.held.expect(space.size_bytes - space.set_bytes(self.zeros | unchosen))
        self.held.add(verified)
        self.served.add(verified)
        return verified

    def widen(self, blocks: BlockSet, *, reserved_elsewhere_bytes: int = 0) -> BlockSet:
        """Make room for more blocks than were wanted so far.

        Args:
            blocks: Which ones; none of them is being delivered.
            reserved_elsewhere_bytes: As for :meth:`prepare`.

        Returns:
            Those of them that consist of zeros: they are here.

        Raises:
            OutOfSpace: They do not fit; all is as it was.
            StagingLost: The directory was removed.
            StorageError: The system refused; all is as it was.
        """
        root, space, tree = self._root, self._space, self._tree
        assert tree is not None
        self._check_sound()
        root.check_in_place()
        if root.stat(self._path) is None:
            raise directories.swept(tree, "")
        units = self._unstaged.intersection(space.units_of(blocks))
        others = frozenset(range(len(space.manifest.units))) - units
        zeros = self._zeros_known & blocks
        preparing.check_space(
            root,
            space.manifest,
            {},
            reserved_elsewhere_bytes,
            others,
            bytes_by_unit(space, zeros),
        )
        self._unreserved += preparing.create_files(tree, space, others, self._zeros_known)
        self._unstaged -= units
        self._warmth.widen(self.warm, blocks_of(space, units))
        self.zeros |= zeros
        if self._hashing is not None:
            self._hashing.note(zeros, space.units_of(zeros))
        self.held.add(zeros)
        self.served.add(zeros)
        return zeros

    def _look_nearby(
        self, here: OnDisk, similar: tuple[SimilarPlace, ...], missing: BlockSet
    ) -> Nearby:
        """Say where else on this node's disks some blocks lie, as far as is known."""
        nearby, space = Nearby(), self._space
        standing = self.target.standing
        if standing is not None:
            find = partial(standing.local_blocks, self._root, space)
            nearby.add(standing.right_blocks & missing, find)
        for place in filter(is_there, here.elsewhere):
            nearby.add(blocks_of_place(place, space) & missing, partial(blocks_at, place, space))
        others = tuple(each for each in similar if is_there(each.known))
        equal = EqualBlocks(space, missing - nearby.blocks, others, self._check_wanted)
        nearby.add(equal.blocks, equal.find)
        return nearby

    @property
    def promised_bytes(self) -> int:
        """Bytes still to be written for which no room is reserved on the disk."""
        promised = 0
        for index in self._unreserved:
            unit = self._space.manifest.units[index]
            missing = self.held.missing_count(*self._space.unit_run(index)) * unit.block_size_bytes
            promised += min(missing, unit.size_bytes)
        return promised

    def path_of(self, unit: int) -> str:
        """Return where a unit's file is now, relative to the root."""
        standing = self.target.standing
        if standing is not None and (self.is_placed or standing.files.has(unit)):
            return standing.known.path_of(self._space.manifest, unit)
        directory = self.target.path if self.is_placed else self._path
        return layout.inside(directory, self._space.manifest.units[unit].path)

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        """Verify blocks and write those that are right and not here yet.

        Waits while too much is verified and not in the journal. The caller must report every
        block that is accepted, so that it will be committed and released.

        Args:
            places: The blocks, in the order of their bytes.
            data: Their bytes, end to end.

        Returns:
            Blocks whose digest is wrong; they are not written.

        Raises:
            OutOfSpace: There is no room; none of these blocks counts as here.
            Shortage: There is no descriptor or memory left; as before.
            StorageError: The disk refused, or the staging is over.
        """
        sample = self.lane_times.begin()
        admitted_bytes = self.held.admit(places)
        if sample is not None:
            sample.admit()
        written: list[BlockPlace] = []
        try:
            with self._small_turn if len(places) >= _SMALL_BLOCKS else contextlib.nullcontext():
                rejected, accepted, writes = verify_delivery(places, data, self.held)
                if sample is not None:
                    sample.begin_writing()
                with self._noticing_loss():
                    self._write_all(writes, data)
            written = accepted
            if sample is not None:
                sample.end_writing()
            self.lane_times.end(sample)
        finally:
            if admitted_bytes:
                self.held.note(written, admitted_bytes)
        return rejected

    def copier(self) -> BlockCopier:
        """Return what one lane copies with that takes blocks from this node's disks."""
        assert self._tree is not None
        return BlockCopier(
            self._tree,
            self._space.manifest,
            self._files,
            self.finishing.of_unit,
            self._check_wanted,
        )

    def take(self, places: Sequence[BlockPlace], copier: BlockCopier) -> tuple[int, ...]:
        """Copy blocks from where they lie nearby, and verify them; else as :meth:`deliver`.

        Nobody else may write these blocks meanwhile: wrong bytes are seen after they were copied.

        Args:
            places: The blocks.
            copier: Of the lane that takes them.

        Returns:
            Blocks that are right nowhere.

        Raises:
            StorageError: See :meth:`deliver`.
        """
        admitted_bytes = self.held.admit(places, is_copied=True)
        missing = {place.block: place for place in places if place.block not in self.held}
        taken: list[BlockPlace] = []

        def wanted() -> BlockSet:
            return BlockSet((block, block + 1) for block in missing)

        try:
            with self._noticing_loss(), self._writing():
                for found in self.nearby.find(wanted):
                    taken += (missing.pop(block) for block in copier.take(found))
        finally:
            if admitted_bytes:
                self.held.note(taken, admitted_bytes, is_copied=True)
        return tuple(missing)

    def _write_all(self, writes: Sequence[BlockWrite], data: memoryview) -> None:
        if not writes:
            return
        assert self._tree is not None
        with self._writing(), Names(self._tree) as names:
            for write in writes:
                unit = self._space.manifest.units[write.unit]
                part = data[write.start : write.end]
                if is_whole(unit):
                    write_whole(names, unit, part, self.finishing.of_unit(write.unit))
                else:
                    self._files.write(write.unit, write.offset, part)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say of what the system refuses whether anything may be written here after it."""
        assert self._tree is not None
        try:
            yield
        except NotFound as error:
            raise directories.swept(self._tree, "") from error
        except OSError as error:
            refusal = storage_error(self._subject, error)
            if not isinstance(refusal, OutOfSpace | Shortage):
                self._spoil(refusal)
            raise refusal from error

    def _open_unit(self, unit: int, flags: int) -> int:
        assert self._tree is not None
        path = self._space.manifest.units[unit].path
        try:
            return self._tree.open_file(path, flags)
        except NotFound as error:
            raise directories.swept(self._tree, path) from error

    def commit(self, blocks: BlockSet) -> None:
        """Make delivered blocks durable. They may go into the journal when this returns.

        Raises:
            StagingLost: A file was removed; the blocks must not be journaled.
            Shortage: It was not tried for lack of descriptors or memory; it may be called again.
            StorageError: The disk refused, now or earlier; the blocks must not be journaled.
        """
        assert self._tree is not None
        self._check_sound()
        units = self._space.units_of(blocks)
        try:
            with self._noticing_loss(), mapping_os_errors(self._tree.path):
                # syncfs if there are many files, or one was closed since: it reports what that
                # descriptor knew of a lost page (Linux 5.8). It also makes the names of units
                # that came whole durable.
                if not self._sync_files(units):
                    self._tree.sync()
                self._files.drop(blocks)
            self._hash_units(self._tree).note(blocks, units)
        except (StagingLost, Shortage):
            raise  # the disk did what was asked of it, or was asked for nothing
        except StorageError as error:
            self._spoil(error)
            raise

    def _sync_files(self, units: Sequence[int]) -> bool:
        assert self._tree is not None
        try:
            return self._files.sync(units)
        except FileNotFoundError as error:
            raise directories.swept(self._tree, error.filename) from error

    def release(self, blocks: BlockSet) -> None:
        """Note that the journal has these blocks; deliveries that wait continue."""
        self.held.release(blocks)
        self.served.add(blocks)

    def absent_units(self, missing: BlockSet, phase: int) -> list[int]:
        """Return the units that :meth:`place_phase` puts where nothing is.

        Args:
            missing: As for that.
            phase: Likewise.
        """
        return self.target.absent(self._units_to_place(missing, phase))

    def _units_to_place(self, missing: BlockSet, phase: int) -> list[int]:
        """Return the units of a phase and of those before it that can appear now, in order."""
        left_out = {*self._space.units_of(missing), *self._unstaged}
        return self.target.units_to_place(left_out, phase)

    def place_phase(self, missing: BlockSet, phase: int, describe: DescribeState) -> PlacedUnits:
        """Put the units of a phase under their final names, and those of phases before it.

        May run while other threads deliver, commit and release blocks of other units, but not
        beside :meth:`widen` or :meth:`place`. Commit markers of the format stay behind. May be
        called again; a unit that stands already is passed over.

        Args:
            missing: Blocks that are not durable here, of any phase; their units stay behind.
            phase: Which phase.
            describe: Returns what the state file says.

        Returns:
            Which units stand under their names since, and what is in the way of the others.

        Raises:
            ContradictoryManifest: As for :meth:`place`, and so for the others.
            VerificationFailed: …
            StagingLost: …
            StorageError: …
        """
        root, manifest = self._root, self._space.manifest
        self._check_sound()
        root.check_in_place()
        order = self._units_to_place(missing, phase)
        if self.is_placed or not (self.target.stands or order):
            return PlacedUnits({})
        self.held.wait_for_present_writers()
        try:
            tree = directories.open_tree(root, self._path)  # it has its own record of lost pages
        except NotFound as error:
            raise directories.swept(self._tree or root, "") from error
        try:
            with mapping_os_errors(self._subject):
                self._files.let_go(order)
            self._hash_units(self._tree or tree).finish_some(order)
            self.target.keep_modes(self.finishing)
            placing.finish(tree, manifest, AllBut(order), self.finishing, gives_directories=False)
            return self.target.put_phase(tree, order, phase, describe, self.finishing)
        except (OutOfSpace, Shortage, StagingLost):
            raise
        except StorageError as error:
            self._spoil(error)
            raise
        finally:
            tree.close()

    def place(self, missing: BlockSet, marker: bytes = b"", state: bytes = b"") -> UnitFiles:
        """Put the version under its final name. No block can be delivered any more.

        Critical units, and those with several blocks, are hashed once more from where they lie.
        May be called again.

        Args:
            missing: Blocks that are not here; their units are left out.
            marker: What the file says that marks a partial version; empty: it is none.
            state: What the file says that says how far it is; empty: it is not placed by phases,
                and never was.

        Returns:
            One file for each unit in manifest order, ``None`` for a unit that is left out.

        Raises:
            ContradictoryManifest: A unit cannot have its digest and those of its blocks.
            VerificationFailed: A unit is not what was written: other bytes of one that is hashed,
                wrong size of any.
            Conflict: The target exists by now.
            StagingLost: A file was removed, or all of them.
            StorageError: The system refused.
        """
        root, tree, manifest = self._root, self._tree, self._space.manifest
        assert tree is not None
        self._check_sound()
        self._end("is being placed")
        if self.is_placed:
            self._end_interrupted(tree, marker, state)
            return self._placed
        left_out = set(self._space.units_of(missing))
        for start, end in (BlockSet.full(self._space.block_count) - missing).runs():
            assert not self.held.missing_count(start, end), "blocks are not verified"
        skipped = left_out | self.target.units
        placing.leave_out(tree, manifest, left_out)
        if marker:
            write_marker(tree, marker)
        if state and not self.target.stands:
            stage_state(tree, state)
        self.target.check_still_there(tree)
        self._hash_units(tree).finish(skipped)
        if not self.target.stands:
            self.served.expect_rename(None)  # an earlier try may have come as far as this
        self.target.keep_modes(self.finishing)
        files = placing.finish(
            tree, manifest, skipped, self.finishing, gives_directories=not self.target.stands
        )
        root.check_in_place()
        if self.target.stands:
            files = self.target.put_right(tree, skipped, self.finishing, marker, state)
        else:
            self.served.expect_rename(files)
            placing.rename(root, self._path, self.target.path, tree, self._owner)
        self._placed = files
        self.is_placed = True
        cold = blocks_of(self._space, self._space.units_of(self._files.shared))
        lost = self._warmth.place(self.warm, missing | cold)
        drop_files(root, map(self.path_of, self._space.units_of(lost)))
        directories.remove_empty_staging_directory(root)
        return files

    def _end_interrupted(self, tree: Root, marker: bytes, state: bytes) -> None:
        """Do what a run had still to do that was interrupted when all stood in its place."""
        if not self.target.is_untouched:
            tree.sync()
        if not marker:
            remove_marker(self._root, self.target.path)  # of a run that was interrupted at its end
        if state:
            replace_state(self._root, self._path, self.target.path, state)
            self._remove()
        if self.target.is_begun and self.finishing.has_attributes:
            finish_directories(self._root, self.target.path, self._space.manifest, self.finishing)

    def close(self) -> None:
        """Make waiting deliveries fail, wait for those that write, close all files.

        Raises:
            StorageError: The disk refused to close a file.
        """
        self._end("is closed")
        self._close_tree()

    def interrupt(self) -> None:
        """Make hashing fail that is running, and any from now on. Any thread may call this.

        A daemon that stops does not need the result: the next one hashes again.
        """
        self._is_unwanted.set()

    def discard(self) -> None:
        """Close, and remove the whole staging directory. A placed version stays.

        Raises:
            StorageError: The system refused.
        """
        self.close()
        self._warmth.end(self.warm.recovery)
        self._remove()

    def _remove(self) -> None:
        self._root.remove_tree(self._path)
        directories.remove_empty_staging_directory(self._root)

    def _hash_units(self, tree: Root) -> UnitHashing:
        with self._hashing_begins:
            if self._hashing is None:
                self._hashing = UnitHashing(
                    tree,
                    self._space,
                    check=self._check_wanted,
                    is_warm=lambda unit: self._space.unit_run(unit)[0] in self.warm.kept,
                    begun=self.zeros,
                    is_proven=self._is_proven,
                    cold=lambda: self._files.shared,
                )
            return self._hashing

    def _is_proven(self, unit: int) -> bool:
        """Return whether a unit of the version was found here to have its digest."""
        return any(place.files.has(unit) for place in self._known)

    def _close_tree(self) -> None:
        if self._hashing is not None:
            self._hashing.end()
            self._hashing = None
        if self._tree is not None:
            self._tree.close()
            self._tree = None

    def _end(self, reason: str) -> None:
        self.held.end(reason)
        self.held.wait_for_writers()
        with mapping_os_errors(self._subject):
            self._files.close()

    @contextlib.contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        """Let lanes that wait for the journal know that nothing of this will get there any more."""
        try:
            yield
        except StagingLost as error:
            self.held.end(error.problem, StagingLost)
            raise

    def _spoil(self, error: CkptdError) -> None:
        self._spoiled = f"does not write any more: {error}"
        self.held.end(self._spoiled)

    def _check_wanted(self) -> None:
        if self._is_unwanted.is_set():
            raise CkptdError(self._subject, "was interrupted: the daemon stops")

    def _check_sound(self) -> None:
        if self._spoiled:
            raise StorageError(self._subject, self._spoiled)

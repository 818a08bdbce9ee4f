"""What stands where the version of one recovery belongs, and what is put there file by file.

Where the version stands already, in part or with faults, finished files take the places of those
that are missing or wrong. Where nothing stands, it comes by one rename of its directory (see
:mod:`ckptd.store.staging.placing`), unless its phases appear one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

from ckptd.errors import Conflict
from ckptd.model.ids import RecoveryId
from ckptd.model.space import AddressSpace
from ckptd.store.files import layout
from ckptd.store.files.fingerprints import UnitFile
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.files.version_state import read_state
from ckptd.store.staging.phases import (
    PlacedUnits,
    check_directories,
    check_replaceable,
    final_paths,
    make_way,
    placing_order,
    units_upto,
)
from ckptd.store.staging.placing import finish_directories
from ckptd.store.staging.staged_version import StagedVersion
from ckptd.store.trees import directories
from ckptd.store.trees.bare_names import BareNamesRepair
from ckptd.store.trees.directory_times import kept_times
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.ownership import Owner
from ckptd.store.trees.partial_marker import move_marker, remove_marker
from ckptd.store.trees.replacing import replace_files
from ckptd.store.trees.standing_files import (
    OnDisk,
    StandingFiles,
    WrongFile,
    look,
    nothing_stands,
)
from ckptd.store.trees.state_file import DescribeState, replace_state


class Target:
    """The directory that has, or will have, the final name of a version.

    Args:
        root: Where it is.
        path: Its path below the root.
        space: What the version consists of.
        recovery: Which recovery brings it.
        owner: Whose directories become that are made above it.
        served: The version as it is served meanwhile.

    Attributes:
        path: As above.
        standing: What stands there of the version; ``None``: nothing does.
        is_begun: The version was placed in part, phase by phase, where nothing was before.
        replaced: How many files :meth:`put_right` put right where the version stood.
    """

    def __init__(
        self,
        root: Root,
        path: str,
        space: AddressSpace,
        recovery: RecoveryId,
        owner: Owner | None,
        served: StagedVersion,
    ) -> None:
        self.path = path
        self.standing: StandingFiles | None = None
        self.is_begun = False
        self.replaced = 0
        self._root = root
        self._space = space
        self._manifest = space.manifest
        self._staging = layout.staging_of(recovery)
        self._kept_in = layout.replaced_by(recovery)
        self._owner = owner
        self._served = served
        self._has_put = False
        self._is_overwriting = False

    def look(
        self, here: OnDisk, left_out: Collection[int], *, check: Callable[[], None]
    ) -> StandingFiles | None:
        """Look at what stands there.

        Args:
            here: What this node has of the version.
            left_out: Units that are not wanted.
            check: Called before each block that is hashed; what it raises ends it.

        Returns:
            What is right there and what is not; ``None``: nothing stands there.

        Raises:
            Conflict: It is something else, or somebody changed it.
            StorageError: The system refused.
        """
        self._is_overwriting = here.is_overwriting
        found = look(
            self._root,
            self.path,
            self._space,
            here.at_target,
            check=check,
            is_begun=self.is_begun,
        )
        self.standing = None if found is None else found.without(left_out)
        if self.standing is not None and not self.is_begun:
            self.standing.check_replaceable(
                self._root, self.path, is_overwriting=here.is_overwriting
            )
        return self.standing

    @property
    def stands(self) -> bool:
        """Something of the version stands there, and is put right where it stands."""
        return self.standing is not None

    @property
    def is_untouched(self) -> bool:
        """The version stands there just as it was recorded: there is nothing to do."""
        standing = self.standing
        return standing is not None and not self._has_put and standing.is_untouched

    @property
    def files(self) -> UnitFiles | None:
        """The files that stand under their names already; ``None``: nothing does."""
        return None if self.standing is None else self.standing.files

    @property
    def units(self) -> frozenset[int]:
        """The units whose files these are."""
        return frozenset() if self.standing is None else frozenset(self.standing.files.units())

    def units_to_place(self, left_out: Collection[int], phase: int) -> list[int]:
        """Return the units of a phase and of those before it that can appear now, in order.

        Args:
            left_out: Units that are not all here, or not wanted.
            phase: Which phase.
        """
        standing, manifest = self.standing, self._manifest
        units = [
            unit
            for unit in units_upto(manifest, phase)
            if unit not in left_out and not (standing and standing.files.has(unit))
        ]
        return placing_order(manifest, units)[0]

    def absent(self, units: list[int]) -> list[int]:
        """Return those of some units to place at whose names nothing is."""
        standing = self.standing
        if standing is None:
            return units
        files = ((unit, standing.to_put(self._manifest, unit)) for unit in units)
        return [
            unit
            for unit, file in files
            if file.fingerprint is None or self._root.stat(file.path) is None
        ]

    def keep_modes(self, finishing: Finishing) -> None:
        """Give files that take the places of others the modes of those."""
        if self.standing is not None:
            self.standing.keep_modes(self._root, finishing)

    def check_still_there(self, tree: Root) -> None:
        """Check that nobody removed what was placed before the rest.

        Raises:
            StagingLost: A file is gone.
            StorageError: The system refused.
        """
        if self.standing is None or not self.is_begun:
            return
        known, manifest = self.standing.known, self._manifest
        with Names(self._root) as names:
            for unit in self.standing.files.units():
                if names.stat(path := known.path_of(manifest, unit)) is None:
                    raise directories.swept(tree, self._root.absolute(path))

    def put_phase(
        self,
        tree: Root,
        order: Sequence[int],
        phase: int,
        describe: DescribeState,
        finishing: Finishing,
    ) -> PlacedUnits:
        """Rename finished units of a phase to where they belong.

        Args:
            tree: The staging directory.
            order: Which ones, in the order in which they become visible.
            phase: Which phase.
            describe: Returns what the state file says.
            finishing: What directories get last.

        Returns:
            Which units stand under their names since, and what is in the way of the others.

        Raises:
            StagingLost: A finished file was removed from staging.
            StorageError: The system refused.
        """
        root, manifest, target = self._root, self._manifest, self.path
        standing, put = self.standing, dict[int, UnitFile]()
        try:
            if standing is None:
                make_way(root, target, self._owner)
                standing = nothing_stands(root, target, manifest)
                self.is_begun = True
            paths = final_paths(standing, manifest, order)
            check_directories(root, target, [layout.inside(target, ""), *paths])
        except Conflict as error:
            return PlacedUnits(put, error)
        obstacle: Conflict | None = None
        self._served.begin_moving()
        try:
            with kept_times(root, target, paths, finishing):
                try:
                    if read_state(root, target) is None:
                        said = describe(standing.files.has, 0)
                        replace_state(root, self._staging, target, said)
                    wrong = self._to_put(standing, order)
                    replace_files(root, tree, manifest, wrong, put, kept_in=self._kept_in)
                    here = standing.with_files(put).files
                    said = describe(here.has, phase + 1)
                    replace_state(root, self._staging, target, said)
                except Conflict as error:
                    obstacle = error
        finally:
            self.standing, self._has_put = standing.with_files(put), True
            self._served.end_moving(self.standing.files)
        return PlacedUnits(put, obstacle)

    def put_right(
        self,
        tree: Root,
        skipped: Collection[int],
        finishing: Finishing,
        marker: bytes,
        state: bytes,
    ) -> UnitFiles:
        """Let finished files take the places of wrong ones where the version stands.

        Args:
            tree: The staging directory, which is removed afterwards.
            skipped: Units that are right, or left out.
            finishing: What directories get last.
            marker: As for :meth:`Staging.place`.
            state: Likewise.

        Returns:
            The files that stand there since.

        Raises:
            Conflict: A file changed since it was looked at.
            StagingLost: A finished file was removed from staging.
            StorageError: The system refused.
        """
        root, manifest, standing = self._root, self._manifest, self.standing
        assert standing is not None
        units = (unit for unit in range(len(manifest.units)) if unit not in skipped)
        order, last = placing_order(manifest, units)
        if not standing.is_recorded:
            root.sync()  # what is right and not ours may be in memory only
        bare = BareNamesRepair(root, standing.wrong_names, self._kept_in)
        paths = [*final_paths(standing, manifest, (*order, *last)), *bare.paths()]
        put: dict[int, UnitFile] = {}
        self._served.begin_moving()
        try:
            with kept_times(root, self.path, paths, finishing):
                kept_in, wrong = self._kept_in, partial(self._to_put, standing)
                replace_files(root, tree, manifest, wrong(order), put, kept_in=kept_in)
                bare.put_right(finishing)
                replace_files(root, tree, manifest, wrong(last), put, kept_in=kept_in)
                if marker:
                    move_marker(root, tree, self.path)
                else:
                    remove_marker(root, self.path)
                if state:
                    replace_state(root, self._staging, self.path, state)
        finally:
            if put:
                self.standing, self._has_put = standing.with_files(put), True
            self._served.end_moving(standing.with_files(put).files)
        if self.is_begun:
            finish_directories(root, self.path, manifest, finishing)
        else:
            self.replaced = len(put) + len(standing.wrong_names)
        root.remove_tree(self._staging)
        return standing.with_files(put).files

    def _to_put(
        self, standing: StandingFiles, order: Iterable[int]
    ) -> Iterator[tuple[int, WrongFile]]:
        for unit in order:
            file = standing.to_put(self._manifest, unit)
            is_overwriting = self._is_overwriting
            yield unit, check_replaceable(self._root, file, is_overwriting=is_overwriting)

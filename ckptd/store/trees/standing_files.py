"""What stands at the target of a recovery already, compared with what is to stand there.

A version that stands there, whole or in part, is put right file by file, and what is right stays.
A file whose fingerprint is the recorded one is right, unless it is known not to be; every other
one is hashed. What is wrong falls in two: a file that nobody touched since it was recorded has
rotted, and may be replaced; any other is somebody's work, and is replaced only on demand.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from ckptd.errors import CkptdError, Conflict, StorageError
from ckptd.limits import MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import Fingerprint, UnitFile, fingerprint_of, is_unchanged
from ckptd.store.files.hashed_directories import blocks_of, held_blocks
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.bare_names import WrongName, bare_names_of, wrong_names
from ckptd.store.trees.compressed_units import AsTheyStand, as_they_stand
from ckptd.store.trees.directories import is_free
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.leftovers import matching
from ckptd.store.trees.local_blocks import LocalBlock
from ckptd.store.trees.unit_hashing import find_contradiction

_RACY_NS: Final = 20 * MS
"""Two writes within one tick of the kernel's clock leave one timestamp, as in publishing."""

_FILES_NAMED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class KnownPlace:
    """A directory of this node in which a version stands, as the catalog knows it.

    Attributes:
        root: The root it lies in.
        directory: Path relative to the root.
        files: What was recorded of each unit; ``None``: it was left out.
        changed: Units whose content is known to be wrong, whatever their fingerprints say.
        number: Its name in the catalog.
    """

    root: Root
    directory: str
    files: UnitFiles
    changed: frozenset[int] = frozenset()
    number: int = 0

    def path_of(self, manifest: Manifest, unit: int) -> str:
        """Return where a unit's file lies, or would lie, relative to the root."""
        return self.files.path_of(unit, inside(self.directory, manifest.units[unit].path))


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What of a version this node has, for a recovery of it.

    Attributes:
        at_target: The version stands at the target; ``None``: not as far as the catalog knows.
        elsewhere: Other places of the version.
        is_overwriting: Replace also what somebody changed at the target.
    """

    at_target: KnownPlace | None = None
    elsewhere: tuple[KnownPlace, ...] = ()
    is_overwriting: bool = False

    @property
    def known_places(self) -> tuple[KnownPlace, ...]:
        """All places of the version, as it is recorded of them."""
        return self.elsewhere if self.at_target is None else (self.at_target, *self.elsewhere)


NOTHING_HERE: Final = OnDisk()


class WrongFile(NamedTuple):
    """A unit that does not stand as it should.

    Attributes:
        path: Where its file is to be, relative to the root.
        fingerprint: What is there was this when it was looked at; ``None``: there is nothing.
        is_touched: Somebody may have meant it to be what it is: it was changed since it was
            recorded, or never was.
        link_target: As in the file that was recorded.
    """

    path: str
    fingerprint: Fingerprint | None
    is_touched: bool
    link_target: str = ""


@dataclass(frozen=True, slots=True)
class StandingFiles:
    """What stands at a target.

    Attributes:
        known: What is known of the place; says where the file of each unit is, or is to be.
        files: The units that stand as they should, with the fingerprints of what was hashed.
        wrong: All others.
        right_blocks: Blocks of wrong units whose bytes are right where they are.
        is_recorded: All that is right is just what was recorded.
        wrong_names: Links and empty directories that do not stand as they should.
    """

    known: KnownPlace
    files: UnitFiles
    wrong: dict[int, WrongFile]
    right_blocks: BlockSet
    is_recorded: bool
    wrong_names: Mapping[str, WrongName]

    @property
    def is_right(self) -> bool:
        """All of it stands as it should that is to stand there."""
        return not (self.wrong or self.wrong_names)

    def without(self, units: Collection[int]) -> StandingFiles:
        """Return the same, if some units need not stand there."""
        if not units:
            return self
        wrong = {unit: file for unit, file in self.wrong.items() if unit not in units}
        return replace(self, wrong=wrong)

    def to_put(self, manifest: Manifest, unit: int) -> WrongFile:
        """Return what there is in the place of a unit that does not stand as it should."""
        found = self.wrong.get(unit)
        return found or WrongFile(self.known.path_of(manifest, unit), None, is_touched=False)

    def with_files(self, put: Mapping[int, UnitFile]) -> StandingFiles:
        """Return the same, with some units put right."""
        files = self.files.copied()
        for unit, file in put.items():
            files[unit] = file
        wrong = {unit: file for unit, file in self.wrong.items() if unit not in put}
        return replace(self, files=files, wrong=wrong)

    def check_replaceable(self, root: Root, target: str, *, is_overwriting: bool) -> None:
        """Check that what is wrong may be put right.

        Args:
            root: Where the target is.
            target: Its path below the root.
            is_overwriting: Also what somebody changed.

        Raises:
            Conflict: Somebody changed a file, and nobody said that it may be replaced.
        """
        touched = [wrong.path for wrong in self.wrong.values() if wrong.is_touched]
        touched += [wrong.expected.path for wrong in self.wrong_names.values() if wrong.facts]
        if touched and not is_overwriting:
            is_one = len(touched) == 1
            raise Conflict(
                f"target {root.absolute(target)}",
                f"exists already, and {_listed(touched)} differ{'s' * is_one} from the version: "
                f"somebody changed {'it' if is_one else 'them'}",
                f"Keep {'it' if is_one else 'them'} aside and put the version right with "
                "--overwrite, choose another target with --to, or remove it.",
            )

    def keep_modes(self, root: Root, finishing: Finishing) -> None:
        """Have files that take the place of others get the modes of those."""
        for unit, wrong in self.wrong.items():
            facts = root.stat(wrong.path)
            if facts is not None and wrong.fingerprint is not None:
                finishing.keep(unit, facts, None if wrong.is_touched else facts.st_mtime_ns)

    @property
    def is_untouched(self) -> bool:
        """There is nothing to do, and nothing new to record."""
        return self.is_recorded and self.is_right

    def right_of(self, space: AddressSpace) -> BlockSet:
        """Return the blocks of the units that are right."""
        return held_blocks(space, self.files)

    def local_blocks(
        self, root: Root, space: AddressSpace, wanted: BlockSet
    ) -> Iterator[LocalBlock]:
        """Yield what of some blocks can be taken from the files that are wrong."""
        for run in (self.right_blocks & wanted).runs():
            for place in space.places(run):
                path = self.known.path_of(space.manifest, place.unit)
                yield LocalBlock(place, root, path, place.offset)


def blocks_of_place(known: KnownPlace, space: AddressSpace) -> BlockSet:
    """Return the blocks that a place has as far as is known."""
    return held_blocks(space, known.files) - blocks_of(space, known.changed)


def is_there(known: KnownPlace) -> bool:
    """Return whether the directory of a place stands; one that was removed hides no other place."""
    try:
        return known.root.stat(known.directory) is not None
    except CkptdError:
        return False


def blocks_at(known: KnownPlace, space: AddressSpace, wanted: BlockSet) -> Iterator[LocalBlock]:
    """Yield where a place may have some blocks of its version."""
    for run in wanted.runs():
        for block in space.places(run):
            if known.files.has(block.unit):
                path = known.path_of(space.manifest, block.unit)
                yield LocalBlock(
                    block,
                    known.root,
                    path,
                    block.offset,
                    known.number,
                    block.unit,
                    is_compressed=known.files.is_compressed(block.unit),
                )


def look(
    root: Root,
    target: str,
    space: AddressSpace,
    known: KnownPlace | None,
    *,
    check: Callable[[], None],
    is_begun: bool = False,
) -> StandingFiles | None:
    """Compare what stands at a target with a version.

    Args:
        root: Where the target is.
        target: Its path below the root.
        space: What is to stand there.
        known: What the catalog knows of it; ``None``: that it is not this version.
        check: Called before each block that is hashed, by several threads; what it raises ends it.
        is_begun: The recovery began to place it there, file by file.

    Returns:
        What is right there and what is not; ``None`` if nothing stands there.

    Raises:
        Conflict: It is something else: no directory, or one in which no file has a unit's name;
            or a file changed while it was looked at.
        StorageError: The system refused.

    Cost: one ``stat`` for each unit; reads the files that have another fingerprint than was
        recorded.
    """
    if is_free(root, target):
        return None
    found = root.stat(target)
    if found is None or not stat.S_ISDIR(found.st_mode) or (not target and known is None):
        raise _taken(root, target, "exists already")
    manifest = space.manifest
    known = known or KnownPlace(root, target, UnitFiles.of_none(len(manifest.units)))
    as_recorded = AsTheyStand(known.files, known.changed, is_recorded=True)
    stands = as_they_stand(root, known.directory, as_recorded, manifest, check=check)
    known = replace(known, files=stands.files, changed=stands.changed)
    seen = _look_at_all(root, manifest, known)
    if seen.is_empty and not is_begun and not any(True for _ in known.files.units()):
        raise _taken(root, target, "exists already and holds other files")
    good = _find_right(root, space, known, seen, check)
    files = seen.files
    wrong = {
        unit: _wrong_file(known.path_of(manifest, unit), seen.doubtful.get(unit), known.files[unit])
        for unit in sorted(files.absent())
    }
    bare = wrong_names(root, bare_names_of(target, manifest))
    if (wrong or bare) and found.st_dev != root.device:
        raise StorageError(
            f"target {root.absolute(target)}",
            "is on another file system than its root, and has to be put right",
            f"Make {root.absolute(target)} a root of its own.",
        )
    return StandingFiles(
        known=known,
        files=files,
        wrong=wrong,
        right_blocks=good - held_blocks(space, files),
        is_recorded=stands.is_recorded and not any(files.has(unit) for unit in seen.doubtful),
        wrong_names=bare,
    )


def nothing_stands(root: Root, target: str, manifest: Manifest) -> StandingFiles:
    """Return what stands at a target at which nothing does: each unit is to come.

    Those are not listed; see :meth:`StandingFiles.to_put`.
    """
    none = UnitFiles.of_none(len(manifest.units))
    return StandingFiles(
        known=KnownPlace(root, target, none),
        files=none,
        wrong={},
        right_blocks=BlockSet(),
        is_recorded=True,
        wrong_names=wrong_names(root, bare_names_of(target, manifest)),
    )


class _Seen(NamedTuple):
    """What a look at the files showed.

    Attributes:
        files: Those that are just what was recorded; gets those that are right nevertheless.
        doubtful: What others are: to be hashed, if they are files.
        is_empty: There is nothing of that name for any unit.
    """

    files: UnitFiles
    doubtful: dict[int, os.stat_result]
    is_empty: bool


def _look_at_all(root: Root, manifest: Manifest, known: KnownPlace) -> _Seen:
    files = UnitFiles.of_none(len(manifest.units))
    doubtful: dict[int, os.stat_result] = {}
    is_empty, files_of = True, known.files
    with Names(root) as names:
        for unit, of_unit in enumerate(manifest.units):
            facts = names.stat(files_of.path_of(unit, inside(known.directory, of_unit.path)))
            if facts is None:
                continue
            is_empty = False
            file = known.files[unit]
            if file and unit not in known.changed and is_unchanged(facts, file.fingerprint):
                files[unit] = file
            else:
                doubtful[unit] = facts
    return _Seen(files, doubtful, is_empty)


def _find_right(
    root: Root, space: AddressSpace, known: KnownPlace, seen: _Seen, check: Callable[[], None]
) -> BlockSet:
    """Hash the files that are in doubt, and take in those that are right.

    Args:
        root: Where the files are.
        space: What they should be.
        known: What was recorded of them.
        seen: What each was; made to be what it was when it was hashed.
        check: Called before each block that is hashed.

    Returns:
        Which of their blocks are right.
    """
    doubtful = seen.doubtful
    units = [unit for unit, facts in doubtful.items() if stat.S_ISREG(facts.st_mode)]
    good = _hash_all(root, space, known, doubtful, units, check)
    for unit in units:
        facts = doubtful[unit]
        run = space.unit_run(unit)
        is_right = len(good & BlockSet.of_run(run)) == run[1] - run[0]
        if is_right and facts.st_size == space.manifest.units[unit].size_bytes:
            link = known.files.links().get(unit, "")
            seen.files[unit] = UnitFile(fingerprint_of(facts), link)
    return good


def _hash_all(
    root: Root,
    space: AddressSpace,
    known: KnownPlace,
    doubtful: dict[int, os.stat_result],
    units: list[int],
    check: Callable[[], None],
) -> BlockSet:
    """Hash some units where they stand; update what was seen of them to what was hashed."""
    if not units:
        return BlockSet()
    _let_settle(doubtful[unit] for unit in units)
    path_of = partial(known.path_of, space.manifest)
    before = _stat_all(root, map(path_of, units))
    good = matching(
        root,
        space,
        blocks_of(space, units),
        check=check,
        path_of=path_of,
        skips_unreadable=True,
    )
    right = [unit for unit in units if BlockSet.of_run(space.unit_run(unit)).issubset(good)]
    new = [unit for unit in right if not known.files.has(unit)]  # the others were compared before
    contradiction = find_contradiction(root, space.manifest, new, path_of, check=check)
    after = _stat_all(root, map(path_of, units))
    for unit, first, second in zip(units, before, after, strict=True):
        if not (first and second) or fingerprint_of(first) != fingerprint_of(second):
            raise _taken(root, path_of(unit), "changed while it was looked at")
        doubtful[unit] = second
    if contradiction is not None:
        raise contradiction
    return good


def _stat_all(root: Root, paths: Iterable[str]) -> list[os.stat_result | None]:
    with Names(root) as names:
        return [names.stat(path) for path in paths]


def _let_settle(facts: Iterable[os.stat_result]) -> None:
    """Wait until any later write to some files will change their fingerprints."""
    now_ns = time.time_ns()
    ages = [abs(now_ns - of_file.st_ctime_ns) for of_file in facts]
    youngest = min(ages, default=_RACY_NS)
    if youngest < _RACY_NS:
        threading.Event().wait((_RACY_NS - youngest) / SECOND)


def _wrong_file(path: str, facts: os.stat_result | None, recorded: UnitFile | None) -> WrongFile:
    if facts is None:
        return WrongFile(path, None, is_touched=False, link_target=_link_target(recorded))
    is_rot = recorded is not None and is_unchanged(facts, recorded.fingerprint)
    return WrongFile(path, fingerprint_of(facts), not is_rot, _link_target(recorded))


def _link_target(recorded: UnitFile | None) -> str:
    return recorded.link_target if recorded else ""


def _listed(paths: list[str]) -> str:
    more = len(paths) - _FILES_NAMED_MAX
    some = ", ".join(repr(path) for path in paths[:_FILES_NAMED_MAX])
    return f"{some} and {more} more" if more > 0 else some


def _taken(root: Root, target: str, problem: str) -> Conflict:
    return Conflict(
        f"target {root.absolute(target)}", problem, "Choose another with --to, or remove it."
    )

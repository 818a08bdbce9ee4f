"""The files that were found in a directory that is to be published, in columns.

As objects half a million of them take 150 MiB; here as many bytes each as their paths have, and 16
more. One is made when it is looked at.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

from ckptd.model.manifest import ONE_PHASE, block_size_for
from ckptd.model.policy.assignment import Assignment, UnitWords, assign
from ckptd.store.files.layout import inside
from ckptd.store.files.packed_paths import PackedPaths


class Candidate(NamedTuple):
    """A file to be hashed.

    Attributes:
        number: Which of those that were found.
        path: Relative to the directory, the unit's path.
        place: Relative to the root, links followed.
        is_symlink: The two differ by more than the directory.
        size_bytes: When it was found.
        words: What is said of it.
    """

    number: int
    path: str
    place: str
    is_symlink: bool
    size_bytes: int
    words: UnitWords = UnitWords()

    @property
    def grain_bytes(self) -> int:
        """How long its blocks will be."""
        return block_size_for(self.size_bytes)


class Candidates(Sequence[Candidate]):
    """Files to be hashed, in the order in which they were found.

    Whoever finds them adds them. Then any thread may read.

    Args:
        directory: The one they are in, relative to the root.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._paths = PackedPaths()
        self._sizes = array("Q")
        self._assignment: Assignment | None = None
        self._followed: dict[int, str] = {}

    def add(self, path: str, size_bytes: int) -> None:
        """Add a file that lies in the directory itself.

        Args:
            path: Relative to the directory.
            size_bytes: Its length.
        """
        self._paths.append(path)
        self._sizes.append(size_bytes)

    def describe(self, assignment: Assignment) -> None:
        """Take what is said of all of them, in place of what was said before.

        Args:
            assignment: By the numbers of the files.
        """
        assert len(assignment.kind_of) == len(self)
        self._assignment = assignment

    def follow(self, place: str) -> None:
        """Take note that the file that is added next is reached by a symbolic link.

        Args:
            place: Where it lies, relative to the root.
        """
        self._followed[len(self)] = place

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        return self._made(index % len(self), self._paths[index])

    def __iter__(self) -> Iterator[Candidate]:
        for number, path in enumerate(self._paths):
            yield self._made(number, path)

    def _made(self, number: int, path: str) -> Candidate:
        followed = self._followed.get(number)
        return Candidate(
            number,
            path,
            inside(self._directory, path) if followed is None else followed,
            followed is not None,
            self._sizes[number],
            UnitWords() if self._assignment is None else self._assignment.of(number),
        )

    @property
    def directory(self) -> str:
        """The directory they are in, relative to the root."""
        return self._directory

    @property
    def size_bytes(self) -> int:
        """Their length together."""
        return sum(self._sizes)

    @property
    def assignment(self) -> Assignment:
        """What is said of all of them."""
        if self._assignment is None:
            return assign(self._paths, ())
        return self._assignment

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of the version."""
        return ONE_PHASE if self._assignment is None else self._assignment.phases

    @property
    def sizes(self) -> Sequence[int]:
        """The length of each."""
        return self._sizes

    @property
    def paths(self) -> Sequence[str]:
        """Their paths, relative to the directory."""
        return self._paths

    def places(self) -> Places:
        """Return where they lie."""
        followed = self._followed.items()
        return Places(self._directory, {self._paths[number]: place for number, place in followed})

    def in_urgency_order(self) -> array[int]:
        """Return their numbers in the order of the units that they become.

        Memory: that of their paths as text, for as long as it takes.
        """
        order, paths = array("I"), list(self._paths)
        if self._assignment is None:
            order.extend(sorted(range(len(self)), key=paths.__getitem__))
            return order
        kinds, kind_of = self._assignment.kinds, self._assignment.kind_of
        classes = [(kind.phase, kind.criticality) for kind in kinds]
        for place in sorted({classes[kind] for kind in set(kind_of)}):
            same = (at for at, kind in enumerate(kind_of) if classes[kind] == place)
            order.extend(sorted(same, key=paths.__getitem__))
        return order


class Places(NamedTuple):
    """Where files of a directory lie below the root.

    Attributes:
        directory: The directory.
        elsewhere: Those that do not lie in it by their own path, by that.
    """

    directory: str
    elsewhere: dict[str, str]

    def of(self, path: str) -> str:
        """Return where a file lies."""
        return self.elsewhere.get(path) or inside(self.directory, path)

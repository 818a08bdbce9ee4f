"""The files of a version's units, in columns.

As objects the files of half a million units take 160 MB, here 41 bytes each; one is made when it is
looked at. They are encoded column by column as well: what is alike in all files compresses well.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, overload

import msgspec

from ckptd.errors import DamagedState
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.layout import compressed

_ABSENT, _HERE, _WRONG = range(3)
_UNSIGNED: Final = 2**64 - 1
_MAP: Final = 0x80
_OBJECTS: Final = msgspec.msgpack.Decoder(tuple[UnitFile | None, ...])


class _Columns(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is encoded: of each column the first bytes of all values, then the second ones."""

    states: bytes
    columns: tuple[bytes, ...]
    links: dict[int, str]
    plain: dict[int, int] = {}


_COLUMNS: Final = msgspec.msgpack.Decoder(_Columns)


class UnitFiles(Sequence[UnitFile | None]):
    """The files of units in manifest order; ``None`` for a unit of which there is none.

    Whoever makes them may change them until others have them. Then any thread may read.

    Args:
        files: What to begin with.
    """

    __slots__ = (
        "_ctimes",
        "_devices",
        "_inodes",
        "_links",
        "_mtimes",
        "_plain",
        "_sizes",
        "_states",
    )

    def __init__(self, files: Iterable[UnitFile | None] = ()) -> None:
        self._states = bytearray()
        self._devices = array("Q")
        self._inodes = array("Q")
        self._sizes = array("Q")
        self._mtimes = array("q")
        self._ctimes = array("q")
        self._links: dict[int, str] = {}
        self._plain: dict[int, int] = {}
        for file in files:
            self.append(file)

    @classmethod
    def of_none(cls, count: int) -> UnitFiles:
        """Return as many units of which there is no file."""
        made = cls()
        made._lengthen(count)
        return made

    def _lengthen(self, count: int) -> None:
        self._states.extend(bytes(count))
        for column in self._columns():
            column.frombytes(bytes(column.itemsize * count))

    def _columns(self) -> tuple[array[int], ...]:
        return self._devices, self._inodes, self._sizes, self._mtimes, self._ctimes

    def __len__(self) -> int:
        return len(self._states)

    @overload
    def __getitem__(self, index: int) -> UnitFile | None: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[UnitFile | None, ...]: ...
    def __getitem__(self, index: int | slice) -> UnitFile | tuple[UnitFile | None, ...] | None:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        state = self._states[index]
        if state == _ABSENT:
            return None
        fingerprint = Fingerprint(
            self._devices[index],
            self._inodes[index],
            self._sizes[index],
            self._mtimes[index],
            self._ctimes[index],
        )
        link = self._links.get(index % len(self), "") if self._links else ""
        plain_bytes = self._plain.get(index % len(self), 0) if self._plain else 0
        return UnitFile(fingerprint, link, state == _WRONG, plain_bytes)

    def __setitem__(self, unit: int, file: UnitFile | None) -> None:
        self._links.pop(unit, None)
        self._plain.pop(unit, None)
        if file is None:
            self._states[unit] = _ABSENT
            return
        found = file.fingerprint
        self._devices[unit] = found.device & _UNSIGNED
        self._inodes[unit] = found.inode & _UNSIGNED
        self._sizes[unit] = found.size_bytes
        self._mtimes[unit] = found.mtime_ns
        self._ctimes[unit] = found.ctime_ns
        if file.link_target:
            self._links[unit] = file.link_target
        if file.plain_bytes:
            self._plain[unit] = file.plain_bytes
        self._states[unit] = _WRONG if file.is_wrong else _HERE

    def __iter__(self) -> Iterator[UnitFile | None]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, UnitFiles):
            return (
                self._states == other._states
                and self._links == other._links
                and self._plain == other._plain
                and (
                    self._columns() == other._columns()
                    or all(map(_is_same, self, other))  # of those without a file anything counts
                )
            )
        if isinstance(other, tuple):
            return len(self) == len(other) and all(map(_is_same, self, other))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<files of {len(self)} units>"

    @property
    def is_whole(self) -> bool:
        """Every unit has a file."""
        return _ABSENT not in self._states

    def has(self, unit: int) -> bool:
        """Return whether a unit has a file."""
        return self._states[unit] != _ABSENT

    def append(self, file: UnitFile | None) -> None:
        """Add the file of one more unit."""
        self._lengthen(1)
        self[len(self) - 1] = file

    @property
    def file_count(self) -> int:
        """How many units have a file."""
        return len(self) - self._states.count(_ABSENT)

    @property
    def changed_at_ns(self) -> int | None:
        """When the content of any of them changed last, as their owners say; ``None``: no file."""
        times = (self._mtimes[unit] for unit in self.units())
        return max(times, default=None)

    def units(self) -> Iterator[int]:
        """Yield the units that have a file."""
        return (unit for unit, state in enumerate(self._states) if state != _ABSENT)

    def absent(self) -> frozenset[int]:
        """Return the units that have none."""
        return frozenset(_places(self._states, _ABSENT))

    def wrong(self) -> frozenset[int]:
        """Return the units whose file was found to be wrong."""
        return frozenset(_places(self._states, _WRONG))

    def links(self) -> Mapping[int, str]:
        """Return where units lie that are symbolic links."""
        return self._links

    def path_of(self, unit: int, path: str) -> str:
        """Return where the file of a unit lies, relative to the root.

        Args:
            unit: Which unit.
            path: Where it lies unless it is a link, or kept compressed.
        """
        link = self._links.get(unit) if self._links else None
        if link:
            return link
        return compressed(path) if unit in self._plain else path

    def is_compressed(self, unit: int) -> bool:
        """Return whether a unit is kept compressed."""
        return unit in self._plain

    def compressed(self) -> Sequence[int]:
        """Return the units that are kept compressed."""
        return sorted(self._plain)

    @property
    def saved_bytes(self) -> int:
        """How much shorter files are than their units, because they are kept compressed."""
        return sum(plain - self._sizes[unit] for unit, plain in self._plain.items())

    def devices(self) -> set[int]:
        """Return the file systems that files are on."""
        if self.is_whole:
            return set(self._devices)
        return {self._devices[unit] for unit in self.units()}

    def mtimes_ns(self) -> Sequence[int]:
        """Return when each file was modified; of a unit without one it says nothing."""
        return self._mtimes

    def latest_ctime_ns(self) -> int:
        """Return when the latest change of any file was; 0 if there is none."""
        return max((self._ctimes[unit] for unit in self.units()), default=0)

    def facts(self, unit: int) -> tuple[int, int, int, int]:
        """Return inode, length, mtime and ctime of a file, without making it an object."""
        return (
            self._inodes[unit],
            self._sizes[unit],
            self._mtimes[unit] & _UNSIGNED,
            self._ctimes[unit] & _UNSIGNED,
        )

    def copied(self) -> UnitFiles:
        """Return the same, to be changed."""
        made = UnitFiles()
        made._states = self._states[:]
        made._devices = self._devices[:]
        made._inodes = self._inodes[:]
        made._sizes = self._sizes[:]
        made._mtimes = self._mtimes[:]
        made._ctimes = self._ctimes[:]
        made._links = dict(self._links)
        made._plain = dict(self._plain)
        return made

    def encoded(self) -> bytes:
        """Return them as bytes, column by column."""
        return msgspec.msgpack.encode(
            _Columns(
                states=bytes(self._states),
                columns=tuple(map(_planes, self._columns())),
                links=self._links,
                plain=self._plain,
            )
        )

    @classmethod
    def decoded(cls, data: bytes) -> UnitFiles:
        """Return what :meth:`encoded` gave, or what an older ckptd encoded one by one.

        Raises:
            DamagedState: It is neither.
        """
        try:
            if data[:1] and data[0] & 0xF0 != _MAP:
                return cls(_OBJECTS.decode(data))
            found = _COLUMNS.decode(data)
        except (msgspec.DecodeError, OverflowError) as error:
            raise _damaged() from error
        made, count = cls(), len(found.states)
        is_right = max(found.states, default=0) <= _WRONG
        is_right &= all(0 <= unit < count for unit in (*found.links, *found.plain))
        is_right &= all(length > 0 for length in found.plain.values())
        is_right = is_right and all(found.states[unit] != _ABSENT for unit in found.plain)
        if not is_right or len(found.columns) != len(made._columns()):
            raise _damaged()
        for column, planes in zip(made._columns(), found.columns, strict=True):
            if len(planes) != count * column.itemsize:
                raise _damaged()
            column.frombytes(_rows(planes, column.itemsize))
        made._states, made._links = bytearray(found.states), found.links
        made._plain = found.plain
        return made


class FilesByUnit(Mapping[int, UnitFile]):
    """The files of some units of a version, in columns as well.

    Whoever makes them may set those of its units until others have them. Then any thread may read.

    Args:
        units: Which ones, in ascending order.
    """

    def __init__(self, units: array[int]) -> None:
        self._units = units
        self._files = UnitFiles.of_none(len(units))

    @classmethod
    def of(cls, files: Iterable[tuple[int, UnitFile]]) -> FilesByUnit:
        """Return some files, given by unit in ascending order."""
        made = cls(array("I"))
        for unit, file in files:
            made._units.append(unit)
            made._files.append(file)
        return made

    def __setitem__(self, unit: int, file: UnitFile) -> None:
        at = self._find(unit)
        if at is None:
            raise KeyError(unit)
        self._files[at] = file

    def __getitem__(self, unit: int) -> UnitFile:
        at = self._find(unit)
        file = None if at is None else self._files[at]
        if file is None:
            raise KeyError(unit)
        return file

    def __iter__(self) -> Iterator[int]:
        return (self._units[at] for at in self._files.units())

    def __len__(self) -> int:
        return self._files.file_count

    def __contains__(self, unit: object) -> bool:
        at = self._find(unit) if isinstance(unit, int) else None
        return at is not None and self._files.has(at)

    def _find(self, unit: int) -> int | None:
        at = bisect_left(self._units, unit)
        return at if at < len(self._units) and self._units[at] == unit else None


def _planes(column: array[int]) -> bytes:
    """Return the first bytes of all values, then the second ones: these are alike."""
    rows, width = column.tobytes(), column.itemsize
    return b"".join(rows[place::width] for place in range(width))


def _rows(planes: bytes, width: int) -> bytearray:
    """Undo :func:`_planes`."""
    rows, count = bytearray(len(planes)), len(planes) // width
    for place in range(width):
        rows[place::width] = planes[place * count : (place + 1) * count]
    return rows


def _places(states: bytes | bytearray, state: int) -> Iterator[int]:
    at = states.find(state)
    while at >= 0:
        yield at
        at = states.find(state, at + 1)


def _is_same(one: UnitFile | None, other: UnitFile | None) -> bool:
    return one == other


def _damaged() -> DamagedState:
    return DamagedState("files of a place", "are damaged")

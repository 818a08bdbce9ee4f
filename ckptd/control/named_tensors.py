"""Reads tensors by their names out of files that may still be away.

A daemon knows bytes and no formats: which tensor is where is read here, through ranges, from the
header of a file of weights, from ``.metadata`` of PyTorch DCP, or from an index that names the
files. These were written by whoever published the version. One that lies makes its reader read
other bytes of the same version, or is refused; there are bounds for each, and none is executed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, TypeAlias

from ckptd.control.range_reader import RangeReader
from ckptd.errors import InvalidFormat, InvalidManifest, NotFound, UsageError
from ckptd.model.formats.contents import finished, reading_tensors
from ckptd.model.formats.tensors import Tensor, invalid, not_in, tensor_named
from ckptd.model.formats.weight_index import INDEX_BYTES_MAX, decode_index
from ckptd.model.unit_names import is_checkpoint_name, partings
from ckptd.model.unit_paths import check_path

OpenRange: TypeAlias = Callable[[str], RangeReader]
"""Returns what reads a unit, by its name."""

_INDEX_SUFFIX: Final = ".index.json"
USUAL_UNITS: Final = ("model.safetensors.index.json", "model.safetensors", ".metadata")
"""Where tensors of a checkpoint are looked for if no unit is named, in this order."""


class NamedTensors:
    """The tensors of a unit, or of all files that it names. For one thread at a time.

    Nothing is read before it is asked for: then the header of the file in which a tensor is, and
    then its own bytes. It holds on to one content of each file.

    Args:
        open_range: Returns what reads a unit.
        path: Which unit, as ``open_range`` takes it: a file of safetensors, ``.metadata`` of
            PyTorch DCP, or an index of sharded weights (``….index.json``).
    """

    def __init__(self, open_range: OpenRange, path: str) -> None:
        self._open_range = open_range
        self._first = open_range(path)
        self._files: dict[str, str] | None = None
        self._readers: dict[str, RangeReader] = {}
        self._tensors: dict[str, tuple[Tensor, ...]] = {}

    @property
    def unit(self) -> str:
        """The path of the unit that was named; waits until that is known.

        Raises:
            CkptdError: What the daemon answered with.
        """
        return self._first.unit

    def listed(self) -> tuple[Tensor, ...]:
        """Return all tensors; reads the headers of all files that have some.

        Raises:
            InvalidFormat: A file is not in the format that it should be in.
            CkptdError: What the daemon answered with.
        """
        if not self._is_index():
            return self._tensors_of(self.unit)
        files = sorted(set(self._index().values()))
        return tuple(chain.from_iterable(self._tensors_of(file) for file in files))

    def named(self, name: str) -> Tensor:
        """Return a tensor by its name; reads the header of its file.

        Raises:
            NotFound: There is none.
            UsageError: It is stored in parts, each of which has a name.
            InvalidFormat: A file is not in the format that it should be in.
            CkptdError: What the daemon answered with.
        """
        file = self.unit
        if self._is_index():
            index = self._index()
            if name not in index:
                raise not_in(self.unit, name, index)
            file = index[name]
        return tensor_named(self._tensors_of(file), name, file)

    def read(self, name: str) -> bytes:
        """Return the bytes of a tensor; waits until they are here.

        Raises:
            CkptdError: As :meth:`named`, and what the daemon answered with.
        """
        return b"".join(self.pieces(name))

    def pieces(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield bytes of a tensor in order, each piece as soon as it is here.

        Args:
            name: Of the tensor.
            offset: The first one.
            length: How many; ``None``: all up to the end of the tensor.

        Raises:
            UsageError: The tensor does not have them.
            CkptdError: As :meth:`named`, and what the daemon answered with.
        """
        reader, start, length = self.located(name, offset, length)
        return reader.pieces(start, length)

    def located(
        self, name: str, offset: int = 0, length: int | None = None
    ) -> tuple[RangeReader, int, int]:
        """Return what reads the unit that has a tensor, where its bytes begin, and how many.

        Args:
            name: Of the tensor.
            offset: The first one of them.
            length: How many; ``None``: all up to the end of the tensor.

        Raises:
            UsageError: The tensor does not have them.
            InvalidFormat: They are said to be where the unit has none.
            CkptdError: As :meth:`named`, and what the daemon answered with.
        """
        tensor = self.named(name)
        size_bytes = tensor.end - tensor.start
        end = size_bytes if length is None else offset + length
        if not 0 <= offset <= end <= size_bytes:
            problem = f"are not there: it has {size_bytes}"
            raise UsageError(f"bytes {offset} to {end} of tensor {name[:200]!r}", problem)
        reader = self._reader_of(tensor.unit)
        if tensor.end > reader.size_bytes:
            problem = f"is said to end at {tensor.end} of {reader.size_bytes} bytes"
            raise invalid(f"tensor {name[:200]!r} of {tensor.unit[:200]!r}", problem)
        return reader, tensor.start + offset, end - offset

    def _is_index(self) -> bool:
        return self.unit.endswith(_INDEX_SUFFIX)

    def _index(self) -> dict[str, str]:
        """Return the unit that each tensor is in, as the index says."""
        if self._files is None:
            unit, size_bytes = self.unit, self._first.size_bytes
            if size_bytes > INDEX_BYTES_MAX:
                problem = f"has {size_bytes} bytes, more than {INDEX_BYTES_MAX}"
                raise invalid(repr(unit[:200]), problem)
            files = decode_index(self._first.read(0, size_bytes), unit)
            directory = posixpath.dirname(unit)
            beside = {file: posixpath.join(directory, file) for file in set(files.values())}
            for path in beside.values():
                _check_beside(path, unit)
            self._files = {tensor: beside[file] for tensor, file in files.items()}
        return self._files

    def _tensors_of(self, unit: str) -> tuple[Tensor, ...]:
        if unit not in self._tensors:
            reader = self._reader_of(unit)
            reading = reading_tensors(unit, reader.size_bytes)
            self._tensors[unit] = finished(
                reading, lambda start, end: reader.read(start, end - start)
            )
        return self._tensors[unit]

    def _reader_of(self, unit: str) -> RangeReader:
        """Return what reads a unit of the same version.

        It is named by where it stands, beside the first. That one is asked for once more then: if
        another version took the place of both, it is another one, and the daemon says so.
        """
        if unit == self.unit:
            return self._first
        if unit not in self._readers:
            top = self._first.stands_at.removesuffix(self.unit)
            reader = self._open_range(posixpath.join(top, unit))
            reader.wait(0, 0)
            self._first.wait(0, 0)
            self._readers[unit] = reader
        return self._readers[unit]


def open_tensors(open_range: OpenRange, text: str) -> NamedTensors:
    """Return the tensors of a unit; or of a checkpoint, from where they usually are.

    Args:
        open_range: Returns what reads a unit.
        text: What names the unit, or ``NAME`` or ``NAME@VERSION``.

    Raises:
        NotFound: There is no such unit.
        CkptdError: What the daemon answered with.
    """
    names = [text]
    if is_checkpoint_name(text):
        names += [f"{text}:{unit}" for unit in USUAL_UNITS]
    first: NotFound | None = None
    for name in names:
        tensors = NamedTensors(open_range, name)
        try:
            _ = tensors.unit
        except NotFound as error:
            first = first or error
        else:
            return tensors
    assert first is not None
    raise first


def find_tensor(open_range: OpenRange, text: str) -> tuple[NamedTensors, str] | None:
    """Return the tensors among which one is, and its name.

    Args:
        open_range: Returns what reads a unit.
        text: ``UNIT#TENSOR``, ``NAME#TENSOR`` or ``NAME@VERSION#TENSOR``.

    Returns:
        ``None`` if a unit is meant: the text has no ``#``, or is the name of one as it is.

    Raises:
        NotFound: There is no such unit; whether it has such a tensor is not asked.
        CkptdError: What the daemon answered with.
    """
    meant = list(partings(text))
    if not meant:
        return None
    try:
        open_range(text).wait(0, 0)
    except NotFound:
        pass
    else:
        return None
    *longer, shortest = meant
    for unit, tensor in longer:
        try:
            return open_tensors(open_range, unit), tensor
        except NotFound:
            continue
    unit, tensor = shortest
    return open_tensors(open_range, unit), tensor


def _check_beside(path: str, index: str) -> None:
    """Check a path that an index names.

    Raises:
        InvalidFormat: It is no path of a unit.
    """
    try:
        check_path(path)
    except InvalidManifest as error:
        raise InvalidFormat(repr(index[:200]), error.problem) from error

"""Applies what a delta version says of a tensor: bytes of the base in, bytes of the new one out.

A tensor is gone through once from its beginning, slice by slice, so of no tensor more than a slice
is in memory, however many deltas are applied to it one after the other. Called where a chain is
materialised; numpy is loaded with this module, so only by whoever does that.

Sources: ``overwrite_encode`` in slime/utils/disk_delta.py, ``_apply_delta`` of SGLang's
weight_sync/local_checkpoint.py. Both take tensors as bytes, whatever the type of their elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import numpy
from numpy.typing import NDArray

from ckptd.errors import InvalidFormat
from ckptd.limits import KIB

Read: TypeAlias = Callable[[int], "bytes | memoryview"]
"""Returns the next so many bytes of what a delta has of a tensor, fewer only at its end."""

_COUNT_BYTES: Final = 4
_PLACE: Final = numpy.dtype("<u4")
_PLACES_AT_ONCE: Final = 64 * KIB


class Change(Protocol):
    """What a delta says of one tensor."""

    def apply(self, content: memoryview) -> None:
        """Change the next bytes of the tensor where they lie.

        Raises:
            InvalidFormat: The delta is of a tensor of another length, or none.
        """

    def finish(self) -> None:
        """Check that the delta ends with the tensor.

        Raises:
            InvalidFormat: There is more of it.
        """


class Differing:
    """``xor``: each byte of the tensor with one of the delta. Applied twice it is undone.

    Args:
        read: Reads the delta of the tensor.
        tensor: What it is called, for errors.
    """

    def __init__(self, read: Read, tensor: str) -> None:
        self._read = read
        self._tensor = tensor

    def apply(self, content: memoryview) -> None:
        """Change the next bytes of the tensor; see :class:`Change`."""
        difference = numpy.frombuffer(self._read(len(content)), numpy.uint8)
        if len(difference) != len(content):
            raise _wrong(self._tensor, "ends before the tensor does")
        changed = numpy.frombuffer(content, numpy.uint8)
        numpy.bitwise_xor(changed, difference, out=changed)

    def finish(self) -> None:
        """Check that nothing is left; see :class:`Change`."""
        _check_end(self._read, self._tensor)


class Overwriting:
    """``overwrite``: how many bytes change, where each of them lies, and what they are then.

    The places ascend, so that the tensor is gone through once; they and the values are read
    beside each other.

    Args:
        places: Reads the delta of the tensor.
        values: Reads it a second time.
        tensor: What it is called, for errors.
        tensor_bytes: Its length.
    """

    def __init__(self, places: Read, values: Read, tensor: str, tensor_bytes: int) -> None:
        self._read_places = places
        self._read_values = values
        self._tensor = tensor
        self._tensor_bytes = tensor_bytes
        count = bytes(places(_COUNT_BYTES))
        self._left = int.from_bytes(count, "little")  # places that were not read yet
        if len(count) != _COUNT_BYTES or self._left > tensor_bytes:
            raise _wrong(tensor, f"changes {self._left} of {tensor_bytes} bytes")
        _skip(values, _COUNT_BYTES + _PLACE.itemsize * self._left, tensor)
        self._at = 0  # in the tensor
        self._places: NDArray[numpy.uint32] = numpy.empty(0, _PLACE)
        self._values: NDArray[numpy.uint8] = numpy.empty(0, numpy.uint8)
        self._last = -1  # the place that was read last

    def apply(self, content: memoryview) -> None:
        """Change the next bytes of the tensor; see :class:`Change`."""
        changed = numpy.frombuffer(content, numpy.uint8)
        end = self._at + len(content)
        while self._has_before(end):
            count = int(numpy.searchsorted(self._places, end))
            changed[self._places[:count] - self._at] = self._values[:count]
            self._places, self._values = self._places[count:], self._values[count:]
        self._at = end

    def finish(self) -> None:
        """Check that nothing is left; see :class:`Change`."""
        if len(self._places) or self._left:
            raise _wrong(self._tensor, "changes bytes behind its end")
        _check_end(self._read_values, self._tensor)

    def _has_before(self, end: int) -> bool:
        """Return whether the next place lies before a byte; more are read if none is here."""
        if not len(self._places):
            self._read_more()
        return bool(len(self._places)) and int(self._places[0]) < end

    def _read_more(self) -> None:
        count = min(self._left, _PLACES_AT_ONCE)
        content = self._read_places(count * _PLACE.itemsize)
        values = numpy.frombuffer(self._read_values(count), numpy.uint8)
        if len(content) != count * _PLACE.itemsize or len(values) != count:
            raise _wrong(self._tensor, "ends within what it changes")
        places = numpy.frombuffer(content, _PLACE)
        if not count:
            return
        if int(places[0]) <= self._last or not bool((places[1:] > places[:-1]).all()):
            raise _wrong(self._tensor, "has places that do not ascend")
        self._last = int(places[-1])
        if self._last >= self._tensor_bytes:
            raise _wrong(self._tensor, "changes bytes behind its end")
        self._left -= count
        self._places, self._values = places, values


def _skip(read: Read, count: int, tensor: str) -> None:
    while count:
        got = len(read(min(count, _PLACES_AT_ONCE)))
        if not got:
            raise _wrong(tensor, "ends within what it changes")
        count -= got


def _check_end(read: Read, tensor: str) -> None:
    if len(read(1)):
        raise _wrong(tensor, "goes on behind the end of the tensor")


def _wrong(tensor: str, problem: str) -> InvalidFormat:
    return InvalidFormat(
        f"delta of tensor {tensor[:200]!r}", problem, "Publish the version again as it should be."
    )

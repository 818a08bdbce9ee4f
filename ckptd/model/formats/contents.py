"""Which tensors a unit has, and which of its bytes have to be here to say so.

Nothing is read here: a reading asks for a range, is given its bytes, and goes on. So whoever reads
decides where bytes come from; of a unit that is away nothing but these ranges has to come.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, NamedTuple, TypeAlias, TypeVar

from ckptd.model.formats.dcp_metadata import METADATA_BYTES_MAX, decode_metadata
from ckptd.model.formats.safetensors_header import PREFIX_BYTES, decode_header, values_start
from ckptd.model.formats.tensors import Tensor, invalid

_Read = TypeVar("_Read")

_DCP_SUFFIX: Final = ".metadata"
"""``.metadata`` of a directory, or one that has something before it."""


class Wanted(NamedTuple):
    """Bytes of a unit that have to be read.

    Attributes:
        start: Where they begin.
        end: Where they end.
    """

    start: int
    end: int


Reading: TypeAlias = Generator[Wanted, bytes, tuple[Tensor, ...]]


def reading_tensors(unit: str, unit_bytes: int) -> Reading:
    """Read which tensors a unit has, or which a ``.metadata`` names.

    Args:
        unit: Path of the unit: its name says in which format it is.
        unit_bytes: Its length.

    Yields:
        What it needs next, and takes the bytes of that.

    Returns:
        The tensors.

    Raises:
        InvalidFormat: It is not in that format.
    """
    if unit.endswith(_DCP_SUFFIX):
        if unit_bytes > METADATA_BYTES_MAX:
            problem = f"has {unit_bytes} bytes, more than {METADATA_BYTES_MAX}"
            raise invalid(repr(unit[:200]), problem)
        content = yield Wanted(0, unit_bytes)
        return decode_metadata(content, unit)
    prefix = yield Wanted(0, min(PREFIX_BYTES, unit_bytes))
    end = values_start(prefix, unit, unit_bytes)
    header = yield Wanted(PREFIX_BYTES, end)
    return decode_header(header, unit, unit_bytes)


def finished(reading: Generator[Wanted, bytes, _Read], read: Callable[[int, int], bytes]) -> _Read:
    """Finish a reading.

    Args:
        reading: As :func:`reading_tensors` begins it.
        read: Returns the bytes between two places of the unit.

    Returns:
        What was read.

    Raises:
        InvalidFormat: The unit is not in its format.
    """
    wanted = next(reading)
    while True:
        try:
            wanted = reading.send(read(*wanted))
        except StopIteration as end:
            found: _Read = end.value
            return found

"""What a file of a known format says of its tensors, and how one of them is named.

Whoever made the file wrote this, so it is a claim: it says which bytes to ask for, and asking for
the wrong ones harms nobody but the reader. What comes is verified like everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.errors import InvalidFormat, NotFound, UsageError
from ckptd.model.nearest import nearest_names
from ckptd.model.words import TensorContent

TENSORS_MAX: Final = 1_000_000
"""Of one file."""
RANK_MAX: Final = 64
"""Dimensions of a tensor; as of NumPy."""
_PARTS_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor, or a part of one that is stored by itself.

    Attributes:
        name: No other one of the file has it. A part has the place in its tensor where it begins
            behind the name: ``layers.0.weight[512,0]``.
        dtype: As the format writes it, such as ``BF16`` or ``bfloat16``; empty if it is no tensor
            but some other object.
        shape: Of what these bytes are.
        unit: Path of the unit that has them.
        start: Where in the unit they begin.
        end: Where they end.
        content: What they are.
        part_of: The tensor that this is a part of; empty if it is all of one.
        transforms: What they went through when they were written, the latest first, as DCP names
            it: compression, for instance.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    unit: str
    start: int
    end: int
    content: TensorContent
    part_of: str = ""
    transforms: tuple[str, ...] = ()


def tensor_named(tensors: Sequence[Tensor], name: str, where: str) -> Tensor:
    """Return the tensor with a name.

    Args:
        tensors: Those of a file.
        name: Of one of them.
        where: What the file is called, for errors.

    Raises:
        NotFound: None has it.
        UsageError: It is stored in parts, each of which has a name.
    """
    found = next((tensor for tensor in tensors if tensor.name == name), None)
    if found is not None:
        return found
    parts = [tensor.name for tensor in tensors if tensor.part_of == name]
    shown = name[:200]
    if parts:
        first = ", ".join(map(repr, parts[:_PARTS_SHOWN]))
        more = ", …" if len(parts) > _PARTS_SHOWN else ""
        problem = f"is stored in {len(parts)} parts"
        raise UsageError(
            f"tensor {shown!r} of {where}", problem, f"Name one of them: {first}{more}."
        )
    raise not_in(where, name, (tensor.name for tensor in tensors))


def not_in(where: str, name: str, known: Iterable[str]) -> NotFound:
    """Return the error that a file has no tensor of a name.

    Args:
        where: What the file is called.
        name: Of no tensor.
        known: The names that it has.
    """
    nearest = nearest_names(name, known)
    hint = f"Similar: {', '.join(map(repr, nearest))}." if nearest else ""
    return NotFound(f"tensor {name[:200]!r} of {where}", "is not in it", hint)


def invalid(where: str, problem: str) -> InvalidFormat:
    """Return the error that a file is not what its name says."""
    return InvalidFormat(where, problem)

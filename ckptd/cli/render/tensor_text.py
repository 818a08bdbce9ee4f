"""Tensors as text for people; see :mod:`ckptd.cli.render.text`."""

from __future__ import annotations

from collections.abc import Sequence

from ckptd.cli.render.text import table
from ckptd.model.formats.tensors import Tensor
from ckptd.model.quantities import format_size


def tensor_lines(tensors: Sequence[Tensor], width: int | None = None) -> list[str]:
    """List tensors, in the order in which they lie in their units.

    Args:
        tensors: Those of a file, or of several.
        width: Of the terminal; ``None`` if no line is to be cut.
    """
    return table(
        ("TENSOR", "TYPE", "SHAPE", "SIZE", "AT", "UNIT"),
        (
            (
                tensor.name,
                tensor.dtype or "-",
                f"[{','.join(map(str, tensor.shape))}]" if tensor.dtype else "-",
                format_size(tensor.end - tensor.start),
                str(tensor.start),
                ", ".join((tensor.unit, *tensor.transforms)),
            )
            for tensor in tensors
        ),
        width,
        left_out=("AT",),
    )

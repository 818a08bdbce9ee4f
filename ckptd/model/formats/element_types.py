"""Of which type the elements of a unit are: what its publisher says of it, in one fact.

Whoever sends blocks coded takes them for elements of that width. Nothing else depends on it, so a
fact that is wrong, or means nothing to a reader, costs bytes on the wire and never a wrong one.

The fact is a list of runs: ``BF16``, or ``BF16 F32@1048576``, where elements of another type begin
at that byte. ``-`` is a run of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ckptd.errors import UsageError
from ckptd.limits import KIB

ELEMENTS_FACT: Final = "dtype"
"""Its name among the facts of a unit."""
AUTO: Final = "auto"
"""Said in the place of a type: as the header of the file says."""
NOTHING: Final = "none"
"""Said in the place of a type: nothing is said of it."""
RUNS_MAX: Final = 64
"""Of a unit with more nothing is said."""
_RUN_BYTES_MIN: Final = 64 * KIB
"""Shorter runs are taken for elements of what is around them: they are few of those of a block."""
_UNKNOWN: Final = "-"
_DIGITS_MAX: Final = 20
"""Of a place in a unit."""

_WIDTHS: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8"), 1),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
    **dict.fromkeys(("F4", "F6_E2M3", "F6_E3M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 8),
}
"""In bytes, by the names of safetensors. What has two numbers in an element is as wide as both."""
_ALSO_CALLED: Final = {
    "BFLOAT16": "BF16",
    **dict.fromkeys(("FLOAT16", "FP16", "HALF"), "F16"),
    **dict.fromkeys(("FLOAT32", "FP32", "FLOAT"), "F32"),
    **dict.fromkeys(("FLOAT64", "FP64", "DOUBLE"), "F64"),
    **{f"INT{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
}


class ElementRun(NamedTuple):
    """Elements of one type that follow each other.

    Attributes:
        start: Where in the unit they begin.
        dtype: Their type, by the name that safetensors has for it; ``-``: not known.
    """

    start: int
    dtype: str


class TypedBytes(NamedTuple):
    """Bytes of a unit of which a header says the type.

    Attributes:
        start: Where they begin.
        end: Where they end.
        dtype: As the header writes it.
    """

    start: int
    end: int
    dtype: str


def parse_dtype(text: str) -> str:
    """Return the name of a type that somebody typed, or :data:`AUTO`, or :data:`NOTHING`.

    Raises:
        UsageError: There is no such type.
    """
    if text.lower() in {AUTO, NOTHING}:
        return text.lower()
    name = _ALSO_CALLED.get(text.upper(), text.upper())
    if name not in _WIDTHS:
        raise UsageError(
            f"type {text[:40]!r}",
            "is none of elements",
            f"Types are {', '.join(_WIDTHS)}; auto: as the header of a file says; none.",
        )
    return name


def runs_of(parts: Iterable[TypedBytes]) -> tuple[ElementRun, ...]:
    """Return the runs of a unit.

    Args:
        parts: All bytes of which a type is said, in their order.

    Returns:
        None if nothing is known, or there are more than :data:`RUNS_MAX`.
    """
    runs = _joined((start, end, _aligned(start, dtype)) for start, end, dtype in parts)
    if len(runs) > 1:
        runs = _joined(run for run in runs if run[1] - run[0] >= _RUN_BYTES_MIN)
    if len(runs) > RUNS_MAX or all(dtype == _UNKNOWN for *_, dtype in runs):
        return ()
    return tuple(
        ElementRun(start if number else 0, dtype) for number, (start, _, dtype) in enumerate(runs)
    )


def fact_of(runs: Sequence[ElementRun]) -> str:
    """Return runs as a fact; empty: there are none."""
    return " ".join(f"{dtype}@{start}" if start else dtype for start, dtype in runs)


def width_at(fact: str, start: int, end: int) -> int | None:
    """Return how wide the elements are between two places of a unit.

    Args:
        fact: What is said of the unit; empty: nothing.
        start: The first byte.
        end: The byte behind the last one.

    Returns:
        Bytes of an element; ``None``: not known.
    """
    middle, width = (start + end) // 2, None
    for word in fact.split(" ", RUNS_MAX)[:RUNS_MAX]:
        dtype, _, at = word.partition("@")
        if at and not (at.isascii() and at.isdigit() and len(at) <= _DIGITS_MAX):
            return None
        if int(at or 0) > middle:
            break
        width = _WIDTHS.get(dtype)
    return width


def _aligned(start: int, dtype: str) -> str:
    """Return a type; unknown if elements do not lie at multiples of their width, as coders do."""
    width = _WIDTHS.get(dtype)
    return dtype if width and start % width == 0 else _UNKNOWN


def _joined(parts: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Return parts, neighbours of the same type as one."""
    runs: list[tuple[int, int, str]] = []
    for start, end, dtype in parts:
        if runs and runs[-1][2] == dtype:
            runs[-1] = (runs[-1][0], end, dtype)
        else:
            runs.append((start, end, dtype))
    return runs

"""Differences of elements, as integers: small ones of either sign become small numbers.

Bit patterns of floating-point numbers are ordered like the numbers (but for the sign), so what
training moves by a little becomes a small integer, whatever the exponent.
"""

from __future__ import annotations

import numpy

from ckptd.coding.element_planes import Elements, slice_of


class Differences:
    """Elements of one width and their differences. One thread at a time.

    Args:
        width: Bytes of an element.
    """

    def __init__(self, width: int) -> None:
        self._bits = 8 * width
        self._sign = slice_of(width)
        self._signed = numpy.dtype(f"<i{width}")

    def between(self, elements: Elements, base: Elements, out: Elements) -> None:
        """Write differences: 0, 1, 2, 3, … stand for 0, -1, 1, -2, …; a slice at most."""
        numpy.subtract(elements, base, out=out)
        self.fold(out)

    def fold(self, differences: Elements) -> None:
        """Write over differences the numbers that stand for them; a slice at most."""
        sign = self._sign[: len(differences)]
        numpy.right_shift(
            differences.view(self._signed), self._bits - 1, out=sign.view(self._signed)
        )
        numpy.add(differences, differences, out=differences)  # faster than a shift
        numpy.bitwise_xor(differences, sign, out=differences)

    def apply(self, differences: Elements, base: Elements, out: Elements) -> None:
        """Write the elements that differ so from the base; ``differences`` is written over."""
        self.unfold(differences)
        numpy.add(differences, base, out=out)

    def unfold(self, differences: Elements) -> None:
        """Write differences over the numbers that stand for them; a slice at most."""
        sign = self._sign[: len(differences)]
        numpy.bitwise_and(differences, 1, out=sign)
        numpy.negative(sign, out=sign)
        numpy.right_shift(differences, 1, out=differences)
        numpy.bitwise_xor(differences, sign, out=differences)

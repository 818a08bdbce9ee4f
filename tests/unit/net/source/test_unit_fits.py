"""What was found for a block of a unit counts for some that follow, whoever asks for them."""

from __future__ import annotations

from ckptd.model.ids import Digest
from ckptd.model.words import Coder
from ckptd.net.source.unit_fits import AGAIN_BLOCKS, FITS_MAX, FitKey, UnitFit, UnitFits

FIT = UnitFit(Coder.SPARSE, 2)
KEY = FitKey(Digest("a" * 64), 1, Digest("b" * 64), frozenset({Coder.SPARSE}))


def test_it_counts_for_some_blocks_and_is_then_found_out_again() -> None:
    fits = UnitFits()
    assert fits.take(KEY) is None
    fits.put(KEY, FIT)
    assert [fits.take(KEY) for _ in range(AGAIN_BLOCKS - 1)] == [FIT] * (AGAIN_BLOCKS - 1)
    assert fits.take(KEY) is None


def test_it_counts_for_what_it_was_found_for() -> None:
    fits = UnitFits()
    fits.put(KEY, FIT)
    others = (
        KEY._replace(version=Digest("c" * 64)),
        KEY._replace(unit=2),
        KEY._replace(base=None),
        KEY._replace(coders=frozenset()),
    )
    assert [fits.take(other) for other in others] == [None] * len(others)


def test_the_oldest_ones_are_forgotten() -> None:
    fits = UnitFits()
    for unit in range(FITS_MAX + 1):
        fits.put(KEY._replace(unit=unit), FIT)
    assert [fits.take(KEY._replace(unit=unit)) for unit in (0, 1)] == [None, FIT]


def test_what_is_found_again_is_new() -> None:
    fits = UnitFits()
    for unit in (*range(FITS_MAX), 0, FITS_MAX):
        fits.put(KEY._replace(unit=unit), FIT)
    assert [fits.take(KEY._replace(unit=unit)) for unit in (0, 1)] == [FIT, None]

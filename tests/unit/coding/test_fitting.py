"""The coder that fits is the one that makes a block shortest, of those that are permitted."""

from __future__ import annotations

import random

import numpy

from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import NO_BASE
from ckptd.coding.fitting import Fit, adapted, fit
from ckptd.coding.frames import Readable
from ckptd.limits import KIB, MIB
from ckptd.model.words import Coder
from tests.unit.coding.test_block_coding import neighbours

ALL = frozenset(Coder)


def test_few_changes_are_listed_and_many_are_differences() -> None:
    coding = BlockCoding()
    block, base = neighbours(MIB, share=0.05)
    assert fit(coding, block, base, ALL)[:2] == (Coder.SPARSE, 2)
    block, base = neighbours(MIB, share=0.9, moved_by=0.3)
    assert fit(coding, block, base, ALL)[:2] == (Coder.DELTA, 2)


def test_small_differences_are_half_bytes_for_whoever_decodes_those() -> None:
    coding = BlockCoding()
    before = ALL - {Coder.NIBBLES}
    for share, else_by in ((0.9, Coder.DELTA), (0.4, Coder.SPARSE)):
        block, base = neighbours(MIB, share=share)
        assert fit(coding, block, base, ALL)[:2] == (Coder.NIBBLES, 2)
        assert fit(coding, block, base, before)[:2] == (else_by, 2)


def test_each_block_of_a_unit_is_coded_by_how_much_of_it_changed() -> None:
    def coder(share: float, moved_by: float = 0.01, permitted: frozenset[Coder] = ALL) -> Coder:
        block, base = neighbours(MIB, share=share, moved_by=moved_by)
        return adapted(Coder.DELTA, 2, block, base, permitted)

    assert coder(0.05) is Coder.SPARSE
    assert coder(0.4) is Coder.NIBBLES
    assert coder(0.4, moved_by=0.3) is Coder.SPARSE
    assert coder(0.9, moved_by=0.3) is Coder.DELTA
    assert coder(0.9, moved_by=0.3, permitted=frozenset({Coder.SPARSE})) is Coder.SPARSE
    assert coder(0.05, permitted=frozenset({Coder.DELTA})) is Coder.DELTA


def test_what_changed_at_one_end_of_a_block_is_seen() -> None:
    block, base = neighbours(MIB, share=0.0)
    dense, _ = neighbours(MIB, share=0.9, moved_by=0.3)
    other = dense[: MIB * 5 // 8] + block[MIB * 5 // 8 :]
    base = neighbours(MIB, share=0.9, moved_by=0.3)[1]
    assert adapted(Coder.SPARSE, 2, other, base, ALL) is Coder.DELTA
    assert adapted(Coder.PLANES, 2, other, base, ALL) is Coder.PLANES


def test_what_is_of_zeros_tells_nothing_of_what_follows() -> None:
    coding, block = BlockCoding(), bytes(MIB)
    assert not fit(coding, block, block, ALL).is_representative
    assert not fit(coding, block, None, ALL).is_representative
    block, base = neighbours(MIB, share=0.002)
    assert fit(coding, block, base, ALL).is_representative
    assert Fit().is_representative


def test_of_wide_numbers_the_width_is_found() -> None:
    drawn = numpy.random.default_rng(3)
    now = (drawn.standard_normal(MIB // 4) * 0.02).astype("<f4")
    was = (now * (1 + 1e-5 * drawn.standard_normal(len(now)))).astype("<f4")
    found = fit(BlockCoding(), now.tobytes(), was.tobytes(), ALL)
    assert found[:2] == (Coder.DELTA, 4)
    assert found.share < 0.6


class CountingCoding(BlockCoding):
    """Counts what is tried."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[tuple[Coder, int]] = []

    def encode(
        self,
        block: Readable,
        coder: Coder,
        width: int = 1,
        *,
        base: Readable = b"",
        base_number: int = NO_BASE,
    ) -> bytes:
        self.tried.append((coder, width))
        return super().encode(block, coder, width, base=base, base_number=base_number)


def test_a_width_that_is_said_is_the_only_one_that_is_tried() -> None:
    block, base = neighbours(MIB, share=0.05)
    coding = CountingCoding()
    assert fit(coding, block, base, ALL, 8).width == 8
    assert sorted(coding.tried) == [(Coder.PLANES, 8), (Coder.SPARSE, 8), (Coder.ZSTD, 8)]


def test_what_does_not_depend_on_the_width_is_tried_once() -> None:
    block, base = neighbours(MIB, share=0.05)
    coding = CountingCoding()
    fit(coding, block, base, ALL)
    assert len(coding.tried) == 5
    assert [coder for coder, _ in coding.tried].count(Coder.ZSTD) == 1


def test_without_a_base_planes_are_what_is_left() -> None:
    block, base = neighbours(MIB, share=0.05)
    assert fit(BlockCoding(), block, None, ALL)[:2] == (Coder.PLANES, 2)
    permitted = {Coder.PLANES, Coder.ZSTD}
    assert fit(BlockCoding(), block, base, permitted)[:2] == (Coder.PLANES, 2)
    assert fit(BlockCoding(), block, base, {Coder.DELTA}, width=2)[:2] == (Coder.DELTA, 2)
    assert fit(BlockCoding(), block, base, set()) == Fit()


def test_what_is_no_numbers_goes_by_its_repetitions_and_noise_as_it_is() -> None:
    text = b"".join(b'{"layer": %d, "file": "model.safetensors"}' % n for n in range(30_000))
    assert fit(BlockCoding(), text[:MIB], None, ALL).coder is Coder.ZSTD
    noise = random.Random(1).randbytes(256 * KIB)
    assert fit(BlockCoding(), noise, None, ALL) == Fit()
    assert fit(BlockCoding(), b"", None, ALL) == Fit()

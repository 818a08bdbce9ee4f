from __future__ import annotations

import pytest

from ckptd.chains.delta_index import SUM_DIGITS
from ckptd.store.materialising.sums import SUMS
from tests.support import delta_versions

CONTENT = bytes(range(256)) * 40


@pytest.mark.parametrize("kind", list(SUM_DIGITS))
def test_sums_are_those_of_trainers_however_the_bytes_come(kind: str) -> None:
    total = SUMS[kind]()
    for start in range(0, len(CONTENT), 1000):
        total.update(memoryview(CONTENT)[start : start + 1000])
    assert total.hexdigest() == delta_versions.SUMS[kind](CONTENT)
    assert len(total.hexdigest()) == SUM_DIGITS[kind]


def test_adler32_has_leading_zeros() -> None:
    assert SUMS["adler32"]().hexdigest() == "00000001"


def test_every_kind_that_an_index_may_name_is_known() -> None:
    assert SUMS.keys() == SUM_DIGITS.keys()

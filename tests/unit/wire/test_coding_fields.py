"""What a receiver of coded blocks says of itself."""

import pytest

from ckptd.errors import ProtocolViolation
from ckptd.model.ids import Digest
from ckptd.model.words import Coder
from ckptd.wire.coding_fields import (
    BASES_MAX,
    format_bases,
    format_coders,
    parse_bases,
    parse_coders,
)

DIGESTS = tuple(Digest(f"{number:064x}") for number in range(BASES_MAX + 1))


def test_coders_are_read_as_they_are_written_and_others_are_ignored() -> None:
    assert format_coders({Coder.SPARSE, Coder.ZSTD}) == "zstd, sparse"
    assert parse_coders("zstd, sparse") == {Coder.SPARSE, Coder.ZSTD}
    assert parse_coders("brotli,delta , ZSTD,,") == {Coder.DELTA}
    assert parse_coders(None) == parse_coders("") == frozenset()


def test_bases_are_read_in_their_order() -> None:
    bases = (DIGESTS[2], DIGESTS[0])
    assert parse_bases(format_bases(bases)) == bases
    assert parse_bases(None) == parse_bases("") == ()


@pytest.mark.parametrize(
    "value",
    ["x", DIGESTS[0][:-1], DIGESTS[0].upper() + "A", f"{DIGESTS[0]},", format_bases(DIGESTS)],
)
def test_bases_that_are_no_digests_or_too_many_are_violations(value: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse_bases(value)

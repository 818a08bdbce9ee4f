"""What coding takes is bounded, for all answers together."""

from ckptd.limits import BLOCK_BYTES_MAX, MIB
from ckptd.net.source.coding_memory import CodingMemory


def test_who_comes_when_all_is_lent_gets_none_until_somebody_gives_back() -> None:
    lent = CodingMemory()
    assert [lent.borrow(BLOCK_BYTES_MAX) for _ in range(8)] == [True] * 6 + [False] * 2
    assert lent.left_bytes == 32 * MIB
    assert lent.borrow(MIB)
    lent.give_back(BLOCK_BYTES_MAX)
    assert lent.borrow(BLOCK_BYTES_MAX)
    assert not lent.borrow(BLOCK_BYTES_MAX)

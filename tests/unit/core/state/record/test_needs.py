"""What is read one after the other is fetched ahead, and nothing else is."""

from __future__ import annotations

from ckptd.core.options import NeedOptions
from ckptd.core.state.record.needs import Need, Needs, ReadAhead
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NeedId

OPTIONS = NeedOptions()


def read(ahead: ReadAhead, *ranges: tuple[int, int]) -> list[int]:
    """Read ranges; return how far ahead of the end of each is fetched, in mebibytes."""
    return [(ahead.note(start, end, OPTIONS) - end) // MIB for start, end in ranges]


def steps(count: int, size_bytes: int, start: int = 0) -> list[tuple[int, int]]:
    return [(start + i * size_bytes, start + (i + 1) * size_bytes) for i in range(count)]


def test_the_window_is_doubled_up_to_its_bound() -> None:
    assert read(ReadAhead(), *steps(10, 4 * MIB)) == [0, 4, 8, 16, 16, 32, 32, 32, 32, 64]
    assert set(read(ReadAhead(), *steps(100, 4 * MIB))[9:]) == {OPTIONS.ahead_bytes_max // MIB}


def test_small_reads_do_not_widen_it_before_they_have_used_it() -> None:
    ahead = ReadAhead()
    ends = [ahead.note(*each, OPTIONS) for each in steps(1000, 4 * KIB)]
    assert ends[0] == 4 * KIB, "the first range of a reader is no reason"
    assert ends[1] == 8 * KIB + OPTIONS.ahead_bytes_first
    assert ends[-1] <= 4 * 1000 * 4 * KIB


def test_a_seek_drops_it() -> None:
    ahead = ReadAhead()
    assert read(ahead, *steps(5, 4 * MIB))[-1] == 16
    assert read(ahead, (200 * MIB, 201 * MIB)) == [0]
    assert read(ahead, *steps(2, MIB, 201 * MIB)) == [1, 2]
    assert read(ahead, (0, MIB)) == [0], "backwards is a seek, too"
    assert read(ahead, (0, MIB)) == [0], "and so is the same again"


def test_who_leaves_a_gap_within_what_is_fetched_ahead_goes_on() -> None:
    ahead = ReadAhead()
    read(ahead, *steps(5, 4 * MIB))
    assert read(ahead, (22 * MIB, 23 * MIB))[0] > 0
    assert read(ahead, (ahead.end, ahead.end + MIB))[0] > 0
    assert read(ahead, (ahead.end + 1, ahead.end + MIB)) == [0]


def test_one_range_that_is_read_at_random_costs_itself_alone() -> None:
    ahead = ReadAhead()
    places = [(at * 7919 % 2000 * MIB, at * 7919 % 2000 * MIB + 4 * KIB) for at in range(1, 200)]
    assert read(ahead, *places) == [0] * 199


def test_of_so_many_readers_it_is_known_where_they_were_and_no_more() -> None:
    needs, options = Needs(), NeedOptions(readers_max=3)
    for name in "abcd":
        needs.of_reader(name, 0, options).blocks = BlockSet.single(ord(name))
    assert list(needs.readers) == ["b", "c", "d"]
    assert needs.of_reader("b", 0, options).blocks == BlockSet.single(ord("b"))
    needs.of_reader("e", 0, options)
    assert list(needs.readers) == ["d", "b", "e"]
    assert needs.of_reader("b", 1, options).blocks == BlockSet(), "it turned to another unit"
    assert needs.ahead == BlockSet.single(ord("d"))


def test_who_waits_longest_comes_first() -> None:
    needs = Needs()
    first, second = BlockSet(((5, 9),)), BlockSet(((0, 6),))
    needs.open[NeedId(1)] = Need(first, BlockSet())
    needs.open[NeedId(2)] = Need(second, BlockSet(((20, 30),)))
    everything = BlockSet(((0, 100),))
    assert needs.first_of(everything) == first
    assert needs.first_of(everything - first) == BlockSet(((0, 5),))
    assert needs.first_of(BlockSet(((50, 60),))) == BlockSet()
    assert needs.asked == first | second
    assert needs.ahead == BlockSet(((20, 30),))

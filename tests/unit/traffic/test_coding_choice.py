"""Which way is better is measured, and measured again."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from ckptd.limits import MIB, SECOND
from ckptd.traffic.coding_choice import (
    AGAIN_MAX_NS,
    AGAIN_MIN_NS,
    MEASURED_BYTES_MIN,
    REFUSED_NOTE,
    BodyNote,
    CodingChoice,
    CodingSource,
)

RANGE = MEASURED_BYTES_MIN


def bring(
    choice: CodingChoice,
    now: int,
    *,
    plain: float,
    coded: float,
    share: float = 0.1,
    is_offered: bool = True,
) -> bool:
    """Bring one range as it is asked for, at rates in bytes of the version a second."""
    is_coded = choice.is_coded(RANGE, now=now)
    elapsed_ns = int(RANGE / (coded if is_coded else plain) * SECOND)
    sent_bytes = int(RANGE * share) if is_coded else RANGE
    choice.note(BodyNote(is_coded, is_offered, RANGE, sent_bytes, elapsed_ns), now=now)
    return is_coded


def ways(choice: CodingChoice, count: int, *, plain: float, coded: float, share: float = 0.1,
         start: int = 0, step: int = SECOND // 4,
         is_offered: bool = True) -> list[bool]:  # fmt: skip
    return [
        bring(
            choice,
            start + number * step,
            plain=plain,
            coded=coded,
            share=share,
            is_offered=is_offered,
        )
        for number in range(count)
    ]


def offered() -> CodingChoice:
    return CodingChoice(CodingSource(codes=True, is_warm=True))


def test_a_slow_link_is_measured_once_and_then_coded() -> None:
    assert ways(offered(), 6, plain=100 * MIB, coded=600 * MIB) == [False, *[True] * 5]


def test_a_link_that_is_faster_than_the_processors_is_not() -> None:
    assert ways(offered(), 6, plain=280 * MIB, coded=200 * MIB) == [False, True, *[False] * 4]
    choice = offered()
    assert not any(ways(choice, 6, plain=1600 * MIB, coded=500 * MIB))
    assert choice.why == "13 Gbit/s is faster than coding"


def test_what_all_connections_bring_is_held_against_what_all_processors_code() -> None:
    def is_tried(plain: float, lanes: int, lanes_max: int) -> bool:
        choice = CodingChoice(CodingSource(codes=True, is_warm=True), lanes_max=lanes_max)
        assert not choice.is_coded(RANGE, now=0, lanes=lanes)
        note = BodyNote(False, True, RANGE, RANGE, int(RANGE / plain * SECOND))
        choice.note(note, now=0)
        assert choice.may_be_coded is choice.is_coded(RANGE, now=SECOND, lanes=lanes)
        return choice.may_be_coded

    # 10 Gbit/s over two connections: too fast for two processors, not for four.
    assert not is_tried(625e6, lanes=2, lanes_max=2)
    assert is_tried(625e6, lanes=2, lanes_max=4)
    assert is_tried(625e6, lanes=1, lanes_max=2)
    assert not is_tried(400e6, lanes=4, lanes_max=4)


def test_who_does_not_code_is_not_asked() -> None:
    choice = CodingChoice(CodingSource())
    assert not any(ways(choice, 6, plain=100 * MIB, coded=600 * MIB, is_offered=False))
    assert "not said" in choice.why


def test_what_does_not_get_shorter_is_not_coded() -> None:
    choice = offered()
    found = ways(choice, 6, plain=100 * MIB, coded=120 * MIB, share=1.0)
    assert found == [False, True, *[False] * 4]
    assert choice.why == "it does not get shorter"


def test_a_little_better_is_not_enough_to_change_and_a_little_worse_neither() -> None:
    assert ways(offered(), 4, plain=100 * MIB, coded=105 * MIB)[-1] is False
    choice = offered()
    ways(choice, 4, plain=100 * MIB, coded=200 * MIB)
    assert ways(choice, 8, plain=100 * MIB, coded=95 * MIB, start=2 * SECOND)[-1] is True
    assert ways(choice, 8, plain=100 * MIB, coded=60 * MIB, start=4 * SECOND)[-1] is False


def test_the_other_way_is_measured_again_later_and_later() -> None:
    choice = offered()
    found = ways(choice, 400, plain=100 * MIB, coded=50 * MIB, step=SECOND)
    again = [second for second, is_coded in enumerate(found) if is_coded]
    assert again[0] == 1
    assert again[1] - again[0] >= AGAIN_MIN_NS // SECOND
    pauses = [later - earlier for earlier, later in pairwise(again)]
    assert pauses == sorted(pauses)
    assert len(again) < 8


def test_a_link_that_becomes_slow_is_coded_when_it_is_measured_again() -> None:
    choice = offered()
    assert ways(choice, 8, plain=900 * MIB, coded=400 * MIB)[-1] is False
    found = ways(choice, 80, plain=50 * MIB, coded=400 * MIB, start=3 * SECOND)
    assert found[-1] is True


def test_what_is_known_of_a_source_counts_for_the_next_version() -> None:
    source = CodingSource(codes=True, is_warm=True)
    rates = partial(ways, plain=100 * MIB, coded=600 * MIB)
    assert rates(CodingChoice(source, "a"), 3) == [False, True, True]
    again = CodingChoice(source, "a")
    assert again.explained() == "coded: coded came 6.0 times as fast, 10.0 times shorter"
    assert rates(again, 3) == [True, True, True]
    assert CodingChoice(source, "b").explained() == "not coded: not measured yet"
    assert rates(CodingChoice(source, "b"), 2) == [True, True]


def test_what_is_worse_is_not_tried_again_for_each_version() -> None:
    source = CodingSource(codes=True, is_warm=True)
    tried = [
        ways(CodingChoice(source, "a"), 2, plain=100 * MIB, coded=50 * MIB, start=turn * SECOND)
        for turn in range(8)
    ]
    assert tried == [[False, True], *[[False, False]] * 7]


def test_what_is_known_of_checkpoints_is_bounded() -> None:
    source = CodingSource(codes=True)
    for number in range(1000):
        source.of(f"checkpoint-{number}")
        assert len(source.checkpoints) <= 256


def test_a_moment_in_which_a_fast_link_is_slow_is_no_reason_to_try() -> None:
    choice = offered()
    ways(choice, 4, plain=900 * MIB, coded=100 * MIB)
    slow = ways(choice, 4, plain=90 * MIB, coded=100 * MIB, start=SECOND)
    assert slow == [False] * 4
    assert "faster than coding" in choice.why


def test_a_fast_link_that_is_limited_since_is_measured_though_its_ranges_are_short() -> None:
    choice = offered()
    ways(choice, 4, plain=900 * MIB, coded=100 * MIB)
    short = BodyNote(False, True, MIB, MIB, SECOND // 4)  # 4 MiB/s
    found = []
    for number in range(40):
        found.append(choice.is_coded(MIB, now=(4 + number) * SECOND // 4))
        choice.note(short._replace(is_coded=found[-1]), now=(5 + number) * SECOND // 4)
    assert found.index(True) <= 12
    assert choice.may_be_coded


def test_short_ranges_make_no_fast_link_slow() -> None:
    choice = offered()
    ways(choice, 4, plain=900 * MIB, coded=100 * MIB)
    short = BodyNote(False, True, MIB, MIB, SECOND // 900)
    for number in range(400):
        assert not choice.is_coded(MIB, now=SECOND + number * SECOND // 900)
        choice.note(short, now=SECOND + number * SECOND // 900)


def test_short_ranges_in_the_end_of_a_recovery_do_not_count() -> None:
    choice = offered()
    ways(choice, 4, plain=100 * MIB, coded=300 * MIB)
    was = choice.explained()
    for _ in range(40):  # at 50 MiB/s, for as long takes asking
        choice.note(BodyNote(True, True, MIB, MIB // 9, SECOND // 50), now=SECOND)
    assert choice.explained() == was
    for _ in range(40):  # as short, and slow
        choice.note(BodyNote(True, True, MIB, MIB // 9, SECOND // 5), now=SECOND)
    assert choice.explained().startswith("not coded")


def test_what_is_known_is_measured_again_with_short_ranges_unless_none_come() -> None:
    choice = offered()
    ways(choice, 3, plain=100 * MIB, coded=600 * MIB)
    later, much_later = SECOND + AGAIN_MIN_NS, SECOND + 5 * AGAIN_MIN_NS
    assert choice.is_coded(4 * RANGE, now=later), "a long one would cost too much"
    assert not choice.is_coded(RANGE, now=later)
    assert choice.is_coded(4 * RANGE, now=later)
    assert not choice.is_coded(4 * RANGE, now=much_later), "of the short one nothing came"
    assert choice.is_coded(4 * RANGE, now=much_later)


def test_the_first_coded_range_is_not_counted() -> None:
    choice = CodingChoice(CodingSource(codes=True))
    assert ways(choice, 2, plain=100 * MIB, coded=1 * MIB) == [False, True]
    assert ways(choice, 4, plain=100 * MIB, coded=600 * MIB) == [True] * 4


def test_what_is_under_way_before_the_other_way_is_known_is_bounded() -> None:
    choice = offered()
    ways(choice, 1, plain=100 * MIB, coded=600 * MIB)
    asked = [choice.is_coded(RANGE, now=SECOND) for _ in range(8)]
    assert asked == [True, True, *[False] * 6]


def test_a_way_of_which_nothing_came_is_tried_again() -> None:
    choice = offered()
    ways(choice, 1, plain=100 * MIB, coded=600 * MIB)
    assert [choice.is_coded(RANGE, now=SECOND) for _ in range(3)] == [True, True, False]
    assert choice.is_coded(RANGE, now=SECOND + AGAIN_MIN_NS)


def test_who_says_no_more_that_it_codes_is_not_asked() -> None:
    choice = offered()
    assert ways(choice, 4, plain=100 * MIB, coded=600 * MIB)[-1] is True
    later = partial(ways, choice, plain=100 * MIB, coded=600 * MIB, start=SECOND)
    assert later(4, is_offered=False) == [True, False, False, False]
    assert later(2) == [False, True]


def test_who_refuses_what_it_offers_is_asked_again_much_later() -> None:
    choice = offered()
    assert ways(choice, 4, plain=100 * MIB, coded=600 * MIB)[-1] is True
    choice.note(REFUSED_NOTE, now=SECOND)
    assert choice.why == "the source said that it codes, and refused to"
    again = partial(ways, choice, plain=100 * MIB, coded=600 * MIB)
    assert not any(again(8, start=SECOND))
    assert again(3, start=SECOND + AGAIN_MAX_NS) == [False, False, True]


def test_that_too_little_came_coded_to_compare_is_said() -> None:
    choice = CodingChoice(CodingSource(codes=True))  # of which nothing is loaded yet
    assert ways(choice, 2, plain=100 * MIB, coded=600 * MIB) == [False, True]
    assert choice.explained() == "not coded: some ranges were asked for coded, too few to compare"
    ways(choice, 1, plain=100 * MIB, coded=600 * MIB, start=SECOND)
    assert choice.explained().startswith("coded: coded came 6.0 times")


def test_people_are_told_how_blocks_come_and_why() -> None:
    choice = CodingChoice(CodingSource(is_warm=True))
    assert choice.explained() == "not coded: the source has not said that it codes"
    rates = partial(bring, choice, plain=100 * MIB, coded=320 * MIB, share=1 / 22)
    rates(0)
    assert choice.explained() == "not coded: not measured yet"
    rates(SECOND)
    assert choice.explained() == "coded: coded came 3.2 times as fast, 22.0 times shorter"
    rates(SECOND, is_offered=False)
    assert choice.explained() == "not coded: the source has not said that it codes"

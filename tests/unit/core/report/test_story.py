"""The story itself: bounded, counted, in words."""

from __future__ import annotations

from ckptd.core.report.story import ENTRIES_MAX, Entry, Story, format_span, sentence
from ckptd.limits import MIB, MS, PEERS_MAX, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import StoryKind, StoryReason
from tests.support.scheduling import A, B

PAUSE = {"pause_ns": 250 * MS}


def detour(at_ns: int) -> Entry:
    numbers = {"needs_ns": 4 * SECOND, "rest_ns": 500 * MS}
    return Entry(at_ns, StoryKind.DETOUR, StoryReason.SLOW, A, numbers=numbers)


def test_what_falls_out_of_a_story_is_still_counted() -> None:
    story = Story()
    for moment in range(ENTRIES_MAX + 5):
        story.add(Entry(moment, StoryKind.BACK_OFF, StoryReason.BUSY, A, numbers=PAUSE))
    assert [entry.at_ns for entry in story.entries] == list(range(5, ENTRIES_MAX + 5))
    assert story.counts == {StoryKind.BACK_OFF: ENTRIES_MAX + 5}


def test_a_source_that_is_passed_over_again_and_again_is_told_of_once() -> None:
    story = Story()
    for moment in range(3):
        story.add(detour(moment))
    story.add(Entry(3, StoryKind.BACK_OFF, StoryReason.BUSY, A, numbers=PAUSE))
    story.add(detour(4))
    assert [entry.at_ns for entry in story.entries] == [0, 3, 4]
    assert story.counts[StoryKind.DETOUR] == 4


def test_of_too_many_sources_the_one_told_of_longest_ago_is_forgotten() -> None:
    story = Story()
    for number in range(PEERS_MAX):
        story.add(Entry(number, StoryKind.SOURCE_LOST, StoryReason.LOST, NodeId(f"n{number}")))
    story.add(Entry(PEERS_MAX, StoryKind.SOURCE_LOST, StoryReason.LOST, NodeId("n0")))
    story.add(Entry(PEERS_MAX, StoryKind.SOURCE_LOST, StoryReason.LOST, NodeId("another")))
    assert len(story.latest) == PEERS_MAX
    assert "n0" in story.latest
    assert "n1" not in story.latest


def test_every_kind_has_a_sentence_with_the_numbers_that_decided() -> None:
    late = {"silent_ns": 620 * MS, "allowed_ns": 500 * MS, "pause_ns": 200 * MS}
    race = {"needs_ns": 4100 * MS, "other_needs_ns": 600 * MS}
    tried = {
        "lanes": 2,
        "before_lanes": 1,
        "before_bytes_per_s": 16 * MIB,
        "after_lanes": 2,
        "after_bytes_per_s": 32 * MIB,
    }
    entries = [
        Entry(
            0, StoryKind.VERSION_CHOSEN, StoryReason.NAMED, numbers={"version": 100}, text="named"
        ),
        Entry(
            0,
            StoryKind.HEDGE,
            StoryReason.FIRST_BYTE_LATE,
            A,
            B,
            numbers={**late, "size_bytes": MIB},
        ),
        Entry(0, StoryKind.MANIFEST_LATE, StoryReason.SILENT, A, B),
        Entry(0, StoryKind.RIVAL_EXAMINED, StoryReason.GENUINE, A, text="0a1b: genuine"),
        Entry(
            0,
            StoryKind.GIVEN_UP,
            StoryReason.NO_SOURCE,
            numbers={"version": 100, "missing": 3},
        ),
        Entry(0, StoryKind.HEDGE_SETTLED, StoryReason.OVERTAKEN, A, B),
        Entry(0, StoryKind.STEAL, StoryReason.SLOW, A, B, numbers=race),
        Entry(0, StoryKind.PREEMPTED, StoryReason.OUTRANKED, A, numbers=race),
        Entry(0, StoryKind.OUTRANKED, StoryReason.OUTRANKED, A),
        detour(0),
        Entry(0, StoryKind.LANE_LATE, StoryReason.SILENT, A, numbers=late),
        Entry(0, StoryKind.LANES_TRIED, StoryReason.FASTER, A, numbers=tried),
        Entry(0, StoryKind.LANES_TRIED, StoryReason.BUSY, A, numbers={**tried, "lanes": 1}),
        Entry(0, StoryKind.BACK_OFF, StoryReason.BUSY, A, numbers=PAUSE),
        Entry(
            0, StoryKind.QUARANTINE, StoryReason.WRONG_DIGEST, A, numbers={"pause_ns": 60 * SECOND}
        ),
        Entry(
            0, StoryKind.BAD_BLOCKS, StoryReason.WRONG_DIGEST, A, numbers={"size_bytes": 3 * MIB}
        ),
        Entry(0, StoryKind.WITHDRAWN, StoryReason.STALE, A),
        Entry(0, StoryKind.EPOCH_CHANGED, StoryReason.REBORN, A),
        Entry(0, StoryKind.SOURCE_LOST, StoryReason.LOST, A),
        Entry(
            0, StoryKind.DISK_REFUSED, StoryReason.RETRYABLE, numbers=PAUSE, text="/data: no room"
        ),
        Entry(0, StoryKind.DISK_REFUSED, StoryReason.STAGING_LOST, text="/data/x: was removed"),
        Entry(0, StoryKind.DISK_REFUSED, StoryReason.FATAL, text="/data: input/output error"),
        Entry(
            0, StoryKind.CRITICAL_COMPLETE, StoryReason.DURABLE, numbers={"elapsed_ns": 70 * SECOND}
        ),
        Entry(0, StoryKind.STANDSTILL, StoryReason.PAUSED, text="an operator to resume it"),
        Entry(0, StoryKind.STANDSTILL_ENDED, StoryReason.MOVING, numbers={"stood_ns": 2 * SECOND}),
    ]
    assert {entry.kind for entry in entries} == set(StoryKind)
    assert [sentence(entry) for entry in entries] == [
        "version 100 chosen: named",
        "a sent no first byte for 620ms, allowed 500ms: b was asked for the same 1 MiB",
        "a has not sent the manifest yet: b was asked as well",
        "a was asked for one block of what it says it has: 0a1b: genuine",
        "version 100 given up for another: nobody has all of it",
        "b delivered first what a was asked for as well: a cut off",
        "a had 4.1s of work left, b would need 600ms: taken over",
        "a had 4.1s of work left, and has more urgent work of another recovery: cut off",
        "a has more urgent work of another recovery",
        "a would need 4.0s for a range, all others 500ms for the whole rest: passed over",
        "a was silent for 620ms, allowed 500ms: cut off, not asked for 200ms",
        "a gave 16 MiB/s over 1 lane, 32 MiB/s over 2 lanes: 2 kept",
        "a said it is busy on lane 2: 1 kept",
        "a said it is busy: not asked for 250ms",
        "a stands by bad blocks: in quarantine for 1m00s",
        "a sent 3 MiB with a wrong digest",
        "a does not hold the version any more",
        "a was started again: nothing old is held to it",
        "a does not answer any more",
        "this node's disk: /data: no room; tried again in 250ms",
        "/data/x: was removed; what is lost is fetched again",
        "this node's disk: /data: input/output error",
        "every critical unit durable after 1m10s",
        "stands still, waiting for an operator to resume it",
        "goes on after 2.0s",
    ]


def test_spans_below_a_second_are_in_milliseconds() -> None:
    assert [format_span(span) for span in (0, 999_999, SECOND - 1, SECOND)] == [
        "0ms",
        "0ms",
        "999ms",
        "1.0s",
    ]

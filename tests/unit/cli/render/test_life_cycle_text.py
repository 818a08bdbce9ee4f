from __future__ import annotations

from msgspec.structs import replace

from ckptd.cli.render.life_cycle_text import (
    activated_lines,
    forgotten_lines,
    removed_lines,
    removing_picture,
    withdrawn_lines,
)
from ckptd.control.messages.current_links import Activated, LinkRow
from tests.support.control_samples import ACTIVATED, LET_GO, REMOVE_PROGRESS, REMOVED

PLACE = LET_GO.places[0]
ROW = REMOVED.places[0]


def test_what_was_withdrawn_is_named_with_the_way_back() -> None:
    assert withdrawn_lines(LET_GO) == [
        "withdrew llama/rank-0@100 in /data/llama/rank-0/100",
        "withdrew 1 version of 2 GiB",
        "Files stay; 'ckptctl publish' of a directory puts it on offer again.",
    ]


def test_what_was_withdrawn_before_is_said_to_be() -> None:
    assert withdrawn_lines(replace(LET_GO, places=())) == ["withdrawn already"]


def test_a_version_at_two_places_counts_once() -> None:
    other = replace(PLACE, directory="/data/copy", is_elsewhere=True)
    third = replace(PLACE, version=200, digest="cd" * 32)
    lines = forgotten_lines(replace(LET_GO, places=(PLACE, other, third)))
    assert lines == [
        "forgot llama/rank-0@100 in /data/llama/rank-0/100",
        "forgot llama/rank-0@100 in /data/copy, which stays on offer from another place",
        "forgot llama/rank-0@200 in /data/llama/rank-0/100",
        "forgot 2 versions of 4 GiB",
        "Files stay; 'ckptctl publish' of a directory takes it up again.",
    ]


def test_what_would_be_done_is_not_called_done() -> None:
    for lines in (
        withdrawn_lines(replace(LET_GO, is_dry_run=True)),
        forgotten_lines(replace(LET_GO, is_dry_run=True)),
    ):
        assert [line.startswith("would ") for line in lines] == [True, True, False]
    assert removed_lines(replace(REMOVED, is_dry_run=True)) == [
        "would remove llama/rank-0@100 from /data/llama/rank-0/100: 12 files, 2 GiB",
        "nothing was removed: this is what would be",
    ]


def test_what_was_removed_and_what_stays_is_named() -> None:
    assert removed_lines(REMOVED) == [
        "removed llama/rank-0@100 from /data/llama/rank-0/100: 12 files, 2 GiB"
    ]
    row = replace(ROW, files=1, changed=("a", "b"), kept=("c",), is_directory_gone=False)
    assert removed_lines(replace(REMOVED, places=(row,))) == [
        "removed llama/rank-0@100 from /data/llama/rank-0/100: 1 file, 2 GiB",
        "changed since it was recorded, and removed with it: a, b",
        "changed in the meantime, and kept: c",
        "/data/llama/rank-0/100 stays: it has other files",
    ]


def test_a_directory_with_hostile_characters_does_no_harm() -> None:
    place = replace(PLACE, directory="/data/\x1b[31m")
    assert "\x1b" not in "".join(withdrawn_lines(replace(LET_GO, places=(place,))))
    row = replace(ROW, directory="/data/\x1b[31m", is_directory_gone=False)
    assert "\x1b" not in "".join(removed_lines(replace(REMOVED, places=(row,))))


def test_progress_is_a_line_and_a_picture() -> None:
    picture = removing_picture(REMOVE_PROGRESS)
    assert picture.stage == "removing"
    nothing_to_hash = replace(REMOVE_PROGRESS, files_total=0, bytes_total=0)
    assert removing_picture(nothing_to_hash).line == "removing"
    assert picture.line == "removing: 1/2 files that look different, 512 MiB of 2 GiB hashed"


(LINK,) = ACTIVATED.links
AWAY = replace(LINK, version=None, directory=None, version_before=100)


def link_lines(*rows: LinkRow) -> list[str]:
    return activated_lines(Activated(links=rows))


def test_a_link_is_shown_with_where_it_leads_and_led() -> None:
    where = "/data/llama/rank-0/current → /data/llama/rank-0/100"
    assert link_lines(LINK) == [f"llama/rank-0@100 is active: {where} (in 0.8 ms, before 99)"]
    first = replace(LINK, version_before=None)
    assert link_lines(first) == [f"llama/rank-0@100 is active: {where} (in 0.8 ms)"]
    assert link_lines(replace(LINK, is_new=False)) == [
        f"llama/rank-0@100 is active already: {where}"
    ]


def test_a_link_that_was_taken_away_is_gone_and_what_else_has_its_name_is_named() -> None:
    assert link_lines(AWAY, replace(AWAY, left="link /data/x: is a file")) == [
        "llama/rank-0@100 is active no more: /data/llama/rank-0/current is gone; the version stays",
        "llama/rank-0@100 is active no more; what has the name stays: link /data/x: is a file",
    ]


def test_nothing_of_the_path_of_a_link_reaches_the_terminal_as_it_is() -> None:
    assert "\x1b" not in "".join(link_lines(replace(LINK, link="/data/\x1b[31m")))

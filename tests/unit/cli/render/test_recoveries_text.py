"""The list of recoveries, on wide and narrow terminals."""

import msgspec
import pytest

from ckptd.cli.render.recoveries_text import began_and_goes, progress_picture, recovery_lines
from ckptd.model.words import Stage
from tests.support.control_samples import VIEW

replace = msgspec.structs.replace


def test_recoveries_say_how_far_they_are_where_they_go_and_why_they_wait() -> None:
    known = replace(VIEW, target="/data/100", started_at_s=1_700_000_000.0)
    views = [
        known,
        replace(known, recovery="01J8", is_paused=True, eta_s=None, waiting_for="an operator"),
        replace(
            known, recovery="01J7", version=None, stage=Stage.SEEKING, bytes_total=0, target=""
        ),
        replace(VIEW, recovery="01J6", stage=Stage.FAILED, message="nobody has it", target=""),
    ]
    views[-1] = replace(views[-1], started_at_s=0.0, elapsed_s=75.0)
    assert recovery_lines(views) == [
        "RECOVERY  CHECKPOINT        STAGE         DONE  LEFT     ETA   TOOK",
        "01J9QX    llama/rank-0@100  transferring  25%   1.5 GiB  1.0s  0.4s",
        "  began 2023-11-14 22:13:20Z → /data/100",
        "01J8      llama/rank-0@100  paused        25%   1.5 GiB  -     0.4s",
        "  began 2023-11-14 22:13:20Z → /data/100",
        "  waiting: an operator",
        "01J7      llama/rank-0      seeking       -     1.5 GiB  1.0s  0.4s",
        "  began 2023-11-14 22:13:20Z",
        "01J6      llama/rank-0@100  failed        25%   1.5 GiB  1.0s  1m15s",
        "  nobody has it",
    ]


def test_who_asked_for_a_recovery_is_said_unless_it_was_a_person() -> None:
    view = replace(VIEW, started_at_s=0.0, target="")
    said = [began_and_goes(replace(view, asked_by=by)) for by in ("", "configuration", "copies")]
    assert said == ["", "asked for by the configuration", "a copy for others"]


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_keeps_ids_and_shares_whole(width: int) -> None:
    view = replace(
        VIEW,
        recovery="r-0123456789ab",
        checkpoint="a-name-of-some-length/rank-17",
        version=12000,
        target="/data/" + "d" * 90,
        waiting_for="a peer that has what is missing",
    )
    lines = recovery_lines([view], width)
    assert max(map(len, lines)) <= width
    assert "DONE" in lines[0]
    for kept in ("r-0123456789ab", "@12000" if width == 80 else "r-", "25%"):
        assert kept in lines[1]
    assert ("TOOK" in lines[0]) == (width == 80)


def test_several_recoveries_are_one_table_with_a_sum() -> None:
    views = [
        replace(VIEW, recovery="01J8", checkpoint="llama/b", stage=Stage.COMPLETE, bytes_left=0),
        replace(VIEW, checkpoint="llama/a", waiting_for="a peer"),
    ]
    picture = progress_picture(views, 80)
    assert picture.line == "1 of 2 ended, 25%, 1.5 GiB left, 3 GiB/s"
    assert list(picture.lines) == [
        picture.line,
        "CHECKPOINT   STAGE         DONE  LEFT     ETA   WAITING",
        "llama/a@100  transferring  25%   1.5 GiB  1.0s  a peer",
        "llama/b@100  complete      25%   0 B      1.0s",
    ]


def test_a_picture_of_very_many_recoveries_fits_a_terminal() -> None:
    views = [replace(VIEW, checkpoint=f"llama/{number:03}" * 9) for number in range(64)]
    picture = progress_picture(views, 80)
    assert len(picture.lines) < 24
    assert picture.lines[-1] == "and 44 more"
    assert max(map(len, picture.lines)) <= 80

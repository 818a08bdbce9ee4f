import msgspec

from ckptd.cli.render.checkpoint_text import checkpoint_lines
from ckptd.cli.render.text import WIDTH
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.limits import DAY_S, GIB, MIB
from ckptd.model.words import Location, PlaceState
from tests.support.control_samples import CHECKPOINT, PLACE

replace = msgspec.structs.replace


def test_what_is_active_says_so_and_where_readers_find_it() -> None:
    link = "/data/llama/rank-0/current"
    active = replace(PLACE, active_link=link)
    suspect = replace(active, state=PlaceState.SUSPECT, suspect_units=1)
    rows = [
        replace(CHECKPOINT, held=Location.HERE, places=(active,)),
        replace(CHECKPOINT, version=99, places=(suspect,)),
    ]
    assert checkpoint_lines(rows)[1:] == [
        "llama/rank-0  100      2 GiB  -      -    active   node-b,node-c",
        f"  /data/llama/rank-0/100: here; active as {link}",
        "llama/rank-0  99       2 GiB  -      -    suspect  node-b,node-c",
        "  /data/llama/rank-0/100: suspect: 1 of 12 units are hashed again; active as " + link,
    ]


def test_checkpoints_say_where_they_are_held_and_for_how_long() -> None:
    young = replace(PLACE, age_s=59.0)
    old = replace(PLACE, directory="/data/old", age_s=3.5 * DAY_S, checked_age_s=7200.0)
    rows = [
        CHECKPOINT,
        replace(
            CHECKPOINT,
            version=99,
            held=Location.HERE,
            units=12,
            nodes=("node-a",),
            places=(young,),
        ),
        replace(CHECKPOINT, version=98, held=Location.HERE, is_stale=True, nodes=()),
        replace(CHECKPOINT, version=97, is_complete=False, nodes=()),
        replace(CHECKPOINT, version=96, held=Location.HERE, places=(young, old)),
    ]
    assert checkpoint_lines(rows) == [
        "CHECKPOINT    VERSION  SIZE   UNITS  AGE  HELD     NODES",
        "llama/rank-0  100      2 GiB  -      -    peers    node-b,node-c",
        "llama/rank-0  99       2 GiB  12     59s  here     node-a",
        "llama/rank-0  98       2 GiB  -      -    stale    -",
        "llama/rank-0  97       2 GiB  -      -    in part  -",
        "llama/rank-0  96       2 GiB  -      3d   here     node-b,node-c",
        "  /data/llama/rank-0/100: here",
        "  /data/old: here, checked 2h ago",
    ]


def test_links_are_counted_and_a_wrong_one_is_said() -> None:
    wrong = replace(
        PLACE,
        directory="/data/c",
        state=PlaceState.STALE,
        reason="symbolic link /data/c/latest: was removed",
        wrong_names=1,
    )
    row = replace(CHECKPOINT, units=4, links=1, empty_directories=2, places=(wrong,))
    lines = checkpoint_lines([row])
    assert "  4, 1 link, 2 empty directories  " in lines[1]
    assert lines[2:] == [
        "  /data/c: stale: symbolic link latest: was removed; all units are served"
    ]


def test_places_that_are_not_simply_here_have_a_line_of_their_own() -> None:
    suspect = replace(PLACE, directory="/data/b", state=PlaceState.SUSPECT, suspect_units=2)
    stale = replace(
        PLACE,
        directory="/data/c",
        state=PlaceState.STALE,
        reason="file /data/c/a: was removed",
        changed_units=3,
    )
    partial = replace(PLACE, directory="/data/d", state=PlaceState.PARTIAL, units=3)
    withdrawn = replace(PLACE, directory="/data/e", state=PlaceState.WITHDRAWN)
    rows = [
        replace(CHECKPOINT, version=99, held=Location.HERE, places=(PLACE,)),
        replace(CHECKPOINT, version=98, places=(stale, suspect)),
        replace(CHECKPOINT, version=97, held=Location.HERE, places=(PLACE, withdrawn)),
        replace(CHECKPOINT, version=96, units=12, places=(partial,)),
        replace(CHECKPOINT, version=95, places=(withdrawn,)),
    ]
    assert checkpoint_lines(rows)[1:] == [
        "llama/rank-0  99       2 GiB  -      -    here       node-b,node-c",
        "llama/rank-0  98       2 GiB  -      -    suspect    node-b,node-c",
        "  /data/c: stale: a: was removed (3 of 12 units)",
        "  /data/b: suspect: 2 of 12 units are hashed again",
        "llama/rank-0  97       2 GiB  -      -    here       node-b,node-c",
        "  /data/llama/rank-0/100: here",
        "  /data/e: withdrawn",
        "llama/rank-0  96       2 GiB  12     -    partial    node-b,node-c",
        "  /data/d: partial: 3 of 12 units",
        "llama/rank-0  95       2 GiB  -      -    withdrawn  node-b,node-c",
        "  /data/e: withdrawn",
    ]
    lonely = replace(CHECKPOINT, places=(replace(stale, units=1, changed_units=1),))
    assert checkpoint_lines([lonely])[-1] == "  /data/c: stale: a: was removed (1 of 1 unit)"
    assert checkpoint_lines(rows, 40)[3:7] == [
        "  /data/c: stale: a: was removed (3 of",
        "    12 units)",
        "  /data/b: suspect: 2 of 12 units are",
        "    hashed again",
    ]
    assert all(len(line) <= WIDTH for line in checkpoint_lines(rows, WIDTH))


def test_what_is_here_for_others_says_so() -> None:
    """A job does not find it where it looks for its own."""
    copy = replace(PLACE, directory="/copies/a", is_copy=True)
    some = replace(copy, state=PlaceState.CHOSEN, units=3)
    rows = [
        replace(CHECKPOINT, version=99, held=Location.HERE, places=(copy,)),
        replace(CHECKPOINT, version=98, units=12, places=(some,)),
        replace(CHECKPOINT, version=97, held=Location.HERE, places=(PLACE, copy)),
        replace(CHECKPOINT, version=96, places=(replace(copy, state=PlaceState.WITHDRAWN),)),
    ]
    assert [line.split()[6:7] for line in checkpoint_lines(rows)[1:] if line[0] != " "] == [
        ["a"],
        ["a"],
        ["here"],
        ["withdrawn"],
    ]
    assert [line for line in checkpoint_lines(rows) if line[0] == " "] == [
        "  /copies/a: a copy for others: 3 of 12 units",
        "  /data/llama/rank-0/100: here",
        "  /copies/a: a copy for others",
        "  /copies/a: withdrawn",
    ]


def test_several_contents_of_one_version_can_be_distinguished() -> None:
    rows = [
        replace(CHECKPOINT, digest="ab" * 32),
        replace(CHECKPOINT, digest="cd" * 32, nodes=("node-d",)),
        replace(CHECKPOINT, version=99),
    ]
    assert [line.split()[1:3] for line in checkpoint_lines(rows)[1:]] == [
        ["100", "abababababab"],
        ["100", "cdcdcdcdcdcd"],
        ["99", "2"],
    ]


def test_a_usual_row_fits_a_screen() -> None:
    usual = replace(
        CHECKPOINT,
        checkpoint="llama-3-70b/rank-127",
        version=128_000,
        units=1200,
        held=Location.HERE,
        nodes=("node-a", "node-b"),
        places=(replace(PLACE, age_s=7200.0),),
    )
    assert all(len(line) <= WIDTH for line in checkpoint_lines([usual]))


def test_what_peers_and_files_are_called_moves_no_cursor() -> None:
    evil = replace(PLACE, state=PlaceState.STALE, directory="/a\n", reason="\x1b[2J was removed")
    rows = [replace(CHECKPOINT, nodes=("\x1b[2J",), places=(evil,))]
    assert all(line.isprintable() for line in checkpoint_lines(rows))


def test_wide_rows_say_what_has_to_be_there_first() -> None:
    first = MinimalSetView(phase="core", units=3, bytes=GIB, is_everything=False, predicted_s=1.5)
    alone = MinimalSetView(phase="all", units=12, bytes=2 * GIB, is_everything=True)
    rows = [
        replace(CHECKPOINT, minimal_set=first, critical_bytes=MIB),
        replace(CHECKPOINT, version=99, minimal_set=alone, critical_bytes=0, places=(PLACE,)),
        replace(CHECKPOINT, version=98),
    ]
    wide = checkpoint_lines(rows, 20, is_wide=True)
    assert [line.partition("node-c")[2].strip() for line in wide[1:]] == [
        "core: 3 units, 1 GiB  1.5s  1 MiB     abababababab",
        "all of it             -     0 B       abababababab",
        "-                     -     -         abababababab",
    ]
    assert wide[0].endswith("FIRST PHASE           IN    CRITICAL  DIGEST")
    assert not any("core" in line for line in checkpoint_lines(rows))

from __future__ import annotations

from msgspec.structs import replace

from ckptd.cli.render.active_text import activated_lines
from ckptd.control.messages.activations import Activated, LinkRow
from tests.support.control_samples import ACTIVATED

(ROW,) = ACTIVATED.links
AWAY = replace(ROW, version=None, directory=None, version_before=100)


def lines(*rows: LinkRow) -> list[str]:
    return activated_lines(Activated(links=rows))


def test_a_link_is_shown_with_where_it_leads_and_led() -> None:
    where = "/data/llama/rank-0/current → /data/llama/rank-0/100"
    assert lines(ROW) == [f"llama/rank-0@100 is active: {where} (in 0.8 ms, before 99)"]
    first = replace(ROW, version_before=None)
    assert lines(first) == [f"llama/rank-0@100 is active: {where} (in 0.8 ms)"]
    assert lines(replace(ROW, is_new=False)) == [f"llama/rank-0@100 is active already: {where}"]


def test_a_link_that_was_taken_away_is_gone_and_what_else_has_its_name_is_named() -> None:
    assert lines(AWAY, replace(AWAY, left="link /data/x: is a file")) == [
        "llama/rank-0@100 is active no more: /data/llama/rank-0/current is gone; the version stays",
        "llama/rank-0@100 is active no more; what has the name stays: link /data/x: is a file",
    ]


def test_nothing_of_a_path_reaches_the_terminal_as_it_is() -> None:
    assert "\x1b" not in "".join(lines(replace(ROW, link="/data/\x1b[31m")))

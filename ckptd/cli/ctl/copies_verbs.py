"""``ckptctl copies``: which copies there are of what this node lists, and what is short."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd.cli.ctl.verb import Verb, client_of, print_answer, say, terminal_width
from ckptd.cli.render.copies_text import copies_lines
from ckptd.control.messages.copies import CopiesRequest, CopiesView, exit_code_of_copies
from ckptd.errors import ExitCode
from ckptd.model.ids import parse_checkpoint_name

_COPIES: Final = """\
Show how many copies there are of what this node lists in [copies], as this node
sees it: the sum, then what is not as asked, and why. A copy counts once a block
of it was verified within the last day. -o wide shows what is whole as well, and
who holds what.
With --check it ends with 0 only if all copies that are asked are known to be
there, with 3 if some are not, or not proven yet, with 1 if that is not known,
with 4 if nothing is known of what [copies] names: they may be mistyped.

examples:
  ckptctl copies
  ckptctl copies llama -o wide
  ckptctl copies --check || echo 'not safe yet'
  ckptctl copies -o json | jq '.versions[] | select(.state != "whole")'
"""


def _add_copies(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="only of this checkpoint or job")
    parser.add_argument(
        "--check", action="store_true", help="end with 0 only if all are there, and proven"
    )


def _copies(arguments: Namespace) -> ExitCode:
    name = None if arguments.name is None else parse_checkpoint_name(arguments.name)
    view = client_of(arguments).copies(CopiesRequest(name=name))
    is_wide = arguments.output == "wide"
    lines = copies_lines(
        view, terminal_width(), is_all=is_wide or name is not None, is_wide=is_wide
    )
    print_answer(arguments, view, lines)
    if name is not None and view.names and not view.versions:
        say(f"nothing of {name} is listed in [copies] and known")
        return ExitCode.MISSING
    if not arguments.check:
        return ExitCode.DONE
    code = exit_code_of_copies(view)
    if code is ExitCode.FAILED:
        say(f"it is not known whether all copies are there: {_unknown(view)}")
    elif code is ExitCode.MISSING:
        say("nothing is known of what [copies] names; 'ckptctl checkpoints' lists what is known")
    return code


def _unknown(view: CopiesView) -> str:
    """Say why nothing is known of copies."""
    if not view.names:
        return "[copies] names nothing"
    return view.obstacle or "not every peer was heard yet since the start"


VERBS: Final = (
    Verb(
        "copies",
        "how many copies there are, and what is short",
        _copies,
        _COPIES,
        _add_copies,
        outputs=("table", "wide", "json"),
    ),
)

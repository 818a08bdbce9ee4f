"""``ckptctl activate``: which version readers find under one name."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd.cli.ctl.verb import Verb, absolute, client_of, print_answer
from ckptd.cli.render.life_cycle_text import activated_lines
from ckptd.control.messages.current_links import ActivateRequest
from ckptd.errors import ExitCode
from ckptd.model.ids import parse_reference

_ACTIVATE: Final = """\
Let the link of a checkpoint lead to a version that stands on this node: readers
find it under one name, at any time the version before or the one after. What is
active is neither withdrawn, forgotten nor removed. The version is looked at
first; what is suspect, stale or not whole does not become active. What else has
the name of the link is never replaced.

examples:
  ckptctl activate llama/rank-3@1200       # llama/rank-3/current leads to it
  ckptctl activate llama/rank-3@1200 --place /data/copy  # if it stands in two
  ckptctl activate llama/rank-3@1200 --partial  # also without required units
  ckptctl activate --none llama/rank-3     # take the link away; versions stay
"""


def _add_activate(parser: ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME[@VERSION]", help="e.g. llama/rank-3@1200")
    parser.add_argument("--none", action="store_true", help="take the link away; versions stay")
    parser.add_argument("--place", metavar="DIR", help="the directory that is meant, of several")
    parser.add_argument(
        "--partial", action="store_true", help="also if required units are missing there"
    )


def _object_to_activate(arguments: Namespace) -> str:
    if arguments.none:
        return "--none is for the link alone" if arguments.place or arguments.partial else ""
    is_named = "@" in arguments.reference
    return "" if is_named else "it needs a version: NAME@VERSION, or --none to take the link away"


def _activate(arguments: Namespace) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference)
    place = arguments.place
    answer = client_of(arguments).activate(
        ActivateRequest(
            checkpoint=checkpoint,
            version=version,
            place=None if place is None else absolute(place, is_resolved=True),
            allow_partial=arguments.partial,
            takes_away=arguments.none,
        )
    )
    print_answer(arguments, answer, activated_lines(answer))
    return ExitCode.DONE


VERBS: Final = (
    Verb(
        "activate",
        "let the link of a checkpoint lead to a version",
        _activate,
        _ACTIVATE,
        _add_activate,
        _object_to_activate,
    ),
)

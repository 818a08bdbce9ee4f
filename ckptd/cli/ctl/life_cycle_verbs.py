"""``ckptctl withdraw``, ``forget``, ``remove`` and ``gc``: versions that are let go."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Final

from ckptd.cli.ctl.verb import Verb, absolute, client_of, print_answer, say, versioned
from ckptd.cli.render.life_cycle_text import (
    forgotten_lines,
    removed_lines,
    withdrawn_lines,
)
from ckptd.cli.render.live import follow_collecting, follow_removing
from ckptd.cli.render.retention_text import collected_lines
from ckptd.control.messages.life_cycle import LetGo, LetGoRequest, RemoveRequest
from ckptd.control.messages.retention import CollectRequest
from ckptd.errors import ExitCode, UsageError
from ckptd.model.ids import parse_checkpoint_name, parse_reference
from ckptd.model.quantities import parse_size

_WITHDRAW: Final = """\
Take a version off offer, or all versions of a checkpoint: peers hear at once
that it cannot be had here any more. Files and catalog stay as they are, also
over restarts; publishing the directory puts it on offer again.

examples:
  ckptctl withdraw llama/rank-3@1200
  ckptctl withdraw llama/rank-3 --dry-run     # all versions; only say which
  ckptctl withdraw llama/rank-3@1200 --place /data/copy
"""

_FORGET: Final = """\
Forget a version, or all versions of a checkpoint: they are not on offer any
more, and make room in the catalog. Files stay as they are.

examples:
  ckptctl forget llama/rank-3@1200
  ckptctl forget llama/rank-3 --dry-run       # all versions; only say which
  ckptctl forget llama/rank-3@1200 --place /data/copy
"""

_REMOVE: Final = """\
Remove a version with its files: off the offer first, then off the disk. Only
files that are what was published or recovered go; if one was changed since,
nothing is removed without --overwrite. Other files in its directory stay. Of a
symbolic link the link is removed, not what it leads to.

examples:
  ckptctl remove llama/rank-3@1200 --dry-run
  ckptctl remove llama/rank-3@1200
  ckptctl remove llama/rank-3@1200 --place /data/copy
"""


_GC: Final = """\
Remove what nothing keeps by the rules of [retention], as the daemon does by
itself, but now; and say of every version why it goes or stays. The newest of a
checkpoint never goes, nor the active one, nor what is read or recovered, here or
at a peer, nor the last copy: other nodes are asked just before.

examples:
  ckptctl gc --dry-run
  ckptctl gc llama
  ckptctl gc --free 500GiB   # also what only stays for its time, the oldest first
"""


def _add_gc(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="only of this checkpoint or job")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--free", metavar="SIZE", help="so much is to be free on each root's disk")


def _gc(arguments: Namespace) -> ExitCode:
    as_json = arguments.output == "json"
    request = CollectRequest(
        name=None if arguments.name is None else parse_checkpoint_name(arguments.name),
        is_dry_run=arguments.dry_run,
        free_bytes=None if arguments.free is None else _free_bytes(arguments.free),
    )
    try:
        rows, result = follow_collecting(client_of(arguments), request, as_json=as_json)
    except KeyboardInterrupt:
        say("interrupted; see 'ckptctl checkpoints' for what is left")
        return ExitCode.INTERRUPTED
    if not as_json:
        print("\n".join(collected_lines(rows, result)))
    return ExitCode.DONE


def _free_bytes(typed: str) -> int:
    """Read how much is to be free.

    Raises:
        UsageError: It is no size.
    """
    if typed.endswith("%"):
        raise UsageError(
            f"--free {typed[:40]}",
            "is a share of a disk, and not a size like 500GiB",
            "Shares are for min_free of [retention].",
        )
    return parse_size(typed)


def _add_let_go(parser: ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME[@VERSION]", help="e.g. llama/rank-3@1200")
    _add_how(parser)


def _add_how(parser: ArgumentParser) -> None:
    parser.add_argument("--place", metavar="DIR", help="only where it stands in this directory")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def _add_remove(parser: ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME@VERSION", help="e.g. llama/rank-3@1200")
    _add_how(parser)
    parser.add_argument("--overwrite", action="store_true", help="also files that were changed")


def _place(arguments: Namespace) -> str | None:
    # As for publishing: the daemon knows no symbolic link on the way to a directory.
    return None if arguments.place is None else absolute(arguments.place, is_resolved=True)


def _let_go(
    arguments: Namespace,
    ask: Callable[[LetGoRequest], LetGo],
    lines_of: Callable[[LetGo], list[str]],
) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference)
    answer = ask(
        LetGoRequest(
            checkpoint=checkpoint,
            version=version,
            place=_place(arguments),
            is_dry_run=arguments.dry_run,
        )
    )
    print_answer(arguments, answer, lines_of(answer))
    return ExitCode.DONE


def _withdraw(arguments: Namespace) -> ExitCode:
    return _let_go(arguments, client_of(arguments).withdraw, withdrawn_lines)


def _forget(arguments: Namespace) -> ExitCode:
    return _let_go(arguments, client_of(arguments).forget, forgotten_lines)


def _remove(arguments: Namespace) -> ExitCode:
    checkpoint, version = versioned(arguments, "remove")
    request = RemoveRequest(
        checkpoint=checkpoint,
        version=version,
        place=_place(arguments),
        overwrite=arguments.overwrite,
        is_dry_run=arguments.dry_run,
    )
    as_json = arguments.output == "json"
    try:
        result = follow_removing(client_of(arguments), request, as_json=as_json)
    except KeyboardInterrupt:
        say("interrupted; see 'ckptctl checkpoints' for what is left")
        return ExitCode.INTERRUPTED
    if not as_json:
        print("\n".join(removed_lines(result)))
    return ExitCode.DONE


VERBS: Final = (
    Verb(
        "withdraw", "take versions off offer; their files stay", _withdraw, _WITHDRAW, _add_let_go
    ),
    Verb("forget", "forget versions; their files stay", _forget, _FORGET, _add_let_go),
    Verb("remove", "remove a version with its files", _remove, _REMOVE, _add_remove),
    Verb("gc", "remove versions that nothing keeps by [retention]", _gc, _GC, _add_gc),
)

"""``ckptctl newest`` and ``adopt``: jobs, whose versions are saved in shards."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd.cli.ctl.verb import Verb, client_of, duration_s, print_answer, utf8
from ckptd.cli.render.job_text import newest_lines
from ckptd.cli.render.life_cycle_text import adopted_lines
from ckptd.control.messages.jobs import AdoptRequest, NewestRequest, NewestView
from ckptd.errors import ExitCode
from ckptd.model.ids import parse_checkpoint_name

_NEWEST: Final = """\
Say which version of a job is the newest that is whole for all shards: the one
that 'ckptctl recover JOB' would take on any node now. With --for, wait so long
until there is one, no node is on the way to another, and all that placed one
lately placed the same, for launchers that name the version to all ranks. The
manifest of every shard was fetched by then. Where nodes placed different ones,
'ckptctl recover JOB@VERSION' on them makes them agree.

examples:
  ckptctl newest llama
  ckptctl newest llama --for 30s -o json | jq .version
"""

_ADOPT: Final = """\
Make shards of one job of checkpoints that are here under a name for each rank.
Nothing is hashed again and no file is touched; the old names are forgotten on
this node. Do it on every node. Versions that look different from what was
hashed stay as they are.

examples:
  ckptctl adopt 'llama/rank-*' as llama --dry-run
  ckptctl adopt 'llama/rank-*' as llama --count 8   # if others cannot be seen
"""


def _add_newest(parser: ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="e.g. llama")
    parser.add_argument(
        "--for", dest="for_", metavar="DURATION", help="wait for so long until nodes agree: 30s"
    )


def _newest(arguments: Namespace) -> ExitCode:
    request = NewestRequest(
        job=parse_checkpoint_name(arguments.job), for_s=duration_s(arguments.for_) or 0.0
    )
    view = client_of(arguments).newest(request)
    print_answer(arguments, view, newest_lines(view))
    return _exit_code(view)


def _exit_code(view: NewestView) -> ExitCode:
    if view.version is None:
        return ExitCode.MISSING
    return ExitCode.DONE if view.is_agreed else ExitCode.TIMED_OUT


def _add_adopt(parser: ArgumentParser) -> None:
    parser.add_argument("pattern", metavar="NAMES", help="with one '*': 'llama/rank-*'")
    parser.add_argument("as_", metavar="as", choices=("as",), help="the word itself")
    parser.add_argument("job", metavar="JOB", help="e.g. llama")
    parser.add_argument(
        "--count", metavar="N", type=int, help="how many shards; default: as many as are known"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def _adopt(arguments: Namespace) -> ExitCode:
    request = AdoptRequest(
        pattern=utf8(arguments.pattern),
        job=parse_checkpoint_name(arguments.job),
        count=arguments.count,
        is_dry_run=arguments.dry_run,
    )
    answer = client_of(arguments).adopt(request)
    print_answer(arguments, answer, adopted_lines(answer))
    return ExitCode.DONE


VERBS: Final = (
    Verb("newest", "the newest version of a job that is whole", _newest, _NEWEST, _add_newest),
    Verb("adopt", "make shards of a job of a name for each rank", _adopt, _ADOPT, _add_adopt),
)

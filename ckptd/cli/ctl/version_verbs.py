"""``ckptctl checkpoints``, ``peers`` and ``plan``: versions, and who has them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Final

from ckptd.cli.ctl.shard_arguments import add_shards, typed_shards
from ckptd.cli.ctl.unit_arguments import add_choice, object_to_choice
from ckptd.cli.ctl.verb import (
    Verb,
    client_of,
    print_answer,
    print_rows,
    say,
    terminal_width,
    utf8,
)
from ckptd.cli.render.checkpoint_text import checkpoint_lines, shard_lines
from ckptd.cli.render.manifest_text import manifest_lines
from ckptd.cli.render.plan_text import peer_view_lines, plan_lines
from ckptd.cli.render.text import peer_lines
from ckptd.cli.render.workload_text import workload_lines
from ckptd.control.messages.manifests import ManifestRequest
from ckptd.control.messages.plans import PlanRequest, exit_code_of_plan
from ckptd.control.messages.workloads import WorkloadRequest
from ckptd.errors import ExitCode
from ckptd.model.ids import (
    CheckpointName,
    parse_checkpoint_name,
    parse_reference,
)
from ckptd.model.shards import job_of

_CHECKPOINTS: Final = """\
List what this node and its peers hold, newest first. A version of a job is one
line: how many of its shards somebody has, and how many nodes have each.
-o wide also says what of each version that is here has to be there first (its
first phase), how long its critical units are, in which time a peer would have
the first phase from here, and the digest; of a job only the phase, as shards
may have files alike: 'ckptctl plan' adds them up.
--workload says instead what jobs do that save here: how often (the median of
the latest 16 versions), how much of a version is new, how long it takes to hash
one, until a second node has it, and to bring one here; and what would mend it
if a job saves faster than that. With NAME also of each of its versions.

examples:
  ckptctl checkpoints
  ckptctl checkpoints llama --shards   # one line for each shard
  ckptctl checkpoints -o wide
  ckptctl checkpoints --workload
  ckptctl checkpoints -o json | jq '.[] | {checkpoint, version, nodes}'
"""

_PEERS: Final = """\
List the peers and whether they answer, or show all that is known of one: its
rate, its trust, and every bad block it sent.

examples:
  ckptctl peers
  ckptctl peers show node-b
  ckptctl peers show node-b -o json | jq .evidence
"""

_PLAN: Final = """\
Say what a recovery would do, and begin nothing: which version and why, from
whom, how much, what nobody has, whether there is room, and how long it would
take.
Ends as the recovery would: with 4 if nobody has what it needs, with 9 if
somebody has to choose among several contents, with 1 if something else is at
the target, or there is too little room.

examples:
  ckptctl plan llama/rank-3        # the newest version that can be had
  ckptctl plan llama/rank-3@1200
  ckptctl plan llama/rank-3 --units 'model/*'  # ... and --min, as recover has
  ckptctl plan llama/rank-3 -o json | jq .predicted_complete_s
  ckptctl plan llama --shards all           # a job: its shards together
"""


_MANIFEST: Final = """\
Show what a version consists of, here or at peers: its phases, and which units
are how urgent, optional, or visible only after others. Units of which the same
is said are one row; --units lists those one by one that a pattern matches.
What a directory would become is shown by 'ckptctl publish --dry-run'.

examples:
  ckptctl manifest llama/rank-3          # the newest version that is known
  ckptctl manifest llama/rank-3@1200 --units '*.json'
  ckptctl manifest llama/rank-3@1200 -o json | jq '.phases[0].bytes'
"""


def _add_checkpoints(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="only this checkpoint or job")
    parser.add_argument("--shards", action="store_true", help="of jobs a line for each shard")
    parser.add_argument(
        "--workload", action="store_true", help="how often jobs save, and how long that takes"
    )


def _object_to_checkpoints(arguments: Namespace) -> str:
    is_lost = arguments.workload and arguments.shards and arguments.name is None
    return "--workload --shards needs the NAME of a job" if is_lost else ""


def _checkpoints(arguments: Namespace) -> ExitCode:
    if arguments.workload:
        return _workload(arguments)
    rows, nothing = client_of(arguments).checkpoints(), "no checkpoint here or at a peer"
    if arguments.name is not None:
        name = parse_checkpoint_name(arguments.name)
        rows = [
            row for row in rows if name in {row.checkpoint, job_of(CheckpointName(row.checkpoint))}
        ]
        nothing = f"nothing of {name} here or at a peer"
    lines_of = partial(
        shard_lines if arguments.shards else checkpoint_lines,
        is_wide=arguments.output == "wide",
    )
    return print_rows(arguments, rows, lines_of, nothing)


def _workload(arguments: Namespace) -> ExitCode:
    name = "" if arguments.name is None else parse_checkpoint_name(arguments.name)
    view = client_of(arguments).workload(WorkloadRequest(name=name))
    if not view.rows and arguments.output != "json":
        say(f"nothing of {name} was saved here" if name else "nothing was saved or brought here")
        return ExitCode.DONE
    lines = workload_lines(
        view,
        terminal_width(),
        is_wide=arguments.output == "wide",
        has_shards=arguments.shards,
    )
    print_answer(arguments, view, lines)
    return ExitCode.DONE


def _add_peers(parser: ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("show",), help="show one peer")
    parser.add_argument("node", nargs="?", metavar="NODE", help="its node id")


def _object_to_peers(arguments: Namespace) -> str:
    is_half = (arguments.action is None) != (arguments.node is None)
    return "'peers show' needs a node" if is_half else ""


def _peers(arguments: Namespace) -> ExitCode:
    if arguments.action == "show":
        view = client_of(arguments).peer(utf8(arguments.node))
        print_answer(arguments, view, peer_view_lines(view))
        return ExitCode.DONE
    rows = client_of(arguments).peers()
    return print_rows(arguments, rows, peer_lines, "no peers are configured")


def _add_plan(parser: ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME[@VERSION]", help="e.g. llama/rank-3@1200")
    add_shards(parser)
    add_choice(parser)


def _plan(arguments: Namespace) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference)
    plan = client_of(arguments).plan(
        PlanRequest(
            checkpoint=checkpoint,
            version=version,
            units=tuple(map(utf8, arguments.units)),
            min_criticality=arguments.min,
            shards=typed_shards(arguments),
        )
    )
    print_answer(arguments, plan, plan_lines(plan))
    return exit_code_of_plan(plan)


def _add_manifest(parser: ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME[@VERSION]", help="e.g. llama/rank-3@1200")
    parser.add_argument(
        "--units",
        metavar="GLOB",
        action="append",
        default=[],
        help="list these units one by one; may be given several times",
    )
    parser.add_argument(
        "--start", metavar="N", type=int, default=0, help="of these leave out the first N"
    )
    parser.add_argument(
        "--digest", metavar="PREFIX", help="of several contents the one whose digest begins so"
    )


def _object_to_manifest(arguments: Namespace) -> str:
    return "--start needs --units" if arguments.start and not arguments.units else ""


def _manifest(arguments: Namespace) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference)
    view = client_of(arguments).manifest(
        ManifestRequest(
            checkpoint=checkpoint,
            version=version,
            digest=None if arguments.digest is None else utf8(arguments.digest),
            units=tuple(map(utf8, arguments.units)),
            start=arguments.start,
        )
    )
    print_answer(arguments, view, manifest_lines(view, terminal_width()))
    return ExitCode.DONE


VERBS: Final = (
    Verb(
        "checkpoints",
        "what this node and its peers hold",
        _checkpoints,
        _CHECKPOINTS,
        _add_checkpoints,
        _object_to_checkpoints,
        outputs=("table", "wide", "json"),
    ),
    Verb(
        "peers",
        "the peers and whether they answer",
        _peers,
        _PEERS,
        _add_peers,
        _object_to_peers,
    ),
    Verb(
        "plan",
        "what a recovery would do, and how long it would take",
        _plan,
        _PLAN,
        _add_plan,
        object_to_choice,
    ),
    Verb(
        "manifest",
        "what a version consists of, and what is said of its units",
        _manifest,
        _MANIFEST,
        _add_manifest,
        _object_to_manifest,
    ),
)

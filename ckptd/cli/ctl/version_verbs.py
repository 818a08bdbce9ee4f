"""``ckptctl publish``, ``checkpoints``, ``peers`` and ``plan``: versions, and who has them."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Final

from ckptd.cli.ctl.verb import (
    Verb,
    absolute,
    client_of,
    duration_s,
    print_answer,
    print_rows,
    say,
    utf8,
)
from ckptd.cli.render.checkpoint_text import checkpoint_lines, shard_lines
from ckptd.cli.render.live import follow_publishing
from ckptd.cli.render.plan_text import peer_view_lines, plan_lines
from ckptd.cli.render.rivals_text import rival_warning_lines
from ckptd.cli.render.text import peer_lines, published_lines
from ckptd.config import launched_shard
from ckptd.control.messages.checkpoints import PublishRequest
from ckptd.control.messages.plans import PlanRequest, exit_code_of_plan
from ckptd.errors import ExitCode
from ckptd.model.ids import (
    CheckpointName,
    Version,
    parse_checkpoint_name,
    parse_reference,
    parse_version,
)
from ckptd.model.patterns import version_from
from ckptd.model.shards import job_of, parse_shard, shard_name

_DIGITS_MAX: Final = 20
"""More than any version has: what is longer is refused as too large."""

_PUBLISH: Final = """\
Hash a directory below one of the daemon's roots, or a single file, and serve it
where it lies.
Nothing is copied. Publishing the same content again changes nothing. If other
content goes by that name and version, at a peer for example, it says so; with
--replace this node's own leaves the offer, and others' stays.
Every unit is required unless it is called optional, however urgent it is. A
directory that changes meanwhile, or in which a required file is open for
writing, is refused: publish when the job is done.
Logs (*.log, slurm-*.out) and TensorBoard's events are left out unless a pattern
names them, and it says so. A directory of PyTorch DCP, Orbax, DeepSpeed or with
an index of shards that lacks what says that it is complete is refused.
Files that you may open and the daemon not (mode 0600, as safetensors makes its)
are passed to it open. They are on offer until ckptd restarts, and it says how
they can be for good.
What each rank of a job saves is a shard: with --shard NAME is the job, and the
version is whole when all its shards are held.

examples:
  ckptctl publish /data/llama/1200 --checkpoint llama/rank-3 --version 1200
  ckptctl publish . --checkpoint llama/rank-3 --version 1200 \\
      --critical 'model*.safetensors' --critical config.json \\
      --deferred 'optimizer/*' --optional '*.txt'
  ckptctl publish . --checkpoint a --version 3 --exclude 'wandb/*' --dry-run
  ckptctl publish . --checkpoint a --version 3 --require .metadata --settled 5s
  srun ckptctl publish /data/llama/1200 --checkpoint llama --version 1200 \\
      --shard auto
  ckptctl publish /data/out/checkpoint-1200 --checkpoint out \\
      --version-from 'checkpoint-([0-9]+)'
  ckptctl publish lit/epoch=3-step=1000.ckpt --checkpoint lit \\
      --version-from 'step=([0-9]+)'
"""

_CHECKPOINTS: Final = """\
List what this node and its peers hold, newest first. A version of a job is one
line: how many of its shards somebody has, and how many nodes have each.

examples:
  ckptctl checkpoints
  ckptctl checkpoints llama --shards   # one line for each shard
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
  ckptctl plan llama/rank-3 -o json | jq .predicted_complete_s
"""


def _add_publish(parser: ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the version's directory, or a file")
    parser.add_argument("--checkpoint", metavar="NAME", required=True, help="e.g. llama/rank-3")
    version = parser.add_mutually_exclusive_group(required=True)
    version.add_argument("--version", metavar="N", type=_number, help="usually the training step")
    version.add_argument(
        "--version-from",
        metavar="REGEX",
        help="take it from the name of DIR, or of one above: its first group",
    )
    parser.add_argument(
        "--shard",
        metavar="RANK/COUNT",
        help="it is one of the shards of a job, from 0: 3/8; auto: as the launcher says",
    )
    for option, purpose in (
        ("critical", "units that are recovered first"),
        ("deferred", "units that can wait"),
        ("optional", "units that a version is complete without"),
        ("exclude", "files that are left out"),
        ("require", "files without which the directory is not complete yet"),
    ):
        parser.add_argument(
            f"--{option}",
            metavar="GLOB",
            action="append",
            default=[],
            help=f"{purpose}; may be given several times",
        )
    parser.add_argument(
        "--links",
        action="store_true",
        help="links that stay inside, and empty directories, are kept as they are",
    )
    parser.add_argument("--keep-logs", action="store_true", help="logs are not left out")
    parser.add_argument(
        "--settled", metavar="DURATION", help="nothing in it may have changed for so long: 5s"
    )
    parser.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="its format may call it incomplete: a node has only its own part",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be published")
    parser.add_argument(
        "--no-pass-files",
        action="store_true",
        help="refuse what the daemon may not open; else you pass it open",
    )
    parser.add_argument(
        "--replace", action="store_true", help="the version may exist with other content"
    )


def _number(text: str) -> int:
    """Read a version, for the parser."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise ArgumentTypeError(
            f"{text!r} is no number; --version-from 'REGEX' takes one from a name, "
            "e.g. 'checkpoint-([0-9]+)'"
        )
    value = int(digits.lstrip("0")[:_DIGITS_MAX] or "0")
    return value if digits == text else -value


def _version(arguments: Namespace) -> Version:
    """Return which version is meant.

    A link is followed only if its own name says nothing: ``last.ckpt``, ``latest``.
    """
    if arguments.version_from is None:
        return parse_version(arguments.version)
    typed = absolute(arguments.directory)
    return version_from(
        arguments.version_from, (typed, absolute(arguments.directory, is_resolved=True))
    )


def _checkpoint(arguments: Namespace) -> CheckpointName:
    """Return what it is published as: the checkpoint that was named, or a shard of that job."""
    name = parse_checkpoint_name(arguments.checkpoint)
    if arguments.shard is None:
        return name
    is_launched = arguments.shard == "auto"
    shard = launched_shard() if is_launched else parse_shard(utf8(arguments.shard))
    return shard_name(name, shard)


def _published_path(typed: str) -> str:
    """Return what is to be published, without a symbolic link on the way to it.

    The daemon refuses those; a person's path may have some. A link to a file keeps its own name.
    """
    if not os.path.isfile(typed):
        return absolute(typed, is_resolved=True)
    directory, name = os.path.split(absolute(typed))
    return utf8(f"{absolute(directory, is_resolved=True).rstrip('/')}/{name}")


def _publish(arguments: Namespace) -> ExitCode:
    request = PublishRequest(
        directory=_published_path(arguments.directory),
        checkpoint=_checkpoint(arguments),
        version=_version(arguments),
        critical=tuple(utf8(pattern) for pattern in arguments.critical),
        deferred=tuple(utf8(pattern) for pattern in arguments.deferred),
        optional=tuple(utf8(pattern) for pattern in arguments.optional),
        replace=arguments.replace,
        exclude=tuple(utf8(pattern) for pattern in arguments.exclude),
        keeps_logs=arguments.keep_logs,
        require=tuple(utf8(pattern) for pattern in arguments.require),
        settled_s=duration_s(arguments.settled) or 0.0,
        allow_incomplete=arguments.allow_incomplete,
        is_dry_run=arguments.dry_run,
        keeps_links=arguments.links,
        passes_files=not arguments.no_pass_files,
    )
    as_json = arguments.output == "json"
    try:
        result = follow_publishing(client_of(arguments), request, as_json=as_json)
    except KeyboardInterrupt:
        say("interrupted; nothing was published")
        return ExitCode.INTERRUPTED
    if not as_json:
        print("\n".join([*published_lines(result), *rival_warning_lines(result)]))
    return ExitCode.DONE


def _add_checkpoints(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="only this checkpoint or job")
    parser.add_argument("--shards", action="store_true", help="of jobs a line for each shard")


def _checkpoints(arguments: Namespace) -> ExitCode:
    rows, nothing = client_of(arguments).checkpoints(), "no checkpoint here or at a peer"
    if arguments.name is not None:
        name = parse_checkpoint_name(arguments.name)
        rows = [
            row for row in rows if name in {row.checkpoint, job_of(CheckpointName(row.checkpoint))}
        ]
        nothing = f"nothing of {name} here or at a peer"
    lines_of = shard_lines if arguments.shards else checkpoint_lines
    return print_rows(arguments, rows, lines_of, nothing)


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


def _plan(arguments: Namespace) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference)
    plan = client_of(arguments).plan(PlanRequest(checkpoint=checkpoint, version=version))
    print_answer(arguments, plan, plan_lines(plan))
    return exit_code_of_plan(plan)


VERBS: Final = (
    Verb("publish", "serve a directory as a version", _publish, _PUBLISH, _add_publish),
    Verb(
        "checkpoints",
        "what this node and its peers hold",
        _checkpoints,
        _CHECKPOINTS,
        _add_checkpoints,
    ),
    Verb(
        "peers",
        "the peers and whether they answer",
        _peers,
        _PEERS,
        _add_peers,
        _object_to_peers,
    ),
    Verb("plan", "what a recovery would do, and how long it would take", _plan, _PLAN, _add_plan),
)

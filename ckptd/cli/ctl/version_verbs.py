"""``ckptctl publish``, ``checkpoints``, ``peers`` and ``plan``: versions, and who has them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd.cli.ctl.verb import (
    Verb,
    absolute,
    client_of,
    print_answer,
    print_rows,
    say,
    utf8,
)
from ckptd.cli.render.checkpoint_text import checkpoint_lines
from ckptd.cli.render.live import follow_publishing
from ckptd.cli.render.plan_text import peer_view_lines, plan_lines
from ckptd.cli.render.rivals_text import rival_warning_lines
from ckptd.cli.render.text import peer_lines, published_lines
from ckptd.control.messages.checkpoints import PublishRequest
from ckptd.control.messages.plans import PlanRequest, exit_code_of_plan
from ckptd.errors import ExitCode
from ckptd.model.ids import parse_checkpoint_name, parse_reference, parse_version

_PUBLISH: Final = """\
Hash a directory below one of the daemon's roots and serve it where it lies.
Nothing is copied. Publishing the same content again changes nothing. If other
content goes by that name and version, at a peer for example, it says so; with
--replace this node's own leaves the offer, and others' stays.
Every unit is required unless it is called optional, however urgent it is. A
directory that changes meanwhile, or in which a required file is open for
writing, is refused: publish when the job is done.

examples:
  ckptctl publish /data/llama/1200 --checkpoint llama/rank-3 --version 1200
  ckptctl publish . --checkpoint llama/rank-3 --version 1200 \\
      --critical 'model*.safetensors' --critical config.json \\
      --deferred 'optimizer/*' --optional '*.log'
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
Ends with 3 or 4 if the recovery could not become complete now, with 9 if
somebody has to choose among several contents.

examples:
  ckptctl plan llama/rank-3        # the newest version that can be had
  ckptctl plan llama/rank-3@1200
  ckptctl plan llama/rank-3 -o json | jq .predicted_complete_s
"""


def _add_publish(parser: ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the version's directory")
    parser.add_argument("--checkpoint", metavar="NAME", required=True, help="e.g. llama/rank-3")
    parser.add_argument(
        "--version", metavar="N", type=int, required=True, help="usually the training step"
    )
    for criticality, purpose in (
        ("critical", "are recovered first"),
        ("deferred", "can wait"),
        ("optional", "a version is complete without"),
    ):
        parser.add_argument(
            f"--{criticality}",
            metavar="GLOB",
            action="append",
            default=[],
            help=f"units that {purpose}; may be given several times",
        )
    parser.add_argument(
        "--replace", action="store_true", help="the version may exist with other content"
    )


def _publish(arguments: Namespace) -> ExitCode:
    request = PublishRequest(
        # The daemon refuses symbolic links on the way to a root; a person's path may have some.
        directory=absolute(arguments.directory, is_resolved=True),
        checkpoint=parse_checkpoint_name(arguments.checkpoint),
        version=parse_version(arguments.version),
        critical=tuple(utf8(pattern) for pattern in arguments.critical),
        deferred=tuple(utf8(pattern) for pattern in arguments.deferred),
        optional=tuple(utf8(pattern) for pattern in arguments.optional),
        replace=arguments.replace,
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


def _checkpoints(arguments: Namespace) -> ExitCode:
    rows = client_of(arguments).checkpoints()
    return print_rows(arguments, rows, checkpoint_lines, "no checkpoint here or at a peer")


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
    Verb("checkpoints", "what this node and its peers hold", _checkpoints),
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

"""What can be typed after ``ckptctl``, and the help for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, TypeAlias

_Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  has no other name

EXIT_CODES: Final = """\
exit codes:
    0  done
    1  failed, or was cancelled
    2  wrong usage
    3  recovered in part: units that are not critical are missing
    4  a critical unit cannot be recovered
    5  not done within --timeout; the recovery goes on
    6  not permitted
    7  no daemon answers
    8  verification failed
  130  interrupted; a recovery goes on
New codes may be added: treat one you do not know as a failure.

The daemon is found at --socket, else $CKPTD_SOCKET, else /run/ckptd/ckptd.sock.
"""

_PUBLISH: Final = """\
Hash a directory below one of the daemon's roots and serve it where it lies.
Nothing is copied. Publishing the same content again changes nothing.

examples:
  ckptctl publish /data/llama/1200 --checkpoint llama/rank-3 --version 1200
  ckptctl publish . --checkpoint llama/rank-3 --version 1200 \\
      --critical 'model*.safetensors' --critical config.json \\
      --deferred 'optimizer/*'
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
Ends with 3 or 4 if the recovery could not become complete now.

examples:
  ckptctl plan llama/rank-3        the newest version that can be had
  ckptctl plan llama/rank-3@1200
  ckptctl plan llama/rank-3 -o json | jq .predicted_complete_s
"""

_RECOVER: Final = """\
Make a version of a checkpoint complete on this node: pull what is missing from
every peer that has it, critical units first. Without a version, take the newest
that can be had; one older than what was on this node before must be named.

examples:
  ckptctl recover llama/rank-3              begin, print the id
  ckptctl recover llama/rank-3@1200 --wait  ... and wait until it ends
  ckptctl recover llama/rank-3 --wait --timeout 10m --patience 1m
  ckptctl recover llama/rank-3 --wait -o json | jq 'select(.type == "result")'
  ckptctl recover llama/rank-3 --background  from sources nobody else here needs
"""

_PRIORITIZE: Final = """\
Let the units whose paths match go before everything of their recovery that is
not on its way yet. In GLOB, * and ? match / too, as in 'ckptctl publish'.
Lasts until they are here, or until the daemon restarts.

examples:
  ckptctl prioritize 01J9 'model-00001-*'
  ckptctl prioritize 01J9 'optimizer/*' -o json | jq .bytes
"""

_NEED: Final = """\
Let one unit of a running recovery go before everything else of it, wait until
all of it is verified and durable, and print where it can be read now: where it
belongs, or else in staging. PATH is where the file will stand, or the path of a
unit that only one running recovery has.

A path in staging is for reading only, and only for the daemon's user and root.
It moves with the version the moment that is complete, and is gone if the
recovery is given up: open it at once, and look at PATH itself if it is gone. A
file that is open or mapped stays so.

examples:
  ckptctl need /data/llama/rank-3/1200/model-00001-of-00004.safetensors
  file=$(ckptctl need tokenizer.json --timeout 1m) && cat "$file"
  ckptctl need optimizer/shard-0.pt --no-wait
"""

_EXPLAIN: Final = """\
Say why a recovery goes as it does, or went: which version and why, what every
known peer has to do with it, what binds it, and what happened out of the
ordinary. Of the last recoveries that ended as well.

examples:
  ckptctl explain 01J9              any beginning of an id that is unique
  ckptctl explain 01J9 --all        everything, not only what fits a screen
  ckptctl explain 01J9 -o json | jq '.peers[] | {node, code}'
"""

_WATCH: Final = """\
Show a recovery until it ends. Without an id: the newest that has not ended,
else the newest. Ctrl-C ends the watching, not the recovery.

examples:
  ckptctl watch
  ckptctl watch 01J9 --timeout 10m  any beginning of an id that is unique
  ckptctl watch -o json             one event a line, the last is the result
"""

_RELOAD: Final = """\
Let the daemon read its configuration again and wait until it has. The file is
checked first and applied as a whole; one that cannot be used changes nothing and
ends this with 1. Keys that count only from the next start are named.
"""

_WHOAMI: Final = """\
Show who you are for the daemon and your role, which says what you may do:

  viewer    status, checkpoints, peers, plan, recoveries, watch, explain,
            events, logs, log-level, health
  operator  publish, recover, pause, resume, cancel, prioritize, need, doctor as well
  admin     reload as well

Root and the daemon's user are admins; [control] of the configuration names others.
"""

_EVENTS: Final = """\
Show what happened, one event a line, oldest first: ids grow by one. Where
entries are gone because nobody read them in time, that is said.

examples:
  ckptctl events -f               go on with what comes
  ckptctl events -f --since 4711  ... after the last one that was seen
  ckptctl events -f -o json | jq 'select(.event == "recovery.ended")'
"""

_LOGS: Final = """\
Show the last lines of the daemon's log, which it keeps in memory: nobody needs
the journal for it.

examples:
  ckptctl logs
  ckptctl logs -f
"""

_LEVEL: Final = """\
Show from which level on lines are logged, or change it in the running daemon,
as an operator. The configuration stays as it is; if another level is put there,
'ckptctl reload' ends what was set here.

examples:
  ckptctl log-level
  ckptctl log-level debug --for 5m
"""

_LIMIT: Final = """\
Show what may move in a second, or change it in the running daemon, as an
operator. What is not limited is not listed. NAME is a direction (ingress,
egress, disk_write), a dot, and what of it: total, a class (critical, normal,
deferred, background) or peers.NODE. Several limits apply together.

What is set counts at once, in place of the configuration, until it is unset,
until its time is over, or until the daemon restarts.

examples:
  ckptctl limit get
  ckptctl limit set ingress.total=400MiB/s egress.background=1Gbit/s
  ckptctl limit set ingress.total=unlimited --for 10m
  ckptctl limit unset ingress.total
"""

_DOCTOR: Final = """\
Let the daemon look at everything that could be in the way of a recovery:
clocks, certificates, descriptors, addresses, disks and every peer, over the
path that a recovery takes. It writes 16 MiB to each root and removes it, and
fetches at most 8 MiB from each peer. Ends with 1 if anything fails.

examples:
  ckptctl doctor
  ckptctl doctor -o json | jq 'select(.verdict == "fail")'
"""

_HEALTH: Final = """\
Tell whether the daemon is ready, for probes: ends with 0 if it is, 1 while it
starts or stops, 7 if it does not answer.

examples:
  ckptctl health
  ckptctl health -o json | jq .components
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was typed; help, and what cannot be understood, end the process."""
    parser = argparse.ArgumentParser(
        prog="ckptctl",
        description="Publish checkpoints, recover them, and see what the daemon does.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--socket", metavar="PATH", help="control socket of the daemon")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _add_publish(_add(verbs, "publish", "serve a directory as a version", _PUBLISH))
    _add(verbs, "checkpoints", "what this node and its peers hold")
    _add_peers(_add(verbs, "peers", "the peers and whether they answer", _PEERS))
    plan = _add(verbs, "plan", "what a recovery would do, and how long it would take", _PLAN)
    plan.add_argument("reference", metavar="NAME[@VERSION]", help="e.g. llama/rank-3@1200")
    _add_recover(_add(verbs, "recover", "make a version complete here", _RECOVER))
    _add(verbs, "recoveries", "running recoveries, and the last ones that ended")
    _add_under_way(verbs)
    _add(verbs, "reload", "let the daemon read its configuration again", _RELOAD)
    _add(verbs, "whoami", "what the daemon lets you do", _WHOAMI)
    _add_observing(verbs)
    _add(verbs, "version", "versions of this command and of the daemon")
    _add_daemonless(verbs, argv)
    arguments = parser.parse_args(argv)
    if arguments.verb == "recover" and arguments.timeout and not arguments.wait:
        parser.error("--timeout needs --wait")
    if arguments.verb == "need" and arguments.timeout and arguments.no_wait:
        parser.error("--timeout contradicts --no-wait")
    if arguments.verb == "peers" and (arguments.action is None) != (arguments.node is None):
        parser.error("'peers show' needs a node")
    if arguments.verb == "limit" and (arguments.action == "get") == bool(arguments.changes):
        parser.error("'limit set' and 'limit unset' need limits, 'limit get' shows all")
    if arguments.verb == "limit" and arguments.duration and arguments.action != "set":
        parser.error("--for needs 'limit set'")
    if arguments.verb == "log-level" and arguments.duration and not arguments.level:
        parser.error("--for needs a level")
    return arguments


def _add_under_way(verbs: _Verbs) -> None:
    """Add verbs about recoveries that were begun."""
    explain = _add(verbs, "explain", "why a recovery goes as it does, or went", _EXPLAIN)
    explain.add_argument("recovery", metavar="RECOVERY", help="id, or its beginning")
    explain.add_argument("--all", action="store_true", help="do not cut to one screen")
    _add(verbs, "status", "the daemon and what it is doing")
    watch = _add(verbs, "watch", "show a recovery until it ends", _WATCH)
    watch.add_argument("recovery", nargs="?", metavar="RECOVERY", help="id, or its beginning")
    watch.add_argument("--timeout", metavar="DURATION", help="watch for so long at most: 10m")
    for verb, purpose in (
        ("pause", "ask for no more ranges until it is resumed"),
        ("resume", "let a paused recovery go on"),
        ("cancel", "give a recovery up and remove what it staged"),
    ):
        acting = _add(verbs, verb, purpose)
        acting.add_argument("recovery", metavar="RECOVERY", help="id, or its beginning")
    raising = _add(verbs, "prioritize", "let some units of a recovery go first", _PRIORITIZE)
    raising.add_argument("recovery", metavar="RECOVERY", help="id, or its beginning")
    raising.add_argument("pattern", metavar="GLOB", help="compared with the paths of units")
    _add_need(_add(verbs, "need", "let one unit go first, and wait for it", _NEED))


def _add_observing(verbs: _Verbs) -> None:
    """Add verbs about the daemon itself."""
    _add_follow(_add(verbs, "events", "what happened, and what happens", _EVENTS))
    _add_follow(_add(verbs, "logs", "the last lines of the daemon's log", _LOGS))
    level = _add(verbs, "log-level", "from which level on lines are logged", _LEVEL)
    level.add_argument(
        "level", nargs="?", choices=("debug", "info", "warning", "error"), help="the new level"
    )
    level.add_argument(
        "--for", dest="duration", metavar="DURATION", help="and back after so long: 5m"
    )
    limit = _add(verbs, "limit", "what may move in a second", _LIMIT)
    limit.add_argument("action", choices=("get", "set", "unset"), help="what to do")
    limit.add_argument("changes", nargs="*", metavar="NAME[=RATE]", help="which limits")
    limit.add_argument(
        "--for", dest="duration", metavar="DURATION", help="with set: count for so long: 10m"
    )
    _add(verbs, "doctor", "look for what could be in the way of a recovery", _DOCTOR)
    _add(verbs, "health", "whether the daemon is ready, for probes", _HEALTH)


def _add_daemonless(verbs: _Verbs, argv: Sequence[str]) -> None:
    """Add verbs that need no daemon; each has a module of its own, read only if it is called."""
    keys = verbs.add_parser("keys", help="keys that sign manifests, and those that are trusted")
    if "keys" in argv:
        from ckptd.cli.ctl.key_verbs import add_arguments as add_keys_arguments  # noqa: PLC0415

        add_keys_arguments(keys)
    tls = verbs.add_parser("tls", help="make and show the certificates of the nodes")
    if "tls" in argv:
        from ckptd.cli.ctl.tls_verbs import add_arguments as add_tls_arguments  # noqa: PLC0415

        add_tls_arguments(tls)
    demo = verbs.add_parser("demo", help="lose a checkpoint on this machine and get it back")
    if "demo" in argv:
        from ckptd.cli.demo.course import add_arguments as add_demo_arguments  # noqa: PLC0415

        add_demo_arguments(demo)


def _add(
    verbs: _Verbs,
    verb: str,
    purpose: str,
    description: str = "",
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        verb,
        help=purpose,
        description=description or f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=None if description else f"example:\n  ckptctl {verb} -o json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--socket", metavar="PATH", default=argparse.SUPPRESS, help="control socket of the daemon"
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="default: table"
    )
    return parser


def _add_publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the version's directory")
    parser.add_argument("--checkpoint", metavar="NAME", required=True, help="e.g. llama/rank-3")
    parser.add_argument(
        "--version", metavar="N", type=int, required=True, help="usually the training step"
    )
    for criticality, purpose in (("critical", "are recovered first"), ("deferred", "can wait")):
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


def _add_follow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument(
        "--since", metavar="ID", type=_id, default=0, help="only what came after this one"
    )


def _id(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("an id is not below 0")
    return number


def _add_peers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("show",), help="show one peer")
    parser.add_argument("node", nargs="?", metavar="NODE", help="its node id")


def _add_recover(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME[@VERSION]", help="e.g. llama/rank-3@1200")
    parser.add_argument("--to", metavar="DIR", help="the version's directory, below a root")
    parser.add_argument(
        "--patience",
        metavar="DURATION",
        help="how long to wait for blocks that nobody has: 5m; default: for ever",
    )
    parser.add_argument(
        "--background", action="store_true", help="leave sources to recoveries that are not"
    )
    parser.add_argument("--wait", action="store_true", help="show it until it ends")
    parser.add_argument(
        "--timeout", metavar="DURATION", help="with --wait: wait for so long at most: 10m"
    )


def _add_need(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="where the file will stand, or a unit's path")
    parser.add_argument("--no-wait", action="store_true", help="return once it goes first")
    parser.add_argument("--timeout", metavar="DURATION", help="wait for so long at most: 10m")

"""What ``ckptctl`` does with recoveries: begin, list, explain, watch, pause, resume, cancel."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Final

from ckptd.cli.ctl.matching_recoveries import recover_matching
from ckptd.cli.ctl.shard_arguments import add_shards, typed_shards
from ckptd.cli.ctl.unit_arguments import add_choice, object_to_choice
from ckptd.cli.ctl.verb import (
    Verb,
    absolute,
    client_of,
    command_of,
    duration_s,
    print_answer,
    print_result,
    print_rows,
    say,
    terminal_width,
    utf8,
)
from ckptd.cli.render.explanation_text import explanation_lines
from ckptd.cli.render.live import follow_recovery
from ckptd.cli.render.recoveries_text import recovery_lines
from ckptd.cli.render.text import (
    printable,
    reference,
    status_lines,
)
from ckptd.control.messages.recovery_results import exit_code_of
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.errors import ExitCode, NotFound, UsageError
from ckptd.model.ids import is_pattern, parse_reference
from ckptd.model.quantities import format_duration
from ckptd.model.words import PlaceMode

_RECOVER: Final = """\
Make a version of a checkpoint complete on this node: pull what is missing from
every peer that has it, critical units first. Without a version, take the newest
that can be had; one older than what was on this node before must be named.
If several contents go by one version, say which, with --digest or --from.
A name that nobody has ends it at once, unless --patience is given.
Of a job that is published in shards, take the newest version of which every
shard can be had, and bring the shards that are wanted into one directory.

examples:
  ckptctl recover llama/rank-3              # begin, print the id
  ckptctl recover llama/rank-3@1200 --wait  # ... and wait until it ends
  ckptctl recover llama/rank-3 --wait --timeout 10m --patience 1m
  ckptctl recover llama/rank-3 --wait -o json | jq 'select(.type == "result")'
  ckptctl recover llama/rank-3 --wait --allow-partial  # else exit 4, nothing
  ckptctl recover llama/rank-3@1300 --patience forever  # it will be published
  ckptctl recover llama/rank-3 --background  # from sources nobody else needs
  ckptctl recover llama/rank-3@1200 --on-demand  # only what 'ckptctl need' asks
  ckptctl recover llama/rank-3@1200 --digest 2d756bf1  # if there are several
  ckptctl recover llama --wait              # a job: the shards that were here
  ckptctl recover llama --shards all --wait # ... every shard, in one directory
  ckptctl recover 'evals/*' --wait          # each of these, or none of them
  ckptctl recover llama/rank-3 --wait --units 'model/*'  # only these units
  ckptctl recover llama/rank-3 --wait --min critical  # the rest comes later
  ckptctl recover llama/rank-3 --wait --activate  # 'current' leads to it then

A version that stands in its directory already is put right: what is wrong or
missing there is fetched, and files are replaced one by one. So what was
recovered in part, by choice or not, is completed by another recover.

With --on-demand only what somebody needs or reads is fetched, and what a reader
will ask for next. It waits in staging, for as long as it takes and across
restarts, until all of it is here, or it is cancelled. The same command without
--on-demand has the rest fetched as well, with --background in the background.
"""

_PATIENCE_S: Final = 300.0
"""A holder that restarts, or a machine that boots, is back by then; a person is still there."""

_EXPLAIN: Final = """\
Say why a recovery goes as it does, or went: which version and why, what every
known peer has to do with it, what binds it, and what happened out of the
ordinary. Of the last recoveries that ended as well.

examples:
  ckptctl explain 01J9              # any beginning of an id that is unique
  ckptctl explain 01J9 --all        # everything, not only what fits a screen
  ckptctl explain 01J9 -o json | jq '.peers[] | {node, code}'
"""

_WATCH: Final = """\
Show a recovery until it ends. Without an id: the newest that has not ended,
else the newest. Ctrl-C ends the watching, not the recovery.

examples:
  ckptctl watch
  ckptctl watch 01J9 --timeout 10m  # any beginning of an id that is unique
  ckptctl watch -o json             # one event a line, the last is the result
"""


def _add_recover(parser: ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME[@VERSION]", help="e.g. llama/rank-3@1200")
    parser.add_argument("--to", metavar="DIR", help="the version's directory, below a root")
    parser.add_argument(
        "--patience",
        metavar="DURATION",
        help="how long to wait for what nobody has: 1h, or forever; default: 5m",
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="then place what came, also without required units; never without critical ones",
    )
    parser.add_argument(
        "--background", action="store_true", help="leave sources to recoveries that are not"
    )
    parser.add_argument(
        "--on-demand", action="store_true", help="fetch only what somebody needs or reads"
    )
    parser.add_argument(
        "--digest", metavar="PREFIX", help="of several contents the one whose digest begins so"
    )
    parser.add_argument(
        "--from", dest="from_node", metavar="NODE", help="of several contents the one NODE has"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="where it stands already: replace also files that somebody changed (they are kept)",
    )
    parser.add_argument(
        "--place",
        choices=tuple(PlaceMode),
        help="atomic: all at once; progressive: each phase when it is complete",
    )
    add_shards(parser)
    add_choice(parser)
    parser.add_argument(
        "--activate",
        action="store_true",
        help="let the link of the checkpoint lead to it when it is placed",
    )
    parser.add_argument("--wait", action="store_true", help="show it until it ends")
    parser.add_argument(
        "--timeout", metavar="DURATION", help="with --wait: wait for so long at most: 10m"
    )


def _object_to_recover(arguments: Namespace) -> str:
    if objection := object_to_choice(arguments):
        return objection
    if arguments.on_demand and (arguments.units or arguments.min):
        return "--units and --min contradict --on-demand: what is read is fetched"
    if arguments.on_demand and arguments.wait:
        return "--wait contradicts --on-demand: who knows when all of it was read"
    return "--timeout needs --wait" if arguments.timeout and not arguments.wait else ""


def _recover(arguments: Namespace) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference, with_pattern=True)
    request = RecoverRequest(
        checkpoint=checkpoint,
        version=version,
        to=absolute(arguments.to) if arguments.to else None,
        patience_s=_patience_s(arguments.patience),
        is_background=arguments.background,
        is_on_demand=arguments.on_demand,
        digest=utf8(arguments.digest or ""),
        from_node=utf8(arguments.from_node) if arguments.from_node else None,
        overwrite=arguments.overwrite,
        allow_partial=arguments.allow_partial,
        # Who says how long to wait may wait for a name that is about to be published.
        is_name_awaited=arguments.patience is not None,
        shards=typed_shards(arguments),
        units=tuple(map(utf8, arguments.units)),
        min_criticality=arguments.min,
        place=arguments.place or "",
        activate=arguments.activate,
    )
    timeout_s = duration_s(arguments.timeout)
    if is_pattern(checkpoint):
        return recover_matching(arguments, request, timeout_s)
    view = client_of(arguments).recover(request)
    if view.is_joined:
        how = f"{how_it_is(view)}{own_terms(view, request)}"
        say(f"recovery {view.recovery} was under way already; it {how}")
    if arguments.wait:
        what = f"recovery {view.recovery} of {reference(checkpoint, version)}"
        say(f"{what}{where_to(view)}")
        return follow(arguments, view.recovery, timeout_s)
    print_answer(arguments, view, [f"{printable(view.recovery)}{where_to(view)}"])
    return ExitCode.DONE


def _patience_s(text: str | None) -> float | None:
    """Read how long to wait for what nobody has; ``None`` for ever."""
    if text is None:
        return _PATIENCE_S
    return None if text in {"forever", "none"} else duration_s(text)


def own_terms(view: RecoveryView, request: RecoverRequest) -> str:
    """Say how a recovery that was joined ends otherwise than was asked for; empty if not."""
    more = _more_units(view, request)
    if (view.patience_s, view.allow_partial) == (request.patience_s, request.allow_partial):
        return more
    patience = "forever" if view.patience_s is None else format_duration(view.patience_s)
    partial = "permitted" if view.allow_partial else "not permitted"
    return f"{more}, as it was begun: patience {patience}, a partial result is {partial}"


def _more_units(view: RecoveryView, request: RecoverRequest) -> str:
    """Say that a recovery that was joined brings more than was asked for; empty if not."""
    if view.is_widened:
        return " and brings these units as well from now on"
    is_same = (view.units, view.min_criticality) == (request.units, request.min_criticality)
    return "" if is_same else f" and brings {'more units' if view.is_by_choice else 'all units'}"


def where_to(view: RecoveryView) -> str:
    """Return where a recovery goes; empty while that depends on a version nobody was found for."""
    return f" → {printable(view.target)}" if view.target else ""


def how_it_is(view: RecoveryView) -> str:
    """Say of a recovery that was under way how it is now."""
    found = ["was in the background and is urgent now"] if view.is_promoted else []
    if view.rest_is_wanted:
        found.append("was on demand and brings all of it now")
    if view.is_paused:
        found.append(f"is paused; let it go on with: ckptctl resume {view.recovery}")
    return " and ".join(found) or "goes on"


def _recoveries(arguments: Namespace) -> ExitCode:
    views = client_of(arguments).recoveries()
    return print_rows(arguments, views, recovery_lines, "no recoveries")


def add_recovery(
    parser: ArgumentParser, left_out: str = "may be left out while only one is under way"
) -> None:
    """Add the recovery that a verb is about.

    Args:
        parser: Of the verb.
        left_out: Which one it is if none is named.
    """
    parser.add_argument(
        "recovery", metavar="RECOVERY", nargs="?", help=f"id, or its beginning; {left_out}"
    )


def _add_seen(parser: ArgumentParser) -> None:
    add_recovery(parser, "default: the newest under way, else the newest")


def _add_explain(parser: ArgumentParser) -> None:
    _add_seen(parser)
    parser.add_argument("--all", action="store_true", help="do not cut to one screen")


def _explain(arguments: Namespace) -> ExitCode:
    client = client_of(arguments)
    chosen = _chosen(client.recoveries(), arguments.recovery)
    known = client.explain(chosen.recovery)
    lines = explanation_lines(known, is_all=arguments.all, width=terminal_width())
    print_answer(arguments, known, lines)
    return ExitCode.DONE


def _status(arguments: Namespace) -> ExitCode:
    status = client_of(arguments).status()
    print_answer(arguments, status, status_lines(status, terminal_width()))
    return ExitCode.DONE


def _add_watch(parser: ArgumentParser) -> None:
    _add_seen(parser)
    parser.add_argument("--timeout", metavar="DURATION", help="watch for so long at most: 10m")


def _watch(arguments: Namespace) -> ExitCode:
    timeout_s = duration_s(arguments.timeout)
    chosen = _chosen(client_of(arguments).recoveries(), arguments.recovery)
    return follow(arguments, chosen.recovery, timeout_s)


def _chosen(views: Sequence[RecoveryView], text: str | None) -> RecoveryView:
    """Find a recovery to look at: the one that was named, else the newest, running ones first.

    Raises:
        CkptdError: There is none.
    """
    if text is not None:
        return resolve(views, text)
    if not views:
        raise NotFound("recoveries", "there are none", "Begin one with 'ckptctl recover'.")
    return next((view for view in views if not view.stage.is_ended), views[0])


def _pause(arguments: Namespace) -> ExitCode:
    return _act(arguments, client_of(arguments).pause, "paused")


def _resume(arguments: Namespace) -> ExitCode:
    return _act(arguments, client_of(arguments).resume, "resumed")


def _cancel(arguments: Namespace) -> ExitCode:
    return _act(arguments, client_of(arguments).cancel, "cancelled")


def _act(arguments: Namespace, act: Callable[[str], RecoveryView], done: str) -> ExitCode:
    chosen = resolve(client_of(arguments).recoveries(), arguments.recovery)
    view = act(chosen.recovery)
    name = reference(view.checkpoint, view.version)
    print_answer(arguments, view, [f"{done} {printable(view.recovery)}, recovery of {name}"])
    return ExitCode.DONE


def follow(arguments: Namespace, recovery: str, timeout_s: float | None) -> ExitCode:
    """Wait for a recovery; whatever ends the wait, the recovery goes on."""
    as_json = arguments.output == "json"
    again = f"it goes on; watch it with: {command_of(arguments, f'watch {recovery}')}"
    try:
        result = follow_recovery(
            client_of(arguments), recovery, as_json=as_json, timeout_s=timeout_s
        )
    except TimeoutError:
        say(f"recovery {recovery} is not done within {arguments.timeout}; {again}")
        return ExitCode.TIMED_OUT
    except KeyboardInterrupt:
        say(f"interrupted, but not recovery {recovery}: {again}")
        return ExitCode.INTERRUPTED
    print_result(arguments, result)
    return exit_code_of(result)


def resolve(views: Sequence[RecoveryView], text: str | None) -> RecoveryView:
    """Find a recovery by its id or the beginning of it.

    Args:
        views: All that are known.
        text: What was typed; ``None`` for the only one that is under way.

    Raises:
        NotFound: None begins so, or none is under way.
        UsageError: Several do, or are.
    """
    if text is None:
        running = [view for view in views if not view.stage.is_ended]
        if not running:
            raise NotFound("recoveries", "there is none under way", "'ckptctl recoveries'.")
        if len(running) > 1:
            some = ", ".join(
                f"{view.recovery} ({reference(view.checkpoint, view.version)})"
                for view in running[:5]
            )
            raise UsageError("recovery", f"is not named, and may be any of {some}", "Name one.")
        return running[0]
    found = [view for view in views if view.recovery.startswith(text)]
    exact = [view for view in found if view.recovery == text]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise NotFound(
            f"recovery {text[:64]!r}", "is not known", "'ckptctl recoveries' lists those that are."
        )
    some = ", ".join(view.recovery for view in found[:5])
    raise UsageError(f"recovery {text[:64]!r}", f"may be any of {some}", "Type more of the id.")


VERBS: Final = (
    Verb(
        "recover",
        "make a version complete here",
        _recover,
        _RECOVER,
        _add_recover,
        _object_to_recover,
    ),
    Verb("recoveries", "running recoveries, and the last ones that ended", _recoveries),
    Verb("explain", "why a recovery goes as it does, or went", _explain, _EXPLAIN, _add_explain),
    Verb("status", "the daemon and what it is doing", _status),
    Verb(
        "watch",
        "show a recovery until it ends",
        _watch,
        _WATCH,
        _add_watch,
        is_over_without_reader=lambda _: True,
    ),
    Verb(
        "pause",
        "ask for no more ranges until it is resumed",
        _pause,
        add_arguments=add_recovery,
    ),
    Verb("resume", "let a paused recovery go on", _resume, add_arguments=add_recovery),
    Verb(
        "cancel",
        "give a recovery up and remove what it staged",
        _cancel,
        add_arguments=add_recovery,
    ),
)

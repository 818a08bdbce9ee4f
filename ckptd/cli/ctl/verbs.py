"""What each command of ``ckptctl`` does: ask the daemon, print the answer."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from ckptd.cli.ctl.limit_verbs import change_limits
from ckptd.cli.ctl.prioritize_verbs import follow_need, need_lines, raised_lines
from ckptd.cli.ctl.watch_verbs import change_level, check_health, examine, show_events, show_logs
from ckptd.cli.render.explanation_text import explanation_lines
from ckptd.cli.render.live import follow_publishing, follow_recovery
from ckptd.cli.render.plan_text import peer_view_lines, plan_lines
from ckptd.cli.render.text import (
    checkpoint_lines,
    json_line,
    peer_lines,
    printable,
    published_lines,
    recovery_lines,
    reference,
    result_lines,
    status_lines,
)
from ckptd.control.client import ControlClient
from ckptd.control.messages.api import PublishRequest, RecoverRequest, RecoveryView, exit_code_of
from ckptd.control.messages.plans import PlanRequest, exit_code_of_plan
from ckptd.control.messages.prioritized import PrioritizeRequest
from ckptd.errors import ExitCode, NotFound, UsageError
from ckptd.limits import SECOND
from ckptd.model.ids import parse_checkpoint_name, parse_reference, parse_version
from ckptd.model.quantities import parse_duration
from ckptd.model.words import Result

_Row = TypeVar("_Row")


def _status(arguments: Namespace) -> ExitCode:
    status = _client(arguments).status()
    _print(arguments, status, status_lines(status))
    return ExitCode.DONE


def _checkpoints(arguments: Namespace) -> ExitCode:
    rows = _client(arguments).checkpoints()
    return _print_rows(arguments, rows, checkpoint_lines, "no checkpoint here or at a peer")


def _peers(arguments: Namespace) -> ExitCode:
    if arguments.action == "show":
        view = _client(arguments).peer(_utf8(arguments.node))
        _print(arguments, view, peer_view_lines(view))
        return ExitCode.DONE
    rows = _client(arguments).peers()
    return _print_rows(arguments, rows, peer_lines, "no peers are configured")


def _plan(arguments: Namespace) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference)
    plan = _client(arguments).plan(PlanRequest(checkpoint=checkpoint, version=version))
    _print(arguments, plan, plan_lines(plan))
    return exit_code_of_plan(plan)


def _recoveries(arguments: Namespace) -> ExitCode:
    views = _client(arguments).recoveries()
    return _print_rows(arguments, views, recovery_lines, "no recoveries")


def _explain(arguments: Namespace) -> ExitCode:
    client = _client(arguments)
    chosen = _resolve(client.recoveries(), arguments.recovery)
    known = client.explain(chosen.recovery)
    lines = explanation_lines(known, is_all=arguments.all, width=_width())
    _print(arguments, known, lines)
    return ExitCode.DONE


def _publish(arguments: Namespace) -> ExitCode:
    request = PublishRequest(
        # The daemon refuses symbolic links on the way to a root; a person's path may have some.
        directory=_utf8(os.path.realpath(arguments.directory)),
        checkpoint=parse_checkpoint_name(arguments.checkpoint),
        version=parse_version(arguments.version),
        critical=tuple(_utf8(pattern) for pattern in arguments.critical),
        deferred=tuple(_utf8(pattern) for pattern in arguments.deferred),
        replace=arguments.replace,
    )
    as_json = arguments.output == "json"
    try:
        result = follow_publishing(_client(arguments), request, as_json=as_json)
    except KeyboardInterrupt:
        _say("interrupted; nothing was published")
        return ExitCode.INTERRUPTED
    if not as_json:
        print("\n".join(published_lines(result)))
    return ExitCode.DONE


def _recover(arguments: Namespace) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference)
    request = RecoverRequest(
        checkpoint=checkpoint,
        version=version,
        to=_utf8(os.path.abspath(arguments.to)) if arguments.to else None,
        patience_s=_duration_s(arguments.patience),
        is_background=arguments.background,
    )
    timeout_s = _duration_s(arguments.timeout)
    view = _client(arguments).recover(request)
    if arguments.wait:
        _say(f"recovery {view.recovery} of {reference(checkpoint, version)} → {view.target}")
        return _follow(arguments, view.recovery, timeout_s)
    _print(arguments, view, [f"{printable(view.recovery)} → {printable(view.target)}"])
    return ExitCode.DONE


def _watch(arguments: Namespace) -> ExitCode:
    timeout_s = _duration_s(arguments.timeout)
    views = _client(arguments).recoveries()
    if arguments.recovery is not None:
        chosen = _resolve(views, arguments.recovery)
    elif views:
        chosen = next((view for view in views if not view.stage.is_ended), views[0])
    else:
        raise NotFound("recoveries", "there are none", "Begin one with 'ckptctl recover'.")
    return _follow(arguments, chosen.recovery, timeout_s)


def _pause(arguments: Namespace) -> ExitCode:
    return _act(arguments, _client(arguments).pause, "paused")


def _resume(arguments: Namespace) -> ExitCode:
    return _act(arguments, _client(arguments).resume, "resumed")


def _cancel(arguments: Namespace) -> ExitCode:
    return _act(arguments, _client(arguments).cancel, "cancelled")


def _prioritize(arguments: Namespace) -> ExitCode:
    client = _client(arguments)
    chosen = _resolve(client.recoveries(), arguments.recovery)
    request = PrioritizeRequest(pattern=_utf8(arguments.pattern))
    raised = client.prioritize(chosen.recovery, request)
    _print(arguments, raised, raised_lines(raised))
    return ExitCode.DONE


def _need(arguments: Namespace) -> ExitCode:
    path, timeout_s = _utf8(arguments.path), _duration_s(arguments.timeout)
    goes_on = "it still goes first, until the daemon restarts"
    try:
        event = follow_need(_client(arguments), arguments, path, timeout_s)
    except TimeoutError:
        _say(f"{path} is not here within {arguments.timeout}; {goes_on}")
        return ExitCode.TIMED_OUT
    except KeyboardInterrupt:
        _say(f"interrupted; {path} is not here; {goes_on}")
        return ExitCode.INTERRUPTED
    if arguments.output != "json":
        print("\n".join(need_lines(event)))
    return ExitCode.DONE


def _whoami(arguments: Namespace) -> ExitCode:
    caller = _client(arguments).whoami()
    user = f" ({printable(caller.user)})" if caller.user else ""
    groups = ", ".join(map(str, caller.gids))
    _print(arguments, caller, [f"uid {caller.uid}{user} with groups {groups}: {caller.role}"])
    return ExitCode.DONE


def _reload(arguments: Namespace) -> ExitCode:
    result = _client(arguments).reload()
    lines = [f"applied: {', '.join(result.applied) or 'nothing changed'}"]
    if result.needs_restart:
        lines.append(f"counts from the next start: {', '.join(result.needs_restart)}")
    _print(arguments, result, lines)
    return ExitCode.DONE


VERBS: Final[Mapping[str, Callable[[Namespace], ExitCode]]] = {
    "publish": _publish,
    "checkpoints": _checkpoints,
    "peers": _peers,
    "plan": _plan,
    "recover": _recover,
    "recoveries": _recoveries,
    "explain": _explain,
    "status": _status,
    "watch": _watch,
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "prioritize": _prioritize,
    "need": _need,
    "reload": _reload,
    "whoami": _whoami,
    "events": show_events,
    "logs": show_logs,
    "log-level": change_level,
    "limit": change_limits,
    "doctor": examine,
    "health": check_health,
}


def _act(arguments: Namespace, act: Callable[[str], RecoveryView], done: str) -> ExitCode:
    chosen = _resolve(_client(arguments).recoveries(), arguments.recovery)
    view = act(chosen.recovery)
    name = reference(view.checkpoint, view.version)
    _print(arguments, view, [f"{done} {printable(view.recovery)}, recovery of {name}"])
    return ExitCode.DONE


def _follow(arguments: Namespace, recovery: str, timeout_s: float | None) -> ExitCode:
    """Wait for a recovery, and leave it alone whatever ends the waiting."""
    as_json = arguments.output == "json"
    socket_option = f"--socket {arguments.socket} " if arguments.is_socket_given else ""
    again = f"it goes on; watch it with: ckptctl {socket_option}watch {recovery}"
    try:
        result = follow_recovery(_client(arguments), recovery, as_json=as_json, timeout_s=timeout_s)
    except TimeoutError:
        _say(f"recovery {recovery} is not done within {arguments.timeout}; {again}")
        return ExitCode.TIMED_OUT
    except KeyboardInterrupt:
        _say(f"interrupted, but not recovery {recovery}: {again}")
        return ExitCode.INTERRUPTED
    lines = result_lines(result)
    if result.result is not Result.COMPLETE:
        _say("\n".join(lines))
    elif not as_json:
        print("\n".join(lines))
    return exit_code_of(result)


def _resolve(views: Iterable[RecoveryView], text: str) -> RecoveryView:
    """Find a recovery by its id or the beginning of it."""
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


def _client(arguments: Namespace) -> ControlClient:
    return ControlClient(arguments.socket)


def _duration_s(text: str | None) -> float | None:
    return None if text is None else parse_duration(text) / SECOND


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{text!r}", "is not UTF-8") from error
    return text


def _print(arguments: Namespace, value: object, lines: Sequence[str]) -> None:
    print(json_line(value) if arguments.output == "json" else "\n".join(lines))


def _print_rows(
    arguments: Namespace,
    rows: Sequence[_Row],
    lines_of: Callable[[Sequence[_Row], int | None], list[str]],
    nothing: str,
) -> ExitCode:
    if rows or arguments.output == "json":
        _print(arguments, rows, lines_of(rows, _width()))
    else:
        _say(nothing)
    return ExitCode.DONE


def _width() -> int | None:
    """Return how wide a line may be; ``None`` if no terminal cuts it."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def _say(text: str) -> None:
    for line in text.splitlines():
        print(f"ckptctl: {printable(line)}", file=sys.stderr)

"""``ckptctl demo``: a checkpoint is lost on one of five daemons and comes back from the others.

Everything is real: five processes, mutual TLS over the loopback address, files. One source is
killed half-way, and in the end all files are compared by code that shares nothing with the daemon.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Sequence
from typing import Final

from ckptd.cli.demo.demo_checkpoint import (
    CRITICAL,
    DEFERRED,
    SIZE_BYTES_MIN,
    compare,
    files_below,
    patterns_with_a_match,
    plan_checkpoint,
    write_checkpoint,
)
from ckptd.cli.demo.demo_daemon import LocalDaemon, pause
from ckptd.cli.demo.demo_place import Material, choose_place, material_of, place_beside, places
from ckptd.cli.demo.demo_report import Findings, Killing, report_lines
from ckptd.cli.demo.demo_workspace import (
    blame,
    daemon_in,
    say,
    show_log,
    signals_as_ctrl_c,
    start,
    workspace_in,
)
from ckptd.cli.demo.fleet.fleet_course import FLEET_COPIES, play_fleet
from ckptd.cli.demo.fleet.fleet_report import fleet_report_lines
from ckptd.cli.demo.fleet.samples import EIGHT
from ckptd.cli.demo.job_course import play_job
from ckptd.cli.demo.job_report import job_report_lines
from ckptd.cli.pki.authority import Authority
from ckptd.cli.render.live import Show, showing
from ckptd.cli.render.text import picture_of, publishing_picture
from ckptd.control.messages.checkpoints import PublishProgress, PublishRequest
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.errors import CkptdError, ExitCode, NotFound, UsageError
from ckptd.model.quantities import format_duration, format_size, parse_size
from ckptd.model.words import Result, Stage

SOURCES: Final = ("node-a", "node-b", "node-c", "node-d")
RECEIVER: Final = "node-e"

_CHECKPOINT: Final = "demo/rank-0"
_VERSION: Final = 1200
_SEED: Final = 20_240_601

_WHAT: Final = "Five daemons with mutual TLS"
_PATIENCE_S: Final = 30.0
"""Nobody comes back here: better fail than wait for ever."""
_DISCOVERY_TIMEOUT_S: Final = 15.0
_FRAME_S: Final = 0.1
"""Between two pictures on the terminal."""

_DESCRIPTION: Final = """\
Lose a checkpoint on this machine and get it back: four daemons publish it, a
fifth recovers it, one of the four is killed half-way, and in the end every file
is compared. Needs no configuration and no root; leaves nothing behind.

examples:
  ckptctl demo                   a checkpoint of 1 GiB is made up
  ckptctl demo --size 4GiB
  ckptctl demo /data/llama/1200  a directory of yours, which is only read
  ckptctl demo --job             a job: 8 daemons, two shards each, lose two
                                 nodes while a newer version is half published
  ckptctl demo --fleet           8 daemons in 4 zones keep a job recoverable:
                                 lose a node, then a zone, and type nothing
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be typed behind ``ckptctl demo``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.add_argument("directory", nargs="?", metavar="DIR", help="use this; it is only read")
    parser.add_argument("--size", metavar="SIZE", help="of what is made up; default: 1GiB")
    parser.add_argument(
        "--job",
        action="store_true",
        help="play the loss of two of eight nodes, two shards each; default size: 256MiB",
    )
    parser.add_argument(
        "--fleet",
        action="store_true",
        help="play the loss of a node and of a zone that have copies; default size: 16MiB",
    )
    parser.add_argument(
        "--picture",
        metavar="FILE",
        help="of --fleet: where the picture is written; default: ckptd-fleet.svg",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep what was recovered, and the daemons' logs"
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Play the demonstration and return the exit code: 0 only if every byte came back.

    Raises:
        CkptdError: It cannot be played.
        KeyboardInterrupt: Ctrl-C, or a signal that would end the process.
    """
    if arguments.picture is not None and not arguments.fleet:
        raise UsageError("--picture", "is of --fleet only")
    if arguments.job and arguments.fleet:
        raise UsageError("--fleet", "is another demonstration than --job")
    if arguments.fleet:
        return _run_fleet(arguments)
    if arguments.job:
        return _run_job(arguments)
    with signals_as_ctrl_c():
        if arguments.directory is None:
            findings = _with_made_up(arguments)
        elif arguments.size is None:
            material = material_of(arguments.directory)
            with workspace_in(place_beside(material), _WHAT, keep=arguments.keep) as workspace:
                findings = _play(workspace, material)
        else:
            raise UsageError("--size", "says how much to make up, and DIR is there already")
    print("\n".join(report_lines(findings)))
    return findings.exit_code


def _run_job(arguments: argparse.Namespace) -> ExitCode:
    if arguments.directory is not None:
        raise UsageError("--job", "makes up what is lost, and DIR is something else")
    asked_bytes = _asked_bytes(arguments.size or "256MiB")
    with signals_as_ctrl_c():
        findings = play_job(asked_bytes, keep=arguments.keep)
    print("\n".join(job_report_lines(findings)))
    return findings.exit_code


def _run_fleet(arguments: argparse.Namespace) -> ExitCode:
    if arguments.directory is not None:
        raise UsageError("--fleet", "makes up what is lost, and DIR is something else")
    asked_bytes = _asked_bytes(arguments.size or "16MiB")
    path = os.path.abspath(arguments.picture or "ckptd-fleet.svg")
    if not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
        raise NotFound(f"directory {os.path.dirname(path)}", "cannot be written to")
    place, size_bytes = choose_place(places(), asked_bytes, copies=FLEET_COPIES)
    with (
        signals_as_ctrl_c(),
        workspace_in(
            place, "Eight daemons with mutual TLS in four zones", keep=arguments.keep
        ) as workspace,
    ):
        findings, svg = play_fleet(EIGHT, size_bytes // EIGHT.ranks, workspace)
    with open(path, "w", encoding="utf-8") as file:
        file.write(svg)
    print("\n".join(fleet_report_lines(findings, path)))
    return findings.exit_code


def _asked_bytes(text: str) -> int:
    size_bytes = parse_size(text)
    if size_bytes < SIZE_BYTES_MIN:
        raise UsageError("--size", f"is less than {format_size(SIZE_BYTES_MIN)}")
    return size_bytes


def _with_made_up(arguments: argparse.Namespace) -> Findings:
    asked_bytes = _asked_bytes(arguments.size or "1GiB")
    place, size_bytes = choose_place(places(), asked_bytes, copies=2)
    if size_bytes < asked_bytes:
        say(f"{place} has no room for more than {format_size(size_bytes)}, twice.")
    with workspace_in(place, _WHAT, keep=arguments.keep) as workspace:
        return _play(workspace, _make_up(workspace, size_bytes))


def _make_up(workspace: str, size_bytes: int) -> Material:
    root = os.path.join(workspace, "sources")
    directory = os.path.join(root, str(_VERSION))
    files = plan_checkpoint(size_bytes)
    started_s = time.monotonic()
    write_checkpoint(directory, files, seed=_SEED)
    say(
        f"A checkpoint: {format_size(size_bytes)} in {len(files)} files "
        f"({format_duration(time.monotonic() - started_s)})."
    )
    return Material(directory, root)


def _play(workspace: str, material: Material) -> Findings:
    """Publish, lose, recover, compare."""
    with contextlib.ExitStack() as processes:
        authority = Authority(os.path.join(workspace, "ca"))
        authority.create()
        sources = [daemon_in(workspace, node, material.root, authority) for node in SOURCES]
        everybody = list(sources)
        try:
            start(sources, processes)
            receiver_root = os.path.join(workspace, "recovered")
            os.mkdir(receiver_root)
            peers = [source.address for source in sources]
            receiver = daemon_in(workspace, RECEIVER, receiver_root, authority, peers, "256MiB")
            everybody.append(receiver)
            start([receiver], processes)
            _publish(sources, material)
            _wait_for_sources(receiver)
            say(f"{RECEIVER} has nothing. It recovers; a source is killed half-way.")
            result, killing = recover(receiver, sources)
        except CkptdError as error:
            raise blame(error, everybody) from error
        if result.result is not Result.COMPLETE:
            show_log(receiver)
            return Findings(result, killing, None)
    say("Comparing what was published with what was recovered, byte by byte.")
    return Findings(result, killing, compare(material.directory, result.target))


def _publish(sources: Sequence[LocalDaemon], material: Material) -> None:
    paths = list(files_below(material.directory))
    request = PublishRequest(
        directory=material.directory,
        checkpoint=_CHECKPOINT,
        version=_VERSION,
        critical=patterns_with_a_match(paths, CRITICAL),
        deferred=patterns_with_a_match(paths, DEFERRED),
    )
    started_s = time.monotonic()
    for source in sources:
        with showing() as show:
            for event in source.client.publish(request):
                if isinstance(event, PublishProgress):
                    picture = publishing_picture(event)
                    show(picture._replace(line=f"{source.node} {picture.line}"))
    say(
        f"{', '.join(SOURCES)} have hashed and published it where it lies "
        f"({format_duration(time.monotonic() - started_s)}).\n"
        "They share one directory here, which saves three copies; on a cluster each has its own."
    )


def _wait_for_sources(receiver: LocalDaemon) -> None:
    """Wait until the receiver knows all sources, so that its time is that of the recovery."""
    deadline_s = time.monotonic() + _DISCOVERY_TIMEOUT_S
    while not any(set(row.nodes) >= set(SOURCES) for row in receiver.client.checkpoints()):
        if time.monotonic() > deadline_s:
            raise CkptdError(f"daemon {RECEIVER}", "does not find the four sources")
        pause()


def recover(
    receiver: LocalDaemon, sources: Sequence[LocalDaemon]
) -> tuple[RecoveryResult, Killing | None]:
    """Recover and show it; half-way, kill the source that gave most.

    Returns:
        How it ended, and which source was killed; ``None`` if it was over too soon for that.

    Raises:
        CkptdError: A daemon ended by itself, or the recovery cannot be watched.
    """
    client = receiver.client
    request = RecoverRequest(checkpoint=_CHECKPOINT, version=_VERSION, patience_s=_PATIENCE_S)
    view = client.recover(request)
    killing: Killing | None = None
    with showing() as show:
        shown_s = 0.0
        while not view.stage.is_ended:
            if killing is None and is_half_way(view):
                killing = _kill_busiest(view, sources)
            if time.monotonic() - shown_s >= _FRAME_S:
                shown_s = time.monotonic()
                _show_view(show, view, killing)
            pause()
            view = client.recovery(view.recovery)
    for event in client.watch(view.recovery):
        if isinstance(event, RecoveryResult):
            return event, killing
    raise AssertionError("a watch ends with a result or raises")


def is_half_way(view: RecoveryView) -> bool:
    """Tell whether at least half is here, and something still has to come."""
    is_moving = view.stage is Stage.TRANSFERRING and view.bytes_left > 0
    return is_moving and view.bytes_verified >= view.bytes_left


def _kill_busiest(view: RecoveryView, sources: Sequence[LocalDaemon]) -> Killing:
    busiest = max(view.sources, key=lambda row: (row.bytes, row.node)).node
    next(source for source in sources if source.node == busiest).kill()
    return Killing(busiest, view.bytes_verified * 100 // view.bytes_total)


def _show_view(show: Show, view: RecoveryView, killing: Killing | None) -> None:
    picture = picture_of(view)
    if killing is not None:
        note = f"{killing.node} was killed at {killing.percent}%"
        picture = picture._replace(
            stage=f"{picture.stage}, {note}",
            line=f"{picture.line}; {note}",
            lines=(*picture.lines, note),
        )
    show(picture)

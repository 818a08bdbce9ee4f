"""``ckptctl demo --job``: two of eight nodes lose the shards of a job and get them back.

Each of eight ranks saves a shard on a node of its own, and each node keeps a copy of its
neighbour's. Two nodes are wiped, with files and state, while a newer version is published by some
ranks only: both have to end with the one that is whole, and so has everybody.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from ckptd.cli.demo.demo_checkpoint import Comparison, PlannedFile, compare, write_checkpoint
from ckptd.cli.demo.demo_daemon import LocalDaemon, pause
from ckptd.cli.demo.demo_place import choose_place, places
from ckptd.cli.demo.demo_workspace import blame, daemon_in, say, show_log, start, workspace_in
from ckptd.cli.demo.job_report import JobFindings
from ckptd.cli.pki.authority import Authority
from ckptd.cli.render.live import Show, showing
from ckptd.cli.render.text import WIDTH, Picture, progress_bar
from ckptd.control.messages.checkpoints import PublishRequest
from ckptd.control.messages.jobs import NewestRequest, NewestView
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName
from ckptd.model.quantities import format_duration, format_size
from ckptd.model.shards import Shard, shard_name

JOB: Final = CheckpointName("llama")
COUNT: Final = 8
WHOLE: Final = 1200
HALF: Final = 1300
SAVED_OF_HALF: Final = (0, 1, 3, 4)
"""The ranks that have saved the newer version when nodes are lost."""
WIPED: Final = (2, 5)

_COPIES: Final = 4
"""What is saved, what a node saves, its neighbour's copy of that, and half of another version."""
_CONFIG: Final = json.dumps({"layers": 32, "hidden": 4096})
_CONFIG_BYTES: Final = 1_219
_RNG_BYTES: Final = 14_645
_MODEL_PERCENT: Final = 45
_PATIENCE_S: Final = 30.0
"""Nobody comes back here: better fail than wait for ever."""
_AGREED_S: Final = 30.0
_FRAME_S: Final = 0.1


def play_job(asked_bytes: int, *, keep: bool) -> JobFindings:
    """Play the demonstration.

    Args:
        asked_bytes: Length of all shards together; less where there is no room.
        keep: Keep what was recovered.

    Raises:
        CkptdError: It cannot be played.
    """
    place, size_bytes = choose_place(places(), asked_bytes, copies=_COPIES)
    if size_bytes < asked_bytes:
        say(f"{place} has room for {format_size(size_bytes)} in all shards.")
    with workspace_in(place, "Eight daemons with mutual TLS", keep=keep) as workspace:
        return _play(workspace, size_bytes // COUNT)


def _play(workspace: str, shard_bytes: int) -> JobFindings:
    with contextlib.ExitStack() as processes:
        nodes = _start_nodes(workspace, processes)
        try:
            _save_whole(workspace, nodes, shard_bytes)
            _save_half(workspace, nodes, shard_bytes)
            wiped = [nodes[index] for index in WIPED]
            _wipe(wiped, processes)
            _say_what_is_typed()
            results = recover_together(wiped, [_kept(index) for index in WIPED])
            passed_over = _passed_over(wiped[0], results[0])
            agreed = [_newest(node) for node in nodes]
        except CkptdError as error:
            raise blame(error, nodes) from error
        names = [node.node for node in wiped]
        findings = JobFindings(names, results, passed_over, agreed, None)
        if findings.failed:
            for node in wiped:
                show_log(node)
            return findings
    say("Comparing what each of the eight nodes has with what was saved, byte by byte.")
    return replace(findings, comparisons=_compare_all(workspace, nodes))


def _start_nodes(workspace: str, processes: contextlib.ExitStack) -> list[LocalDaemon]:
    """Start all nodes, each with a root of its own, and let them follow each other."""
    authority = Authority(os.path.join(workspace, "ca"))
    authority.create()
    nodes = []
    for index in range(COUNT):
        root = os.path.join(workspace, "roots", str(index))
        os.makedirs(root)
        nodes.append(daemon_in(workspace, f"node-{index}", root, authority))
    try:
        start(nodes, processes)
        for node in nodes:
            node.follow([each.address for each in nodes])
    except CkptdError as error:
        raise blame(error, nodes) from error
    return nodes


def _save_whole(workspace: str, nodes: Sequence[LocalDaemon], shard_bytes: int) -> None:
    """Let every rank save a version, and every node bring a copy of the next rank's shard."""
    started_s = time.monotonic()
    for index, node in enumerate(nodes):
        _save(workspace, node, index, WHOLE, shard_bytes)
    recover_together(nodes, [str(_next(index)) for index in range(COUNT)], is_shown=False)
    say(
        f"{JOB}@{WHOLE}, {format_size(COUNT * shard_bytes)}: each node has published a shard of "
        f"{COUNT} and brought a copy of the next\none "
        f"({format_duration(time.monotonic() - started_s)}), as by\n"
        f"  node-1$ ckptctl publish DIR --checkpoint {JOB} --version {WHOLE} --shard 1/{COUNT}\n"
        f"  node-1$ ckptctl recover {JOB} --shards 2"
    )


def _save_half(workspace: str, nodes: Sequence[LocalDaemon], shard_bytes: int) -> None:
    for index in SAVED_OF_HALF:
        _save(workspace, nodes[index], index, HALF, shard_bytes)
    shards = ", ".join(map(str, SAVED_OF_HALF))
    say(f"{JOB}@{HALF}: only shards {shards} are published so far.")


def _save(workspace: str, node: LocalDaemon, index: int, version: int, shard_bytes: int) -> None:
    """Save what a rank has, on its node and where it is found again in the end; publish it."""
    saved = _saved(workspace, version, index)
    write_checkpoint(saved, plan_shard(index, shard_bytes), seed=version * COUNT + index)
    directory = _own(node, version)
    shutil.copytree(saved, directory)
    request = PublishRequest(
        directory=directory,
        checkpoint=shard_name(JOB, Shard(index, COUNT)),
        version=version,
        critical=("*.json", "*rng*"),
        deferred=("*optim*",),
    )
    for _ in node.client.publish(request):
        pass


def plan_shard(index: int, size_bytes: int) -> list[PlannedFile]:
    """Return what a rank saves: a file that all ranks have alike, and files of its own."""
    rest = size_bytes - _CONFIG_BYTES - _RNG_BYTES
    model = rest * _MODEL_PERCENT // 100
    return [
        PlannedFile("config.json", _CONFIG_BYTES, text=_CONFIG),
        PlannedFile(f"rank-{index}/model.safetensors", model),
        PlannedFile(f"rank-{index}/optim.pt", rest - model),
        PlannedFile(f"rank-{index}/rng.pt", _RNG_BYTES),
    ]


def _wipe(nodes: Sequence[LocalDaemon], processes: contextlib.ExitStack) -> None:
    """Kill nodes, remove everything that they had, and start them with nothing."""
    for node in nodes:
        node.kill()
        for directory in (node.root, node.state_dir):
            shutil.rmtree(directory)
            os.mkdir(directory, mode=0o700)
    start(nodes, processes)


def _say_what_is_typed() -> None:
    nodes = " and ".join(f"node-{index}" for index in WIPED)
    say(f"{nodes} are wiped, files and state. Both recover at once what they had:")
    for index in WIPED:
        say(f"  node-{index}$ ckptctl recover {JOB} --shards {_kept(index)}")


def recover_together(
    nodes: Sequence[LocalDaemon], shards: Sequence[str], *, is_shown: bool = True
) -> list[RecoveryResult]:
    """Recover on several nodes at once, and return how it ended on each.

    Args:
        nodes: Where.
        shards: Which shards, for each of them.
        is_shown: Whether progress is shown.

    Raises:
        CkptdError: A daemon ended by itself, or a recovery cannot be watched.
    """
    requests = [
        RecoverRequest(checkpoint=JOB, shards=wanted, patience_s=_PATIENCE_S) for wanted in shards
    ]
    with ThreadPoolExecutor(len(nodes)) as threads:
        views = list(threads.map(lambda node, asked: node.client.recover(asked), nodes, requests))
    with showing() if is_shown else contextlib.nullcontext() as show:
        shown_s = 0.0
        while any(not view.stage.is_ended for view in views):
            if show is not None and time.monotonic() - shown_s >= _FRAME_S:
                shown_s = time.monotonic()
                _show(show, nodes, views)
            pause()
            views = [
                node.client.recovery(view.recovery) for node, view in zip(nodes, views, strict=True)
            ]
    return [_result(node, view) for node, view in zip(nodes, views, strict=True)]


def _show(show: Show, nodes: Sequence[LocalDaemon], views: Sequence[RecoveryView]) -> None:
    parts = [f"{node.node}: {view.stage}" for node, view in zip(nodes, views, strict=True)]
    verified = sum(view.bytes_verified for view in views)
    total = sum(view.bytes_total for view in views)
    line = ", ".join(parts)
    show(Picture("recovering", line, (line, progress_bar(verified, total, WIDTH))))


def _result(node: LocalDaemon, view: RecoveryView) -> RecoveryResult:
    for event in node.client.watch(view.recovery):
        if isinstance(event, RecoveryResult):
            return event
    raise AssertionError("a watch ends with a result or raises")


def _passed_over(node: LocalDaemon, result: RecoveryResult) -> str:
    rows = node.client.explain(result.recovery).passed_over
    return "; ".join(f"{row.version}: {row.why}" for row in rows if row.version == HALF)


def _newest(node: LocalDaemon) -> NewestView:
    return node.client.newest(NewestRequest(job=JOB, for_s=_AGREED_S))


def _compare_all(workspace: str, nodes: Sequence[LocalDaemon]) -> list[Comparison]:
    """Compare what every node has of the version with what was saved."""
    found = []
    for index, node in enumerate(nodes):
        recovered = os.path.join(node.root, JOB, str(WHOLE))
        shards = [_next(index)]
        if index in WIPED:
            shards.append(index)
        else:
            found.append(compare(_saved(workspace, WHOLE, index), _own(node, WHOLE)))
        found.append(compare(_together(workspace, node.node, shards), recovered))
    return found


def _together(workspace: str, node: str, shards: Iterable[int]) -> str:
    """Return a directory with what some ranks have saved."""
    directory = os.path.join(workspace, "expected", node)
    for index in shards:
        shutil.copytree(_saved(workspace, WHOLE, index), directory, dirs_exist_ok=True)
    return directory


def _next(index: int) -> int:
    return (index + 1) % COUNT


def _kept(index: int) -> str:
    """Return which shards a node has: its rank's and the next one."""
    return f"{index},{_next(index)}"


def _saved(workspace: str, version: int, index: int) -> str:
    return os.path.join(workspace, "saved", str(version), str(index))


def _own(node: LocalDaemon, version: int) -> str:
    return os.path.join(node.root, "saved", str(version))

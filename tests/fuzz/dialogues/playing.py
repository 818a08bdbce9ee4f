"""Plays one dialogue, and judges the receiver."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
import traceback
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from ckptd.limits import BLOCK_BYTES_MIN
from ckptd.model.ids import Origin
from ckptd.model.words import Result
from tests.fuzz.dialogues.jumping_time import Clock, JumpingSelector
from tests.fuzz.dialogues.liar import Liar
from tests.fuzz.dialogues.scene import (
    HONEST,
    LIARS,
    HonestNode,
    Receiver,
    Wish,
    World,
    clear,
    receiving,
)

_PATIENCE_S: Final = 30.0
"""Of a recovery without an honest holder."""
_COMPLETE_S: Final = 900.0
"""With one it is complete after this, whatever the others do; time that jumps."""
_EXPLAINED_S: Final = 60
"""Within this a recovery that moves ends, or says what it waits for."""
_FOUND_S: Final = 20.0
"""Within this a holder that begins to answer later is found among the others."""
_SHARE_MAX: Final = 1.05
"""Of the version it receives so much, and what follows for each source that misbehaves."""
_STRIKES_MAX: Final = 4
_STRIKE_BLOCKS: Final = 2
"""Of blocks this small a lane reads several at once before it knows of a wrong one."""
_ALONE: Final = 2
"""Where nobody else has anything for a while, a source is asked again after a quarantine, and after
each body that it breaks off, which costs up to a mebibyte."""
_SOON_S: Final = 1.0
"""A holder that begins to answer by then leaves the others no while."""
_TURN_NS_MAX: Final = 150_000_000
"""Processor time for which the loop hears nobody."""


class Finding(Exception):
    """A dialogue after which something is not as it must be."""


@dataclass(slots=True)
class Dialogue:
    """What is drawn of a dialogue before it begins.

    Attributes:
        seed: Of all of it.
        wish: What the receiver is asked for.
        liars: How many sources misbehave.
        honest_after_s: When the honest holder begins to answer; ``None``: there is none.
    """

    seed: int
    wish: Wish
    liars: int
    honest_after_s: float | None

    @classmethod
    def draw(cls, seed: int) -> Dialogue:
        rng = Random(f"{seed} dialogue")
        wish = Wish(
            is_tls=rng.random() < 0.5,
            is_signed=rng.random() < 0.4,
            is_named=rng.random() < 0.6,
            has_digest=rng.random() < 0.3,
        )
        honest_after_s = rng.choice((None, 0.0, 0.0, 0.3, 1.0, 20.0))
        return cls(seed, wish, rng.choice((1, 1, 2, 2, 3)), honest_after_s)


@dataclass(slots=True)
class Course:
    """How a dialogue went.

    Attributes:
        ended: What became of the recovery: its result, or what it waits for.
        received_bytes: Of bodies.
        virtual_s: How long it took, with jumps.
        longest_turn_ns: See :class:`JumpingSelector`.
        said: What the sources did wrong.
        complaints: What is not as it must be.
    """

    ended: str = ""
    received_bytes: int = 0
    virtual_s: float = 0.0
    longest_turn_ns: int = 0
    said: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class _Listening(logging.Handler):
    """Hears what the standard library and ckptd log as an error."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        self._complaints.append(f"logged: {self.format(record)[-3000:]}")


def play(world: World, seed: int, clock: Clock) -> Course:
    """Play a dialogue.

    Raises:
        Finding: The receiver was led astray.
    """
    dialogue, course = Dialogue.draw(seed), Course()
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = lambda hook: course.complaints.append(f"unraisable: {hook.exc_value!r}")
    threading.excepthook = lambda hook: course.complaints.append(f"thread: {hook.exc_value!r}")
    before = _open_things()
    selectors: list[JumpingSelector] = []

    def new_loop() -> asyncio.AbstractEventLoop:
        selectors.append(JumpingSelector(clock))
        return asyncio.SelectorEventLoop(selectors[0])

    began_ns = clock.now_ns()
    directory = world.directory / f"dialogue-{seed}"
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_play(world, dialogue, course, directory))
        gc.collect()
        course.complaints += _left_open(before)
    except Exception:  # noqa: BLE001 (whatever breaks is a finding)
        course.complaints.append(f"it broke: {traceback.format_exc()[-4000:]}")
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        clear(directory)
    course.virtual_s = (clock.now_ns() - began_ns) / 1e9
    course.longest_turn_ns = selectors[0].longest_turn_ns
    if course.longest_turn_ns > _TURN_NS_MAX:
        course.complaints.append(f"the loop was away for {course.longest_turn_ns / 1e6:.0f} ms")
    if course.complaints:
        raise Finding(_report(dialogue, course))
    return course


def _report(dialogue: Dialogue, course: Course) -> str:
    said = "\n    ".join(f"{count} x {what}" for what, count in Counter(course.said).items())
    return (
        f"{dialogue}\n  ended: {course.ended}, {course.received_bytes} bytes,"
        f" {course.virtual_s:.0f} s\n    {said}\n  " + "\n  ".join(course.complaints)
    )


async def _play(world: World, dialogue: Dialogue, course: Course, directory: Path) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, facts: course.complaints.append(_loop_error(facts)))
    listening = _Listening(course.complaints)
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as tasks:
            liars = _make_liars(world, dialogue)
            running = [tasks.create_task(liar.serve()) for liar in liars]
            peers = [liar.address for liar in liars]
            is_tls = dialogue.wish.is_tls
            honest = HonestNode(world, directory / "honest", is_tls=is_tls)
            stack.callback(honest.close)
            if dialogue.honest_after_s is not None:
                peers.append(honest.address)
                running.append(tasks.create_task(honest.serve(dialogue.honest_after_s)))
            Random(f"{dialogue.seed} order").shuffle(peers)
            async with receiving(world, directory / "r", dialogue.wish, peers) as receiver:
                logging.getLogger().addHandler(listening)
                stack.callback(logging.getLogger().removeHandler, listening)
                is_hopeful = dialogue.honest_after_s is not None
                await receiver.begin(
                    dialogue.wish, world.truth, None if is_hopeful else _PATIENCE_S
                )
                try:
                    async with asyncio.timeout(_COMPLETE_S if is_hopeful else _PATIENCE_S * 5):
                        await receiver.over.wait()
                except TimeoutError:
                    pass
                await _until_explained(receiver)
                _judge(world, dialogue, receiver, course, liars)
                if dialogue.honest_after_s is not None:
                    _judge_honest(receiver, honest.address, course)
            for task in running:
                task.cancel()
        course.complaints += [f"left running: {task!r}" for task in await _left_tasks()]
        for liar in liars:
            course.said += [f"{liar.node} {what}" for what in liar.said]


async def _until_explained(receiver: Receiver) -> None:
    """Give a recovery that moves a while to end, or to say what it waits for."""
    recovering = receiver.recovering
    for _ in range(_EXPLAINED_S):
        if receiver.over.is_set() or any(each.waiting_for for each in recovering.snapshots()):
            return
        await asyncio.sleep(1)


async def _left_tasks() -> set[asyncio.Task[Any]]:
    """Return tasks that nobody waited for."""
    for _ in range(3):
        await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


def _make_liars(world: World, dialogue: Dialogue) -> list[Liar]:
    wish = dialogue.wish
    return [
        Liar(
            node,
            f"{dialogue.seed} {node}",
            world.truth,
            world.contexts[node] if wish.is_tls else (),
            may_forge=wish.is_signed or wish.has_digest,
        )
        for node in LIARS[: dialogue.liars]
    ]


def _loop_error(facts: dict[str, Any]) -> str:
    return f"loop: {facts.get('message')}: {facts.get('exception')!r}, {facts.get('future')!r}"


def _judge(
    world: World, dialogue: Dialogue, receiver: Receiver, course: Course, liars: list[Liar]
) -> None:
    complain, truth = course.complaints.append, world.truth
    is_complete = _judge_end(dialogue, receiver, course, truth.digest)
    course.complaints += _wrong_files(receiver.root, truth.contents, is_complete=is_complete)
    after_s = dialogue.honest_after_s
    are_alone = after_s is None or after_s > _SOON_S
    strikes_max = len(liars) * _STRIKES_MAX * (_ALONE if are_alone else 1)
    bytes_max = len(truth.data) * _SHARE_MAX + strikes_max * _STRIKE_BLOCKS * BLOCK_BYTES_MIN
    if course.received_bytes > bytes_max:
        complain(f"it received {course.received_bytes / len(truth.data):.1f} times the version")
    for numbered in receiver.log.events.after(0, at_most=10_000)[1]:
        event = numbered.entry
        if event.level in {"error", "critical"}:
            complain(f"logged: {event.event} {dict(event.facts)}")


def _judge_end(dialogue: Dialogue, receiver: Receiver, course: Course, digest: str) -> bool:
    """Note how it ended; return whether it is complete."""
    complain, ended = course.complaints.append, receiver.ended
    is_complete = ended is not None and ended.result is Result.COMPLETE
    if ended is not None:
        course.ended = f"{ended.result} {ended.cause} {ended.message}"
        course.received_bytes = ended.received_bytes
        if is_complete and ended.digest != digest:
            complain("another version was taken")
        if not is_complete and not (ended.cause and ended.message):
            complain("it ended and nobody knows why")
    for view in receiver.recovering.snapshots():
        course.ended = f"waits for {view.waiting_for}"
        course.received_bytes = view.received_bytes
        if not view.waiting_for:
            complain("it stands still and nobody knows why")
    after_s = dialogue.honest_after_s
    if after_s is not None and not is_complete:
        found_s = after_s and after_s + _FOUND_S
        if ended is None or receiver.ended_after_s >= found_s:
            complain("it is not complete")
    return is_complete


def _judge_honest(receiver: Receiver, address: str, course: Course) -> None:
    """See that nothing is held against the honest node, whatever others did in its name."""
    scheduler = receiver.recovering.scheduler
    state, now = scheduler.inspect(), receiver.recovering.runtime.now()
    origins = {Origin(HONEST if receiver.is_tls else address)}
    blamed = {
        peer.origin
        for path, peer in state.peers.items()
        if (view := scheduler.peer(path, now=now)) and (view.quarantines or view.bad_block_count)
    }
    if origins & (blamed | receiver.accused):
        course.complaints.append("the honest node was blamed")


def _wrong_files(root: Path, contents: dict[str, bytes], *, is_complete: bool) -> list[str]:
    """Return what is in a root that must not be there, or is not and must be."""
    found = {
        str(path.relative_to(root)): path
        for path in root.rglob("*")
        if path.is_file() and ".ckptd" not in path.parts
    }
    target = "llama/rank-0/100"
    wanted = {f"{target}/{path}": content for path, content in contents.items()}
    if not is_complete:
        return [f"placed: {path}" for path in found]
    complaints = [f"is not what it should be: {path}" for path in wanted.keys() ^ found.keys()]
    complaints += [
        f"wrong bytes: {path}"
        for path, content in wanted.items()
        if path in found and found[path].read_bytes() != content
    ]
    return complaints


def _open_things() -> tuple[set[str], set[str]]:
    descriptors = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            descriptors.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except OSError:
            continue
    return descriptors, {thread.name for thread in threading.enumerate()}


def _left_open(before: tuple[set[str], set[str]]) -> list[str]:
    descriptors, threads = _open_things()
    left = [f"left open: {each}" for each in descriptors - before[0]]
    return left + [f"left running: {name}" for name in threads - before[1]]

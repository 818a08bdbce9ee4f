"""The job of the demonstration: eight ranks that compute in step and save every two seconds.

It knows nothing of ckptd: each rank writes directories on its node, and when a rank dies all stop,
as ranks do that wait for each other. What a rank has after a step follows from what it had before,
so that one that goes on from wrong bytes is found out at the next comparison.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

SAVE_EVERY_S: Final = 2.0
SAVES_KEPT: Final = 10
"""So many of its newest saves a rank keeps; older ones it removes. A node audits one claim a second
before it counts on it, so at this rate copies come some versions later."""
MARKER: Final = "done"
"""The file that is written last."""

_CONFIG: Final = b'{"layers": 32, "hidden": 4096}\n'
_RNG_BYTES: Final = 4096
_LOOK_S: Final = 0.1
_ENDED_S: Final = 30.0
"""A step takes milliseconds, however busy the machine is."""


class Saved(NamedTuple):
    """A save that is complete.

    Attributes:
        rank: Whose.
        version: The step after which it was saved.
        at_s: When its last file was written, by its file system, in Unix time.
    """

    rank: int
    version: int
    at_s: float


def advance(state: bytes, rank: int) -> bytes:
    """Return what a rank has after one more step."""
    return hashlib.shake_256(bytes([rank]) + state).digest(len(state))


def begin_with(size_bytes: int) -> bytes:
    """Return what each rank has before the first step."""
    return bytes(size_bytes)


def files_of(rank: int, state: bytes) -> dict[str, bytes]:
    """Return the files that a rank saves, by path: one that all have alike, and its own."""
    cut = _RNG_BYTES
    middle = cut + (len(state) - cut) // 3
    return {
        "config.json": _CONFIG,
        f"rank-{rank}/rng.bin": state[:cut],
        f"rank-{rank}/model.bin": state[cut:middle],
        f"rank-{rank}/optim.bin": state[middle:],
        MARKER: b"",
    }


def save(
    directory: str, rank: int, state: bytes, *, is_dead: Callable[[], bool] = lambda: False
) -> bool:
    """Write what a rank has into a directory that is not there yet.

    Args:
        directory: Which one.
        rank: Whose.
        state: What it has.
        is_dead: It dies between two files.

    Returns:
        Whether all was written.
    """
    os.makedirs(os.path.join(directory, f"rank-{rank}"))
    for path, content in files_of(rank, state).items():
        if is_dead():
            return False
        with open(os.path.join(directory, path), "wb") as file:
            file.write(content)
    return True


def load(directory: str, rank: int) -> bytes:
    """Return what a rank has saved into a directory.

    Raises:
        OSError: A file is missing.
    """
    parts = []
    for name in ("rng.bin", "model.bin", "optim.bin"):
        with open(os.path.join(directory, f"rank-{rank}", name), "rb") as file:
            parts.append(file.read())
    return b"".join(parts)


def save_name(version: int) -> str:
    """Return the name of the directory into which a version is saved."""
    return f"step_{version}"


class ToyJob:
    """All ranks, each in a thread. They run until they are stopped or one of them dies.

    Args:
        version: The step after which they go on.
        states: What each rank has.
        homes: Into which directory each saves; exists.
        save_every_s: How often, at most.
        may_go_on: Whether the next one may be saved after a version: where the machine is slow a
            job waits until what it saved last can be recovered.

    Attributes:
        saved: What was saved completely; more is added at the end.
    """

    def __init__(
        self,
        version: int,
        states: Mapping[int, bytes],
        homes: Mapping[int, str],
        *,
        save_every_s: float = SAVE_EVERY_S,
        may_go_on: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.saved: list[Saved] = []
        self._version = version
        self._homes = homes
        self._save_every_s = save_every_s
        self._may_go_on = may_go_on
        self._step_ends = threading.Barrier(len(states))
        self._is_over = threading.Event()
        self._dead = {rank: threading.Event() for rank in states}
        self._threads = {
            rank: threading.Thread(
                target=self._train, args=(rank, state), name=f"rank-{rank}", daemon=True
            )
            for rank, state in states.items()
        }

    def start(self) -> None:
        """Start all ranks."""
        for thread in self._threads.values():
            thread.start()

    @property
    def is_running(self) -> bool:
        """No rank has ended."""
        return all(thread.is_alive() for thread in self._threads.values())

    def newest_saved(self) -> int:
        """Return the newest version that every rank has saved; where it began if there is none."""
        versions = [saved.version for saved in tuple(self.saved)]
        return max(
            (version for version in set(versions) if versions.count(version) == len(self._homes)),
            default=self._version,
        )

    def kill(self, *ranks: int) -> None:
        """Let ranks die where they are, maybe amid a save; the others stop waiting for them."""
        for rank in ranks:
            self._dead[rank].set()
        self._step_ends.abort()
        for rank in ranks:
            self._threads[rank].join(_ENDED_S)

    def stop(self) -> None:
        """Let all ranks end, with what they save now complete. Those that ended do no more."""
        self._is_over.set()
        self._step_ends.abort()
        for thread in self._threads.values():
            if thread.ident is not None:
                thread.join(_ENDED_S)

    def _train(self, rank: int, state: bytes) -> None:
        step = self._version
        next_s = time.monotonic()
        while True:
            next_s += self._save_every_s
            wait_s = max(next_s - time.monotonic(), 0.0)
            while not self._is_over.wait(wait_s) and not self._is_dead(rank):
                if step == self._version or self._may_go_on(step):
                    break
                wait_s = _LOOK_S
            else:
                return
            try:
                self._step_ends.wait()
            except threading.BrokenBarrierError:
                return
            next_s = max(next_s, time.monotonic())
            step += 1
            state = advance(state, rank)
            try:
                saved = self._save(rank, step, state)
            except OSError:  # its node is gone, and its directories with it
                saved = None
            if saved is None:
                self._step_ends.abort()
                return
            self.saved.append(saved)
            self._rotate(rank, step)

    def _save(self, rank: int, step: int, state: bytes) -> Saved | None:
        """Write a save; ``None``: it died before that was complete."""
        directory = os.path.join(self._homes[rank], save_name(step))
        if not save(directory, rank, state, is_dead=self._dead[rank].is_set):
            return None
        return Saved(rank, step, os.stat(os.path.join(directory, MARKER)).st_mtime)

    def _rotate(self, rank: int, step: int) -> None:
        shutil.rmtree(
            os.path.join(self._homes[rank], save_name(step - SAVES_KEPT)), ignore_errors=True
        )

    def _is_dead(self, rank: int) -> bool:
        return self._dead[rank].is_set()

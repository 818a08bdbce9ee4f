"""What the daemon does about descriptors, memory and threads that run out: it waits.

Threads are started before there are too few of them: one that cannot be started in the middle of
something would end whatever asked for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from ckptd.errors import CkptdError, OutOfSpace, Shortage, shortage_of
from ckptd.observe.logs import get_logger

_PAUSE_S: Final = 1.0
"""After so much time it is tried again. Each try costs one call that is refused."""

_log = get_logger()
_T = TypeVar("_T")


def ready_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Return a pool whose threads run already.

    Args:
        count: How many.
        name: Begins their names.

    Raises:
        CkptdError: They cannot be started.
    """
    threads = ThreadPoolExecutor(count, thread_name_prefix=name)
    all_run = threading.Barrier(count + 1)
    try:
        for _ in range(count):
            threads.submit(all_run.wait)
    except RuntimeError as error:
        all_run.abort()
        threads.shutdown(wait=False, cancel_futures=True)
        raise shortage_of(error, f"threads {name!r}") or error from error
    all_run.wait()
    return threads


async def outlast(work: Callable[[], Awaitable[_T]], subject: str) -> _T:
    """Do something that must be done, as soon as this node has what it takes.

    Args:
        work: Called again and again until it does not fail for lack of descriptors, memory,
            threads or room.
        subject: What it is about, for the log.
    """
    is_said = False
    while True:
        try:
            return await work()
        except (Shortage, OutOfSpace) as error:
            if not is_said:
                _log.warning("node.short", subject=subject, why=str(error))
            is_said = True
        await asyncio.sleep(_PAUSE_S)


async def in_threads(threads: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    """Run something that may block in one of some threads.

    Raises:
        CkptdError: What ``work`` raises; ``Shortage`` if it needs a thread, memory or a descriptor
            and gets none.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    except CkptdError:
        raise
    except (MemoryError, OSError, RuntimeError) as error:
        shortage = shortage_of(error)
        if shortage is None:
            raise
        raise shortage from error

"""Starts the services of the daemon in order, runs them together, and ends them together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """Something that the daemon does for as long as it lives.

    Attributes:
        name: For whoever debugs the daemon.
        start: Gets ready; what stands before it in the list runs by then.
        run: Works until cancelled.
    """

    name: str
    start: Callable[[], Awaitable[None] | None] | None = None
    run: Callable[[], Coroutine[None, None, None]] | None = None


async def run_services(
    services: Sequence[Service], *, until_drained: Callable[[], Awaitable[None]]
) -> None:
    """Start every service in turn, and run all of them until it is time to end.

    Args:
        services: Each relies on those before it.
        until_drained: Returns when they are to be cancelled.

    Raises:
        ExceptionGroup: A service failed, or did not start; all others have ended.
    """
    async with asyncio.TaskGroup() as tasks:
        running = []
        for service in services:
            if service.start is not None:
                await asyncio.sleep(0)  # those before it take their first step
                starting = service.start()
                if starting is not None:
                    await starting
            if service.run is not None:
                running.append(tasks.create_task(service.run(), name=service.name))
        await until_drained()
        for task in running:
            task.cancel()

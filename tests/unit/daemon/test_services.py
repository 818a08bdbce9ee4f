from __future__ import annotations

import asyncio

import pytest

from ckptd.daemon.services import Service, run_services
from ckptd.errors import CkptdError


class Course:
    """Services that write down what they do."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def service(self, name: str) -> Service:
        def start() -> None:
            self.log.append(f"{name} starts")

        async def run() -> None:
            self.log.append(f"{name} runs")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.log.append(f"{name} ends")

        return Service(name, start=start, run=run)

    async def drain(self) -> None:
        await asyncio.sleep(0)
        self.log.append("drained")


async def test_each_starts_when_those_before_it_run_and_all_end_in_that_order() -> None:
    course = Course()
    await run_services([course.service("a"), course.service("b")], until_drained=course.drain)
    assert course.log == [
        "a starts", "a runs", "b starts", "b runs", "drained", "a ends", "b ends",
    ]  # fmt: skip


async def test_a_start_is_waited_for() -> None:
    course = Course()

    async def start() -> None:
        await asyncio.sleep(0)
        course.log.append("ready")

    services = [Service("slow", start=start), course.service("a"), Service("nothing")]
    await run_services(services, until_drained=course.drain)
    assert course.log[:2] == ["ready", "a starts"]


async def test_a_start_that_fails_ends_those_that_run_and_nothing_else_starts() -> None:
    course = Course()
    refusal = CkptdError("listener", "cannot listen")

    async def start() -> None:
        raise refusal

    services = [course.service("a"), Service("listener", start=start), course.service("b")]
    with pytest.raises(ExceptionGroup) as failed:
        await run_services(services, until_drained=course.drain)
    assert failed.value.exceptions == (refusal,)
    assert course.log == ["a starts", "a runs", "a ends"]

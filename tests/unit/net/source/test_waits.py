import asyncio

import pytest

from ckptd.net.source.waits import Waits


async def wait_for_ever(waits: Waits) -> None:
    async with waits.wait(3600):
        await asyncio.Event().wait()


async def test_a_cut_ends_the_waits_there_are_and_those_to_come() -> None:
    waits = Waits()
    waiting = [asyncio.ensure_future(wait_for_ever(waits)) for _ in range(3)]
    await asyncio.sleep(0)
    waits.cut()
    waits.cut()
    assert waits.is_cut
    for task in [*waiting, asyncio.ensure_future(wait_for_ever(waits))]:
        with pytest.raises(TimeoutError):
            await task


async def test_what_is_done_in_time_is_not_disturbed() -> None:
    waits = Waits()
    async with waits.wait(3600):
        await asyncio.sleep(0)
    waits.cut()
    await asyncio.sleep(0)


async def test_a_wait_can_be_made_shorter_from_inside() -> None:
    waits = Waits()

    async def wait_no_longer() -> None:
        async with waits.wait(3600) as timeout:
            timeout.reschedule(asyncio.get_running_loop().time())
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait_no_longer()
    waits.cut()

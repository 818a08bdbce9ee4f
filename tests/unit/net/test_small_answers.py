"""How long an answer to a small question may take that comes, but slowly."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from ckptd.errors import ProtocolViolation, Shortage
from ckptd.limits import KIB, MANIFEST_BYTES_MAX
from ckptd.model.ids import Digest
from ckptd.model.signatures import DOMAIN
from ckptd.net import inquiry, small_answers
from ckptd.net.inquiry import Inquirer
from ckptd.net.manifest_room import ManifestRoom
from tests.support.serving import Script, on_both_loops, scripted_source, take_request

DIGEST = Digest("0" * 64)
RATE = 64 * KIB
WINDOW_S = 0.2
DROPS = 600
"""At 50 ms each: who is not cut off sends for half a minute …"""
SOON_S = 10.0
"""… and who is cut off in time is cut off by now, however busy the machine is."""


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "_ANSWER_SILENCE_S", 2 * WINDOW_S)
    monkeypatch.setattr(small_answers, "_WINDOW_S", WINDOW_S)


def sending(length: int, parts: Callable[[], Iterator[bytes]], *, pause_s: float) -> Script:
    """Send a head that announces a length, and the body part by part; stop when cut off."""

    def script(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        for part in parts():
            connection.sendall(part)
            time.sleep(pause_s)

    return script


async def seconds_until_given_up(script: Script, why: str) -> float:
    with scripted_source(script) as address:
        async with Inquirer() as inquirer:
            start = time.monotonic()
            with pytest.raises(TimeoutError, match=why):
                await inquirer.manifest(address, DIGEST)
            return time.monotonic() - start


def drops(count: int) -> Callable[[], Iterator[bytes]]:
    return lambda: (b"x" for _ in range(count))


@pytest.mark.parametrize("length", [100, 64 * 1024 * KIB], ids=["small", "large"])
@on_both_loops
async def test_a_body_that_comes_drop_by_drop_ends_with_its_first_window(length: int) -> None:
    took_s = await seconds_until_given_up(
        sending(length, drops(DROPS), pause_s=0.05), "answers too slowly"
    )
    assert WINDOW_S * 0.9 < took_s < SOON_S


@on_both_loops
async def test_what_came_early_earns_no_time_for_later() -> None:
    def parts() -> Iterator[bytes]:
        yield bytes(20 * RATE)  # as much as has to come in 20 s
        yield from drops(DROPS)()

    took_s = await seconds_until_given_up(
        sending(40 * RATE, parts, pause_s=0.05), "answers too slowly"
    )
    assert took_s < SOON_S


@on_both_loops
async def test_a_body_that_comes_at_the_minimum_is_waited_for() -> None:
    window_s = 1.5  # a busy machine may be late by a second
    pause_s = 0.4
    count = int(window_s / pause_s) + 2
    part = bytes(int(window_s * RATE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_answers, "_WINDOW_S", window_s)
        script = sending(count * len(part), lambda: iter([part] * count), pause_s=pause_s)
        with scripted_source(script) as address:
            async with Inquirer() as inquirer:
                answer = await inquirer.manifest(address, DIGEST)
    assert len(answer.manifest) == count * len(part)  # in some windows


@on_both_loops
async def test_a_head_that_comes_drop_by_drop_has_no_more_time_than_a_silent_one() -> None:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(DROPS):
            connection.sendall(b"y")
            time.sleep(0.05)

    assert await seconds_until_given_up(script, "does not answer") < SOON_S


@on_both_loops
async def test_a_body_is_as_long_as_it_says() -> None:
    with scripted_source(sending(5, lambda: iter([b"12", b"345"]), pause_s=0.01)) as address:
        async with Inquirer() as inquirer:
            assert (await inquirer.manifest(address, DIGEST)).signed == DOMAIN + b"12345"
    with scripted_source(sending(10**9, drops(1), pause_s=0)) as address:
        async with Inquirer() as inquirer:
            with pytest.raises(ProtocolViolation, match="more than"):
                await inquirer.manifest(address, DIGEST)


@on_both_loops
async def test_a_manifest_for_which_there_is_no_memory_is_given_up() -> None:
    room = ManifestRoom()
    with room.share() as first, room.share() as second, room.share() as third:
        for each in (first, second):
            each.grow(MANIFEST_BYTES_MAX)
        with scripted_source(sending(5, lambda: iter([b"12345"]), pause_s=0)) as address:
            async with Inquirer() as inquirer:
                with pytest.raises(Shortage):
                    await inquirer.manifest(address, DIGEST, third)

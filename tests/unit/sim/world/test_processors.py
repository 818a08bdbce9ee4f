"""What moving bytes takes of processors, and what coded blocks are on their way."""

from __future__ import annotations

import math

import pytest

from ckptd.limits import MIB, SECOND
from ckptd.model.ids import Digest
from ckptd.sim.world.processors import NO_BASE_SHARE, Body, Processors, coded_body
from ckptd.traffic.coding_time import CodingTime

BASE = Digest("b" * 64)
PROCESSORS = Processors(cores=4)


def made(count: int, base: Digest | None, cores: float = 1.0) -> Body:
    lengths = [MIB] * count
    shares = {BASE: 1 / 16}
    return coded_body(lengths, [base] * count, shares, PROCESSORS, CodingTime(cores), now=0)


def test_differences_are_short_and_count_by_their_length() -> None:
    body = made(3, BASE)
    assert (body.size_bytes, body.plain_bytes, body.coded_plain_bytes) == (
        3 * MIB // 16,
        3 * MIB,
        3 * MIB,
    )
    assert body.bases == {0: BASE, 1: BASE, 2: BASE}
    # Half of the second block is here: of what came of it that counts.
    assert body.received_bytes(MIB // 16 * 3 // 2) == MIB + MIB // 32
    assert body.received_bytes(body.size_bytes) == 3 * MIB
    assert body.end_of(1) == MIB + MIB // 16


def test_what_has_no_base_gets_a_little_shorter() -> None:
    body = made(2, None)
    assert body.size_bytes == 2 * int(MIB * NO_BASE_SHARE)
    assert body.bases == {}


def test_blocks_go_as_they_are_when_the_time_for_coding_is_spent() -> None:
    body = made(1000, BASE)
    coded = int(SECOND / 4 * PROCESSORS.coding_bytes_per_s / SECOND / MIB) + 1
    assert body.coded_plain_bytes == coded * MIB
    assert body.size_bytes == coded * MIB // 16 + (1000 - coded) * MIB
    assert made(5, BASE, cores=0.0).size_bytes == 5 * MIB


@pytest.mark.parametrize(("moving", "share"), [(0, 1.0), (2, 1.0), (4, 1.0), (8, 0.5)])
def test_who_moves_has_an_equal_share_and_one_core_at_most(moving: int, share: float) -> None:
    assert PROCESSORS.core_share(moving) == share


def test_what_a_core_does_of_a_body_is_what_its_parts_take() -> None:
    plain, body = Body(64 * MIB), made(64, BASE)
    assert PROCESSORS.takes(plain) == pytest.approx(PROCESSORS.taking_bytes_per_s)
    seconds = 64 * MIB / PROCESSORS.decoding_bytes_per_s + 64 * MIB / PROCESSORS.taking_bytes_per_s
    assert PROCESSORS.takes(body) == pytest.approx(body.size_bytes / seconds)
    assert PROCESSORS.sends(plain) == pytest.approx(PROCESSORS.sending_bytes_per_s)
    assert PROCESSORS.sends(body) < PROCESSORS.sending_bytes_per_s / 4
    assert math.isinf(Processors().cores)

"""The event loops that ckptd runs on: in tests asyncio's, in the daemon uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

import pytest
import uvloop

from tests.support.time_limits import ON_UVLOOP

NewLoop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

BOTH: Final = (
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop.new_event_loop, id="uvloop", marks=ON_UVLOOP),
)

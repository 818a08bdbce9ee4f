"""What all coded answers of a source have in common: time, memory, and what was made just now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ckptd.net.source.coded_forms import CodedForms
from ckptd.net.source.coding_memory import CodingMemory
from ckptd.net.source.shared_coding_time import SharedCodingTime
from ckptd.net.source.unit_fits import UnitFits

KEPT_S: Final = 60.0
"""Forms are kept for so long after the last answer: others who follow this source ask within
seconds, as they learn of a version at the same time."""


class SharedCoding:
    """What coded answers have in common. Its own methods are for the event loop.

    Args:
        cores: How much processor time coding may take.

    Attributes:
        time: What is left of it.
        memory: What is coded with.
        forms: What was coded.
        fits: How it is coded best.
    """

    def __init__(self, cores: float = 0.0) -> None:
        self.time = SharedCodingTime(cores)
        self.memory = CodingMemory()
        self.forms = CodedForms()
        self.fits = UnitFits()
        self._answers = 0
        self._end: asyncio.TimerHandle | None = None

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Keep what is made while an answer is sent, and for a while after the last one."""
        self._answers += 1
        if self._end is not None:
            self._end.cancel()
            self._end = None
        try:
            yield
        finally:
            self._answers -= 1
            if not self._answers:
                self._end = asyncio.get_running_loop().call_later(KEPT_S, self.forms.clear)

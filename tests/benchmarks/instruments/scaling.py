"""How fast a bigger machine would be, and what would bind there. Pure.

Every resource takes so many seconds for each gigabyte and there are so many of it, so it alone
would permit ``count / seconds`` gigabytes a second. The least of them binds. What is not in here:
memory bandwidth, caches, the network card unless it is given, the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Binding(StrEnum):
    """What permits no more."""

    CORES = "cores"
    LANES = "lanes"
    INTERPRETER = "the interpreter"
    FILES = "the locks of files"
    DECRYPTION = "one decryption at a time"
    SOURCES = "interpreters of sources"
    CARD = "the network card"


@dataclass(frozen=True)
class Costs:
    """Seconds for each gigabyte, as measured on some machine.

    Attributes:
        receiver_cpu_s: Of all processors, by the receiver.
        sources_cpu_s: … by all sources.
        lane_cpu_s: Of the threads that move bodies, by the receiver.
        interpreter_s: Under the receiver's interpreter lock.
        source_interpreter_s: Under that of a source, for each gigabyte that it sends.
        file_lock_s: Under the lock of a file that is written.
        decrypting_s: Under the lock of whoever decrypts; 0 without TLS.
    """

    receiver_cpu_s: float
    sources_cpu_s: float
    lane_cpu_s: float
    interpreter_s: float
    source_interpreter_s: float
    file_lock_s: float
    decrypting_s: float = 0.0


@dataclass(frozen=True)
class Setup:
    """What a machine and a checkpoint have.

    Attributes:
        cores: Of the receiver's machine.
        lanes: Connections that bodies come over.
        files: That are written at once.
        sources: That send.
        has_sources: They run on the same cores, as in benchmarks.
        card_gb_per_s: What comes in at most; infinite: not counted.
    """

    cores: int
    lanes: int
    files: int
    sources: int
    has_sources: bool = False
    card_gb_per_s: float = float("inf")


class Prediction(NamedTuple):
    """How fast, and why not faster."""

    rate_gb_per_s: float
    binding: Binding


def bounds(costs: Costs, setup: Setup) -> Iterator[Prediction]:
    """Yield what each resource alone would permit."""
    cpu_s = costs.receiver_cpu_s + (costs.sources_cpu_s if setup.has_sources else 0)
    # A file that no lane writes to helps nobody.
    files = min(setup.files, setup.lanes)
    for count, seconds, binding in (
        (setup.cores, cpu_s, Binding.CORES),
        (setup.lanes, costs.lane_cpu_s, Binding.LANES),
        (1, costs.interpreter_s, Binding.INTERPRETER),
        (files, costs.file_lock_s, Binding.FILES),
        (1, costs.decrypting_s, Binding.DECRYPTION),
        (setup.sources, costs.source_interpreter_s, Binding.SOURCES),
    ):
        if seconds > 0:
            yield Prediction(count / seconds, binding)
    yield Prediction(setup.card_gb_per_s, Binding.CARD)


def predict(costs: Costs, setup: Setup) -> Prediction:
    """Return what the scarcest resource permits; of equals the first."""
    return min(bounds(costs, setup), key=lambda each: each.rate_gb_per_s)

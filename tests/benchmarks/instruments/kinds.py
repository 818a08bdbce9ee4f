"""Processor time by kind, from the stacks that ``perf script`` prints. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What processor time was spent for."""

    RECEIVING = "receiving"
    SENDING = "sending"
    WRITING = "writing"
    READING = "reading"
    WAITING = "locks"
    FAULTS = "page faults"
    INTERRUPTS = "interrupts"
    KERNEL = "other kernel"
    HASHING = "hashing"
    CRYPTO = "TLS"
    COPYING = "copying"
    INTERPRETER = "interpreter"


class Frame(NamedTuple):
    """A function and the file that it is in."""

    function: str
    file: str


class Sample(NamedTuple):
    """A process and its stack, innermost first."""

    pid: int
    stack: tuple[Frame, ...]


_KERNEL: Final = "[kernel"
_OF_KERNEL: Final[Sequence[tuple[str, Kind]]] = (
    ("osq_lock", Kind.WAITING),
    ("rwsem_", Kind.WAITING),
    ("futex", Kind.WAITING),
    ("sys_recv", Kind.RECEIVING),
    ("sys_sendfile", Kind.SENDING),
    ("sys_sendto", Kind.SENDING),
    ("sys_sendmsg", Kind.SENDING),
    ("sys_pwrite", Kind.WRITING),
    ("do_pwritev", Kind.WRITING),
    ("sys_write", Kind.WRITING),
    ("sys_pread", Kind.READING),
    ("do_preadv", Kind.READING),
    ("sys_read", Kind.READING),
    ("exc_page_fault", Kind.FAULTS),
    ("sysvec_", Kind.INTERRUPTS),
    ("common_interrupt", Kind.INTERRUPTS),
)
"""Parts of names of functions; the first that stands anywhere in a stack counts."""

_OF_FILES: Final[Sequence[tuple[str, Kind]]] = (
    ("blake3", Kind.HASHING),
    ("libcrypto", Kind.CRYPTO),
    ("libssl", Kind.CRYPTO),
    ("libc.so", Kind.COPYING),
    ("libc-", Kind.COPYING),
)
"""Parts of names of files, in user space; what is in none of them is the interpreter's."""


def kind_of(stack: Sequence[Frame]) -> Kind:
    """Return what a stack was spent for."""
    kernel = [frame.function for frame in stack if frame.file.startswith(_KERNEL)]
    if kernel:
        found = (kind for part, kind in _OF_KERNEL if any(part in name for name in kernel))
        return next(found, Kind.KERNEL)
    file = stack[0].file.rpartition("/")[2] if stack else ""
    return next((kind for part, kind in _OF_FILES if part in file), Kind.INTERPRETER)


def parse_samples(script: str) -> Iterator[Sample]:
    """Read what ``perf script -F pid,ip,sym,dso`` prints."""
    pid: int | None = None
    stack: list[Frame] = []
    for line in (*script.splitlines(), ""):
        words = line.split()
        if not words:
            if pid is not None:
                yield Sample(pid, tuple(stack))
            pid, stack = None, []
        elif pid is None:
            pid = int(words[0])
        else:
            _, *name, file = words
            stack.append(Frame(" ".join(name), file.strip("()")))


def shares(samples: Sequence[Sample]) -> Mapping[Kind, float]:
    """Return what part of the samples each kind has, the most first."""
    counts = Counter(kind_of(sample.stack) for sample in samples)
    return {kind: count / counts.total() for kind, count in counts.most_common()}

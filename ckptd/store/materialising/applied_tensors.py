"""Writes one file of a materialised copy: tensors of the base, each delta applied to them in turn.

A tensor is gone through once, slice by slice, with all deltas open beside each other; the sum that
the last one of them says is compared at its end. A wrong base, a delta that is applied twice, one
that is left out: each of them is found there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.chains.applying import Change, Differing, Overwriting
from ckptd.chains.delta_index import XOR
from ckptd.errors import VerificationFailed
from ckptd.limits import MIB
from ckptd.model.formats.tensors import Tensor
from ckptd.store.files.hashing import content_hasher
from ckptd.store.materialising.chain_files import ChainFiles, MadeFile, TensorChange
from ckptd.store.materialising.sums import SUMS

_SLICE_BYTES: Final = MIB
"""So much of a tensor is worked on at once: it stays in a processor's cache."""


class FileWriting:
    """Writes files of a copy, one after the other. One thread.

    Args:
        files: What is made.
        on_progress: Called with how many bytes were written since the last call; what it raises
            ends the writing.
    """

    def __init__(self, files: ChainFiles, on_progress: Callable[[int], None]) -> None:
        self._files = files
        self._on_progress = on_progress
        self._buffer = page_buffer(_SLICE_BYTES)

    def write(self, file: MadeFile, write: Callable[[int, memoryview], None]) -> str:
        """Write all of a file; return its digest, as it is written. Blocks.

        Args:
            file: Which one.
            write: Takes where bytes belong in it, and the bytes; they are good until it returns.

        Raises:
            VerificationFailed: A tensor is not what it should be.
            InvalidFormat: A delta is of no tensor of that length.
            ContentChanged: What is read is not what was published.
            StorageError: The disk refused.
        """
        hasher = content_hasher()

        def put(at: int, content: memoryview) -> None:
            hasher.update(content)
            write(at, content)
            self._on_progress(len(content))

        at = 0
        for tensor in file.tensors:
            changes = self._files.changes.get(tensor.name, ())
            if changes:
                self._go_through(file, at, tensor.start, put)
                self._apply(file, tensor, changes, put)
                at = tensor.end
        self._go_through(file, at, file.source.size_bytes, put)
        return hasher.hexdigest()

    def _go_through(
        self, file: MadeFile, start: int, end: int, put: Callable[[int, memoryview], None]
    ) -> None:
        for at in range(start, end, _SLICE_BYTES):
            content = self._buffer[: min(_SLICE_BYTES, end - at)]
            file.source.read_into(at, content)
            put(at, content)

    def _apply(
        self,
        file: MadeFile,
        tensor: Tensor,
        changes: Sequence[TensorChange],
        put: Callable[[int, memoryview], None],
    ) -> None:
        applied = [_opened(tensor, each) for each in changes]
        last = changes[-1]
        total = SUMS[last.sum_kind]()

        def change(at: int, content: memoryview) -> None:
            for each in applied:
                each.apply(content)
            total.update(content)
            put(at, content)

        self._go_through(file, tensor.start, tensor.end, change)
        for each in applied:
            each.finish()
        if total.hexdigest() != last.expected:
            raise VerificationFailed(
                f"tensor {tensor.name[:200]!r} of version {last.version}",
                f"does not sum up to what its delta says after {_count(changes)}",
                "Its base is another one, or the delta is wrong: recover a full version.",
            )


def _opened(tensor: Tensor, change: TensorChange) -> Change:
    difference = change.difference
    if change.encoding == XOR:
        return Differing(difference.opened().read, tensor.name)
    places, values = difference.opened(), difference.opened()
    return Overwriting(places.read, values.read, tensor.name, tensor.end - tensor.start)


def _count(changes: Sequence[TensorChange]) -> str:
    return "it was applied" if len(changes) == 1 else f"{len(changes)} deltas were applied"

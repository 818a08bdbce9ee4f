"""Coded forms of blocks that were just made, for others who ask for the same blocks.

Who follows one source asks for the same blocks at about the same time, against the same base. So a
block is coded once: whoever comes meanwhile waits for it, whoever comes later finds it, and neither
reads nor hashes the block or its base. What a form is of was hashed before it got here. Forms are
known by digests of plain bytes; they are no identity themselves, never leave this process but as
answers, and nobody relies on finding one.
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from ckptd.limits import MIB
from ckptd.model.words import Coder

FORMS_BYTES_MAX: Final = 64 * MIB
"""Of all forms. Receivers may be so far apart as what it stands for: of weights one step apart a
version of 1.5 GiB, of moments 90 MiB. Who is behind finds forms and comes nearer; who is ahead has
to wait for them."""
FORM_BYTES: Final = 512
"""What a form takes beside its bytes."""


class FormKey(NamedTuple):
    """What a form is of.

    Attributes:
        block: Digest of the block.
        base: Digest of the block that it may be coded against; empty: there is none.
        coders: What may be used.
    """

    block: bytes
    base: bytes
    coders: frozenset[Coder]


class CodedForm(NamedTuple):
    """How a block is sent.

    Attributes:
        coder: How it is coded; plain: it gets no shorter, and goes from its file.
        width: Bytes of an element.
        coded: What was made of it, in pieces one behind another.
    """

    coder: Coder
    width: int
    coded: tuple[bytes, ...] = ()

    @property
    def coded_bytes(self) -> int:
        """How much that is."""
        return sum(map(len, self.coded))


class CodedForms:
    """Keeps forms, the newest ones. Any thread.

    Args:
        size_bytes: How much they may have, all together.

    Attributes:
        made: How many were made.
        shared: How many times one was used that was made for somebody else, or before.
    """

    def __init__(self, size_bytes: int = FORMS_BYTES_MAX) -> None:
        self.made = 0
        self.shared = 0
        self._size_bytes = size_bytes
        self._left_bytes = size_bytes
        self._forms: dict[FormKey, CodedForm] = {}  # the oldest one first
        self._making: dict[FormKey, threading.Event] = {}
        self._lock = threading.Lock()

    def claim(self, key: FormKey) -> CodedForm | None:
        """Return a form; ``None``: the caller makes it, and releases it however that ends.

        While somebody else makes it this blocks.
        """
        while True:
            with self._lock:
                form = self._forms.get(key)
                if form is not None:
                    self.shared += 1
                    return form
                making = self._making.get(key)
                if making is None:
                    self._making[key] = threading.Event()
                    return None
            making.wait()

    def release(self, key: FormKey, form: CodedForm | None) -> None:
        """End what a claim began.

        Args:
            key: What was claimed.
            form: What was made; ``None``: nothing, and whoever waits may try.
        """
        with self._lock:
            if form is not None:
                self.made += 1
                self._keep(key, form)
            making = self._making.pop(key)
        making.set()

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._forms.clear()
            self._left_bytes = self._size_bytes

    def _keep(self, key: FormKey, form: CodedForm) -> None:
        needed_bytes = _kept_bytes(form)
        if needed_bytes > self._size_bytes:
            return
        while self._left_bytes < needed_bytes:
            oldest = next(iter(self._forms))
            self._left_bytes += _kept_bytes(self._forms.pop(oldest))
        self._forms[key] = form
        self._left_bytes -= needed_bytes


def _kept_bytes(form: CodedForm) -> int:
    return FORM_BYTES + form.coded_bytes

"""Ends a process, as far as a test can tell, at one of its calls to the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import pytest

from ckptd.store.files import confined


class Killed(BaseException):
    """The process is gone."""

    @classmethod
    def happen(cls, *_: object, **__: object) -> None:
        """Be raised, whatever was to be done."""
        raise cls


def kill_at(
    monkeypatch: pytest.MonkeyPatch,
    calls_left: int,
    confined_calls: Iterable[str],
    system_calls: Iterable[str] = ("fsync",),
) -> Callable[[], bool]:
    """Let a process end after so many calls, and do nothing more.

    Args:
        monkeypatch: Replaces the calls.
        calls_left: After how many of them.
        confined_calls: Those of the confined module that count.
        system_calls: Those of ``os`` that do.

    Returns:
        What says whether so many calls were made.
    """
    left = calls_left

    def wrapped(call: Callable[..., object]) -> Callable[..., object]:
        def count(*args: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            done = call(*args, **named)
            if left == 0:
                raise Killed
            return done

        return count

    for name in confined_calls:
        monkeypatch.setattr(confined, name, wrapped(getattr(confined, name)))
    for name in system_calls:
        monkeypatch.setattr(os, name, wrapped(getattr(os, name)))
    return lambda: left <= 0

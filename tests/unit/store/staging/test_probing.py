from __future__ import annotations

import os
import time
from collections.abc import Sequence

import pytest

from ckptd.errors import StorageError
from ckptd.limits import MIB
from ckptd.store.staging.probing import PROBE_BYTES, measure_write_rate
from tests.support.stagings import Site
from tests.support.stores import open_descriptors


class Disk:
    """Notes what is written and synced in which order, and lets the clock go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, write_s: float) -> None:
        self.calls: list[str] = []
        self.files: set[str] = set()
        self.now_s = 100.0
        write, sync = os.write, os.fdatasync

        def noting_write(fd: int, data: bytes) -> int:
            self.calls.append("write")
            self.files.add(os.readlink(f"/proc/self/fd/{fd}"))
            self.now_s += write_s
            return write(fd, data)

        def noting_sync(fd: int) -> None:
            self.calls.append("sync")
            sync(fd)

        monkeypatch.setattr(os, "write", noting_write)
        monkeypatch.setattr(os, "fdatasync", noting_sync)
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)


def test_a_fast_disk_takes_the_whole_probe_synced_piece_by_piece(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, write_s=0.125)
    assert measure_write_rate(site.root) == PROBE_BYTES / 2.0
    assert disk.calls == ["write", "sync"] * (PROBE_BYTES // MIB)
    assert disk.files == {f"{site.path}/.ckptd/probe"}


def test_a_slow_disk_is_not_written_to_for_longer_than_a_moment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, write_s=1.5)
    assert measure_write_rate(site.root) == 2 * MIB / 3.0
    assert disk.calls == ["write", "sync"] * 2


def test_nothing_is_left_of_it(site: Site) -> None:
    before = open_descriptors()
    assert measure_write_rate(site.root) > 0
    assert (site.files(), os.listdir(site.path)) == ({}, [])
    assert open_descriptors() == before


def test_what_a_killed_daemon_left_of_it_is_replaced(site: Site) -> None:
    (site.path / ".ckptd/r-1").mkdir(parents=True)
    (site.path / ".ckptd/probe").write_bytes(b"old")
    assert measure_write_rate(site.root) > 0
    assert os.listdir(site.path / ".ckptd") == ["r-1"]


def test_a_disk_that_refuses_is_named_and_nothing_is_left(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _data: Sequence[int]) -> int:
        raise OSError(5, "Input/output error")

    before = open_descriptors()
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(StorageError, match=r"\.ckptd/probe: could not be read or written"):
        measure_write_rate(site.root)
    assert os.listdir(site.path) == []
    assert open_descriptors() == before

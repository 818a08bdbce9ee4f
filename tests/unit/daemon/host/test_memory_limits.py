"""The tightest limit of the cgroups of a process, of either version, as files say it."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from ckptd.daemon.host import memory_limits
from ckptd.daemon.host.memory_limits import MemoryLimit, memory_limit

LIMITLESS = "9223372036854771712"


def group(directory: Path, *, limit: object, used: int, file: int = 0, shmem: int = 0) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.max").write_text(f"{limit}\n")
    (directory / "memory.current").write_text(f"{used}\n")
    (directory / "memory.stat").write_text(f"anon 1\nfile {file}\nshmem {shmem}\n")


def older_group(directory: Path, *, limit: object, used: int, cache: int = 0) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (directory / "memory.usage_in_bytes").write_text(f"{used}\n")
    (directory / "memory.stat").write_text(f"total_cache {cache}\ntotal_shmem 5\n")


def found(root: Path, own: str) -> MemoryLimit | None:
    (root / "own").write_text(own)
    return memory_limit(str(root), str(root / "own"))


def test_the_limit_that_leaves_the_least_counts(tmp_path: Path) -> None:
    group(tmp_path / "system.slice", limit=1000, used=900, file=300, shmem=100)
    group(tmp_path / "system.slice/ckptd.service", limit=700, used=100)
    assert found(tmp_path, "0::/system.slice/ckptd.service\n") == MemoryLimit(
        1000, 300, "/system.slice"
    )


def test_what_is_in_a_file_system_in_memory_cannot_be_dropped(tmp_path: Path) -> None:
    group(tmp_path / "a", limit=1000, used=900, file=800, shmem=800)
    assert found(tmp_path, "0::/a\n") == MemoryLimit(1000, 100, "/a")


def test_no_limit_is_none(tmp_path: Path) -> None:
    group(tmp_path / "a", limit="max", used=5)
    older_group(tmp_path / "memory/a", limit=LIMITLESS, used=5)
    assert found(tmp_path, "4:memory:/a\n0::/a\n") is None


def test_limits_of_the_older_version_are_found(tmp_path: Path) -> None:
    older_group(tmp_path / "memory/a", limit=1000, used=600, cache=105)
    expected = MemoryLimit(1000, 500, "/a")
    assert found(tmp_path, "9:name=systemd:/\n4:cpu,memory:/a\n0::/\n") == expected


@pytest.mark.parametrize("own", ["", "nonsense", "0::/../../etc\n", "0::/gone\n"])
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, own: str) -> None:
    assert found(tmp_path, own) is None


def test_a_limit_that_is_no_number_is_none(tmp_path: Path) -> None:
    group(tmp_path / "a", limit="lots", used=5)
    assert found(tmp_path, "0::/a\n") is None


def test_more_used_than_permitted_leaves_nothing(tmp_path: Path) -> None:
    group(tmp_path / "a", limit=100, used=500)
    assert found(tmp_path, "0::/a\n") == MemoryLimit(100, 0, "/a")


def test_this_machine_can_be_asked() -> None:
    limit = memory_limit()
    assert limit is None or limit.left_bytes <= limit.limit_bytes


@pytest.mark.parametrize("limit_bytes", [None, 1, 2**62])
def test_memory_is_what_the_machine_has_and_the_cgroups_permit(
    monkeypatch: pytest.MonkeyPatch, limit_bytes: int | None
) -> None:
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
    limit = None if limit_bytes is None else MemoryLimit(limit_bytes, 0, "/")
    monkeypatch.setattr(memory_limits, "memory_limit", lambda: limit)
    assert memory_limits.memory_bytes() == min(machine_bytes, limit_bytes or machine_bytes)

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptd.daemon.host import disk_load
from ckptd.daemon.host.disk_load import (
    DiskCounters,
    OwnCounters,
    counted,
    disk_of,
    gives_way_to,
    own_counted,
    scheduler_of,
)

NVME = "  100  5  2048 30  200 6  4096 40 0 50 60 0 0 0 0 7 8\n"
OLD = "  100  5  2048 30  200 6  4096 40 0 50 60\n"


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("nvme0n1", "nvme0n1p2", "dm-0"):
        (tmp_path / "class" / name / "queue").mkdir(parents=True)
    (tmp_path / "class/nvme0n1p2/partition").write_text("2\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/259:2").symlink_to("../../devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p2")
    (tmp_path / "dev/253:0").symlink_to("../../devices/virtual/block/dm-0")
    monkeypatch.setattr(disk_load, "_DISKS", str(tmp_path / "class"))
    monkeypatch.setattr(disk_load, "_DEVICES", str(tmp_path / "dev"))
    return tmp_path / "class"


def test_a_partition_is_a_part_of_its_disk(disks: Path) -> None:
    assert disk_of(os.makedev(259, 2)) == "nvme0n1"
    assert disk_of(os.makedev(253, 0)) == "dm-0"
    assert disk_of(os.makedev(0, 41)) is None


@pytest.mark.parametrize(("stat", "writes"), [(NVME, 207), (OLD, 200)])
def test_what_a_disk_did_is_read(disks: Path, stat: str, writes: int) -> None:
    (disks / "dm-0/stat").write_text(stat)
    assert counted("dm-0") == DiskCounters(2048 * 512, 4096 * 512, writes)


def test_what_is_not_counted_is_not_known(disks: Path) -> None:
    assert counted("dm-0") is None
    (disks / "dm-0/stat").write_text("1 2 3\n")
    assert counted("dm-0") is None
    (disks / "dm-0/stat").write_text("none\n")
    assert counted("dm-0") is None


def test_what_this_process_did_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "io").write_text("rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\n")
    monkeypatch.setattr(disk_load, "_OWN", str(tmp_path / "io"))
    assert own_counted() == OwnCounters(4096, 8192)
    (tmp_path / "io").write_text("rchar: 9\n")
    assert own_counted() is None


@pytest.mark.parametrize(
    ("scheduler", "refusal", "said"),
    [
        ("none [mq-deadline] kyber\n", "", "in the idle class, to what else dm-0 does"),
        ("[none] mq-deadline\n", "", "its scheduler none knows no idle class"),
        ("none\n", "", "what orders its requests knows no idle class"),
        ("[bfq]\n", "is refused: no", "the idle class is refused: no"),
    ],
)
def test_it_is_said_how_reading_gives_way(
    disks: Path, scheduler: str, refusal: str, said: str
) -> None:
    (disks / "dm-0/queue/scheduler").write_text(scheduler)
    assert said in gives_way_to("dm-0", refusal)


def test_of_a_disk_that_is_not_known_that_is_said(disks: Path) -> None:
    assert gives_way_to(None, "").startswith("to nobody")
    assert scheduler_of("dm-0") == ""

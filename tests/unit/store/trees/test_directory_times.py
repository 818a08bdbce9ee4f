from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import Conflict
from ckptd.model.attributes import decode_attributes, encode_attributes
from ckptd.model.ids import Digest
from ckptd.store.files.roots import Root
from ckptd.store.trees.directory_times import kept_times
from ckptd.store.trees.finishing import Finishing
from tests.support.manifests import make_manifest

DIGEST = Digest("00" * 32)
MANIFEST = make_manifest({"old/new/unit": b""})
PATH = "v1/old/new/unit"
FINISHING = Finishing(
    MANIFEST,
    decode_attributes(
        encode_attributes(DIGEST, (0o600, 0o711, 0o722, 0o750), (1, 2, 3, 4)), DIGEST, MANIFEST
    ),
)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "v1/old").mkdir(parents=True)
    (tmp_path / "v1/old").chmod(0o700)
    for path in ("v1/old", "v1", ""):
        os.utime(tmp_path / path, ns=(7, 7))
    opened = Root.open("data", str(tmp_path))
    yield opened
    opened.close()


def looks_of(path: Path) -> tuple[int, int]:
    return stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime_ns


def test_directories_look_as_before_and_new_ones_as_the_document_says(
    root: Root, tmp_path: Path
) -> None:
    with kept_times(root, "v1", [PATH, "v1/a"], FINISHING):
        assert stat.S_IMODE((tmp_path / "v1/old/new").stat().st_mode) == 0o750
        (tmp_path / PATH).touch()
        (tmp_path / "v1/a").touch()
    assert looks_of(tmp_path / "v1/old/new") == (0o750, 4)
    assert looks_of(tmp_path / "v1/old") == (0o700, 7)
    assert (tmp_path / "v1").stat().st_mtime_ns == 7
    assert tmp_path.stat().st_mtime_ns == 7


def test_they_do_also_when_it_fails_midway(root: Root, tmp_path: Path) -> None:
    def fail() -> None:
        (tmp_path / "v1/a").touch()
        raise Conflict("file", "changed")

    with pytest.raises(Conflict), kept_times(root, "v1", ["v1/a"], FINISHING):
        fail()
    assert (tmp_path / "v1").stat().st_mtime_ns == 7


def test_the_directory_of_a_link_keeps_its_time_too(root: Root, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.utime(tmp_path / "elsewhere", ns=(8, 8))
    with kept_times(root, "v1", ["elsewhere/blob"], FINISHING):
        (tmp_path / "elsewhere/blob").touch()
    assert (tmp_path / "elsewhere").stat().st_mtime_ns == 8

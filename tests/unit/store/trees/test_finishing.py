from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from ckptd.model.attributes import Attributes, decode_attributes, encode_attributes
from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest
from ckptd.store.trees.finishing import Finish, Finishing
from tests.support.manifests import make_manifest

DIGEST = Digest("00" * 32)


def manifest(*, is_executable: bool = False) -> Manifest:
    made = make_manifest({"sub/unit": b""})
    units = (msgspec.structs.replace(unit, is_executable=is_executable) for unit in made.units)
    return msgspec.structs.replace(made, units=tuple(units))


def attributes(of_unit: int = 0o600, own: int = 0o700, sub: int = 0o700) -> Attributes:
    document = encode_attributes(DIGEST, (of_unit, own, sub), (1, 2, 3))
    return decode_attributes(document, DIGEST, manifest())


@pytest.mark.parametrize(("is_executable", "mode"), [(False, 0o600), (True, 0o700)])
def test_without_attributes_all_is_private_whatever_is_permitted(
    mode: int, *, is_executable: bool
) -> None:
    finishing = Finishing(manifest(is_executable=is_executable), mode_max=0o777)
    assert finishing.of_unit(0) == (mode, None)
    assert finishing.of_directory("") == finishing.of_directory("sub") == (0o700, None)


@pytest.mark.parametrize(
    ("said", "permitted", "is_executable", "mode"),
    [
        (0o644, 0o775, False, 0o644),
        (0o666, 0o775, False, 0o664),
        (0o666, 0o777, False, 0o666),
        (0o755, 0o775, False, 0o644),  # the manifest says what may be executed
        (0o755, 0o775, True, 0o755),
        (0o644, 0o775, True, 0o744),
        (0o777, 0o640, True, 0o750),
        (0o777, 0o640, False, 0o640),
        (0o600, 0o775, False, 0o600),
        (0o444, 0o775, False, 0o444),
        (0o000, 0o775, False, 0o400),  # the daemon reads it
        (0o044, 0o600, False, 0o400),
    ],
)
def test_a_file_gets_what_the_document_says_and_this_node_permits(
    said: int, permitted: int, mode: int, *, is_executable: bool
) -> None:
    made = manifest(is_executable=is_executable)
    finishing = Finishing(made, attributes(said), permitted)
    assert finishing.of_unit(0) == (mode, 1)


@pytest.mark.parametrize(
    ("said", "permitted", "mode"),
    [
        (0o755, 0o775, 0o755),
        (0o777, 0o775, 0o775),
        (0o2770, 0o775, 0o2770),
        (0o1777, 0o777, 0o1777),
        (0o777, 0o640, 0o750),
        (0o555, 0o775, 0o755),  # its owner repairs what is in it
        (0o3777, 0o600, 0o3700),
    ],
)
def test_a_directory_gets_what_the_document_says_and_this_node_permits(
    said: int, permitted: int, mode: int
) -> None:
    finishing = Finishing(manifest(), attributes(own=said, sub=0o700), permitted)
    assert finishing.of_directory("") == (mode, 2)
    assert finishing.of_directory("sub") == (0o700, 3)
    assert finishing.of_directory("elsewhere") == (0o700, None)


def test_what_takes_the_place_of_a_file_gets_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o2640)
    finishing = Finishing(manifest())
    finishing.keep(0, tmp_path.stat(), 5)
    assert finishing.of_unit(0) == (0o600, None)
    finishing.keep(0, path.stat(), 5)
    assert finishing.of_unit(0) == (0o640, 5)
    finishing = Finishing(manifest(), attributes(0o666))
    finishing.keep(0, path.stat(), None)
    assert finishing.of_unit(0) == (0o640, 1)


def test_where_no_process_may_set_setgid_a_directory_gets_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chmod = os.fchmod

    def refuse_setgid(fd: int, mode: int) -> None:
        if mode & stat.S_ISGID:
            raise PermissionError
        chmod(fd, mode)

    monkeypatch.setattr(os, "fchmod", refuse_setgid)
    fd = os.open(tmp_path, os.O_RDONLY)
    Finish(0o3750, 5).give_to(fd)
    os.close(fd)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1750
    assert tmp_path.stat().st_mtime_ns == 5
    monkeypatch.setattr(os, "fchmod", lambda *_: _refuse())
    with pytest.raises(PermissionError):
        Finish(0o750).give_to(-1)


def _refuse() -> None:
    raise PermissionError


def test_all_of_it_is_given_to_what_is_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    finish = Finish(0o444, -5)
    assert not finish.is_given_to(path.stat())
    with path.open() as file:
        finish.give_to(file.fileno(), is_written_again=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert not finish.is_given_to(path.stat())
        finish.give_to(file.fileno())
    assert finish.is_given_to(path.stat())
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime_ns) == (0o444, -5)
    os.utime(path, ns=(0, 0))
    assert not finish.is_given_to(path.stat())
    assert Finish(0o444).is_given_to(path.stat())

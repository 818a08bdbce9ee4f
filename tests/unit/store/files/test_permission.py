from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ckptd.store.files.permission import user_name, writing_obstacle, writing_remedy

SOMEBODY = 65534


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@contextmanager
def somebody() -> Iterator[str]:
    """Be somebody for whom modes count, for a while."""
    own = os.geteuid()
    user_name.cache_clear()
    if own == 0:
        os.seteuid(SOMEBODY)
    try:
        yield pwd.getpwuid(os.geteuid()).pw_name
    finally:
        os.seteuid(own)
        user_name.cache_clear()


def test_a_directory_that_may_be_written_has_no_obstacle(directory: int) -> None:
    assert writing_obstacle(directory) == ""


def test_one_that_may_not_names_user_and_command(tmp_path: Path, directory: int) -> None:
    tmp_path.chmod(0o555)
    with somebody() as user:
        obstacle = writing_obstacle(directory)
        remedy = writing_remedy(obstacle, "/data/a b")
    owner = tmp_path.stat().st_uid
    assert obstacle == f"user {user} may not write to it (owner {owner}, mode 0555)"
    assert remedy == (
        f"Run 'chown {user} '/data/a b'' or, where a job owns it, "
        f"'setfacl -m u:{user}:rwx '/data/a b''."
    )


def test_of_another_obstacle_no_command_is_known() -> None:
    assert writing_remedy("its file system is read-only here", "/data") == ""


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError

    user_name.cache_clear()
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert user_name() == str(os.geteuid())
    user_name.cache_clear()

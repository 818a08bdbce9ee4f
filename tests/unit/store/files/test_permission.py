from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.store.files.permission import (
    entering_remedy,
    reading_remedy,
    user_name,
    writing_obstacle,
    writing_remedy,
)
from tests.support.somebody import somebody


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


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


def test_what_lets_the_daemon_read_is_said_with_its_user_and_the_directory() -> None:
    with somebody() as user:
        assert (
            entering_remedy("/data/a b") == f"Run 'setfacl -m u:{user}:x '/data/a b'' as its owner."
        )
        remedy = reading_remedy("/data/llama/1200", "/data/llama")
    assert f"'setfacl -R -m u:{user}:rX /data/llama/1200'" in remedy
    assert f"once 'setfacl -m d:u:{user}:rX /data/llama'" in remedy

"""What a start would refuse is found beforehand, all of it, and nothing is made or changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ckptd.config import Config
from ckptd.config.sections import (
    ControlSection,
    ListenSection,
    NodeSection,
    SignaturesSection,
    TlsSection,
)
from ckptd.daemon.settings.start_checks import start_errors
from ckptd.model.ids import NodeId
from ckptd.store.files import confined


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("root", "state", "control"):
        (tmp_path / name).mkdir(mode=0o755)
    return Config(
        node=NodeSection(id=NodeId("a"), state_dir=str(tmp_path / "state")),
        roots={"main": str(tmp_path / "root")},
        listen=ListenSection(control=str(tmp_path / "control/sock")),
    )


def changed(config: Config, **sections: object) -> Config:
    values = {name: getattr(config, name) for name in config.__struct_fields__}
    return Config(**(values | sections))


def subjects(config: Config) -> list[str]:
    return [error.subject for error in start_errors(config)]


def test_a_node_that_can_start_has_no_errors(config: Config, tmp_path: Path) -> None:
    assert start_errors(config) == ()
    (tmp_path / "state").rmdir()
    (tmp_path / "control").rmdir()
    assert start_errors(config) == (), "the daemon makes them"
    assert [each.name for each in tmp_path.iterdir()] == ["root"]


def test_all_certificates_keys_and_accounts_are_named(config: Config) -> None:
    broken = changed(
        config,
        tls=TlsSection(ca="/none/ca", certificate="/none/crt", key="/none/key", revoked="/none/r"),
        signatures=SignaturesSection(key="/none/signing", trusted="/none/trusted"),
        control=ControlSection(admin_users=("no-such-1", "no-such-2"), viewer_groups=("no-such",)),
    )
    assert subjects(broken) == [
        "tls.ca /none/ca",
        "tls.certificate /none/crt",
        "tls.key /none/key",
        "tls.revoked /none/r",
        "signing key /none/signing",
        "trusted keys /none/trusted",
        "control.admin_users",
        "control.admin_users",
        "control.viewer_groups",
    ]


def test_owners_and_modes_of_directories_count(config: Config, tmp_path: Path) -> None:
    (tmp_path / "state").chmod(0o777)
    (tmp_path / "control").chmod(0o777)
    assert subjects(config) == [
        f"state directory {tmp_path}/state",
        f"listen.control {tmp_path}/control/sock: its directory",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_root_learns_that_it_checks_as_the_wrong_user(config: Config, tmp_path: Path) -> None:
    shutil.chown(tmp_path / "control", 65534)
    (error,) = start_errors(config)
    assert "belongs to uid 65534" in str(error)
    assert "chown" not in error.hint
    assert "('ckptd check-config --user " in error.hint


def test_each_root_that_cannot_be_used_is_named(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "state")
    roots = {"gone": str(tmp_path / "gone"), "file": str(tmp_path / "file")}
    roots["link"] = str(tmp_path / "link")
    assert subjects(changed(config, roots=roots)) == [
        "roots.link",
        f"root 'gone' at {tmp_path}/gone",
        f"root 'file' at {tmp_path}/file",
    ]


def test_a_directory_that_may_not_be_written_comes_with_the_command(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confined, "may_write", lambda _: False)
    (tmp_path / "state").rmdir()
    state, control, root = start_errors(config)
    assert f"does not exist, and of {tmp_path}: user " in state.problem
    assert state.hint.startswith("Run 'install -d -m 0750 -o ")
    assert control.subject == f"directory {tmp_path}/control"
    assert root.subject == f"roots.main {tmp_path}/root"
    for error in (control, root):
        assert "may not write to it" in error.problem
        assert "chown" in error.hint


def test_what_the_unit_makes_may_be_missing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ckptd.daemon.settings.start_checks._MADE_BY_UNIT", (str(tmp_path / "state"),)
    )
    (tmp_path / "state").rmdir()
    monkeypatch.setattr(confined, "may_write", lambda _: False)
    assert f"directory {tmp_path}/state" not in subjects(config)

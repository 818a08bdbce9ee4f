from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.config import Config
from ckptd.config.sections import NodeSection
from ckptd.daemon.host.confinement import check_places, check_reach, open_root
from ckptd.errors import ConfigurationError, ExitCode, StorageError
from ckptd.model.ids import NodeId
from ckptd.store.files.roots import Root, Roots


def check(state_dir: Path, **roots: Path) -> None:
    check_places(
        Config(
            node=NodeSection(id=NodeId("a"), state_dir=str(state_dir)),
            roots={name: str(path) for name, path in roots.items()},
        )
    )


def test_directories_side_by_side_are_fine_also_by_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "b")
    check(tmp_path / "state", a=tmp_path / "a", b=tmp_path / "link", missing=tmp_path / "c")


@pytest.mark.parametrize("target", ["state", "state/inner", "."])
def test_a_link_does_not_hide_that_a_root_overlaps_the_state_directory(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(ConfigurationError, match=r"which overlaps node\.state_dir") as refused:
        check(tmp_path / "state", main=tmp_path / "link")
    assert refused.value.subject == "roots.main"
    assert refused.value.exit_code is ExitCode.CONFIGURATION


def test_a_link_does_not_hide_that_roots_overlap(tmp_path: Path) -> None:
    (tmp_path / "up").symlink_to(tmp_path / "data")
    with pytest.raises(ConfigurationError, match=r"roots\.fast: .* overlaps roots\.main"):
        check(tmp_path / "state", main=tmp_path / "data", fast=tmp_path / "up" / "fast")


MANAGER = {"NOTIFY_SOCKET": "/run/notify"}


@pytest.mark.parametrize("environ", [{}, MANAGER])
def test_a_root_that_came_too_late_ends_the_start_where_somebody_starts_it_again(
    root: Root, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    check_reach(Roots([root]), MANAGER)
    monkeypatch.setattr(Root, "has_come_too_late", lambda _: True)
    if not environ:
        check_reach(Roots([root]), environ)
        return
    with pytest.raises(StorageError, match="appeared while ckptd was starting") as refused:
        check_reach(Roots([root]), environ)
    assert refused.value.exit_code is not ExitCode.CONFIGURATION  # a new start is worth it


@pytest.mark.parametrize(
    ("path", "environ", "said"),
    [
        ("/home/nobody-there/checkpoints", MANAGER, "ProtectHome=no"),
        ("/home/nobody-there/checkpoints", {}, "Create it or mount its disk"),
        ("/homes/nobody-there", MANAGER, "Create it or mount its disk"),
    ],
)
def test_a_root_that_a_service_does_not_see_is_not_said_to_be_missing(
    path: str, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(StorageError) as refused:
        open_root("main", path, environ)
    assert said in refused.value.hint

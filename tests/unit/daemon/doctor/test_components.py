"""Whether a daemon is to be relied on, as far as its roots are concerned."""

import os

import pytest

from ckptd.daemon.doctor.components import forbidden_root
from ckptd.daemon.host.root_watch import RootState, look_at
from ckptd.store.files import confined
from ckptd.store.files.roots import Root


def seen(obstacle: str) -> RootState:
    return RootState("ckpt", "/data", obstacle, None, None)


def test_a_root_whose_file_system_is_read_only_may_serve() -> None:
    assert forbidden_root([seen(""), seen("its file system is read-only here")]) == ""


def test_a_root_that_this_user_may_not_write_to_is_named(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert forbidden_root([look_at(root)]) == ""
    monkeypatch.setattr(confined, "may_write", lambda _: False)  # root may write everywhere
    why = forbidden_root([seen(""), look_at(root)])
    assert why.startswith(f"root {root.name}: user ")
    assert f"owner {os.getuid()}" in why

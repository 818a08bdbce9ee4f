from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ckptd.daemon.host.root_watch import ROOT_HANGS_NS, ROOTS_LOOK_S, RootState, RootWatch, look_at
from ckptd.limits import SECOND
from ckptd.store.files import confined
from ckptd.store.files.permission import user_name
from ckptd.store.files.roots import Root, Roots


class HangingRoot(Root):
    """A root whose disk answers when it is let go."""

    def obstacle(self) -> str:
        self.entered.set()
        assert self.let_go.wait(60)
        return super().obstacle()

    @classmethod
    def over(cls, path: Path) -> HangingRoot:
        root = cls.open("hanging", str(path))
        assert isinstance(root, cls)
        root.entered, root.let_go = threading.Event(), threading.Event()
        return root

    entered: threading.Event
    let_go: threading.Event


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[HangingRoot]:
    root = HangingRoot.over(tmp_path)
    yield root
    root.let_go.set()
    root.close()


def replace(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.mkdir()


def test_a_root_in_place_has_no_obstacle_and_says_its_sizes(root: Root) -> None:
    seen = look_at(root)
    assert (seen.name, seen.path, seen.obstacle) == ("data", root.path, "")
    assert seen.size_bytes is not None
    assert seen.free_bytes is not None
    assert 0 < seen.free_bytes <= seen.size_bytes


def test_a_root_whose_path_leads_elsewhere_says_so(root: Root) -> None:
    replace(Path(root.path))
    assert "is not the directory any more" in look_at(root).obstacle


def test_while_a_disk_does_not_answer_that_is_what_is_known_of_it(hanging: HangingRoot) -> None:
    now = 0
    watch = RootWatch(Roots([hanging]), clock=lambda: now)
    assert watch.states() == (RootState("hanging", hanging.path, "", None, None),)
    watch.open()
    assert hanging.entered.wait(60)
    now = ROOT_HANGS_NS
    assert watch.states()[0].obstacle == ""
    now = ROOT_HANGS_NS + 3 * SECOND
    (state,) = watch.states()
    assert state.obstacle == "its file system has not answered for 7 s"
    assert (state.size_bytes, state.free_bytes) == (None, None)
    watch.close()  # returns though the thread is in the disk


def test_one_that_hangs_hides_nothing_of_the_others(root: Root, hanging: HangingRoot) -> None:
    replace(Path(root.path))
    watch = RootWatch(Roots([hanging, root]))
    watch.open()
    looked = threading.Event()
    while not watch.states()[1].obstacle:
        looked.wait(0.01)
    watch.close()


def test_a_change_is_told_once_and_so_is_its_end(root: Root) -> None:
    watch = RootWatch(Roots([root]))
    with capture_logs() as lines:
        for obstacle in ("", "gone", "gone", "still gone", "", ""):
            watch.report((RootState("data", "/data", obstacle, None, None),))
    assert [(line["event"], line.get("why")) for line in lines] == [
        ("root.unusable", "gone"),
        ("root.usable", None),
    ]


def test_a_disk_that_hangs_or_is_read_only_is_told_within_five_seconds() -> None:
    assert ROOTS_LOOK_S * 1.5 < 5
    assert ROOT_HANGS_NS / SECOND + ROOTS_LOOK_S / 2 <= 5


def test_a_root_that_this_user_may_not_write_is_named_with_the_command(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confined, "may_write", lambda _: False)
    watch = RootWatch(Roots([root]))
    with capture_logs() as lines:
        watch.report([look_at(root)])
    assert [line["event"] for line in lines] == ["root.unusable"]
    assert f"user {user_name()} may not write to it" in lines[0]["why"]
    assert f"chown {user_name()} {root.path}" in lines[0]["hint"]

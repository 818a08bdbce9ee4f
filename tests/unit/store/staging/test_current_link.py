"""The link to the active version: swapped at one moment, and nothing else is ever replaced."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptd.errors import Conflict
from ckptd.store.files import confined
from ckptd.store.files.roots import Root
from ckptd.store.staging import current_link
from ckptd.store.staging.current_link import CurrentLink, text_of
from ckptd.store.trees.ownership import Owner

PASSING = ".ckptd-current"


@pytest.fixture
def link(root: Root) -> CurrentLink:
    return CurrentLink(root, "llama/current")


@pytest.fixture
def place(inside: Path) -> Path:
    """The directory with the link and two versions."""
    for version in (1200, 1300):
        (inside / "llama" / str(version)).mkdir(parents=True)
    return inside / "llama"


class _NoFlags:
    """A C library on a file system that knows no rename flags, as NFS."""

    syscall = confined._libc.syscall

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1


@pytest.fixture(params=["local", "nfs"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "nfs":
        monkeypatch.setattr(confined, "_libc", _NoFlags())


def put(link: CurrentLink, text: str, before: str | None) -> None:
    link.prepare(text, {before} if before else set(), None)
    link.swap(before)
    link.sync()


@pytest.mark.parametrize(
    ("path", "directory", "text"),
    [
        ("llama/current", "llama/1200", "1200"),
        ("current", "llama/1200", "llama/1200"),
        ("a/b/current", "runs/7/step", "../../runs/7/step"),
        ("llama/rank-3/current", "llama/1200", "../1200"),
    ],
)
def test_a_link_is_relative_and_so_leads_there_at_another_mount_point(
    inside: Path, path: str, directory: str, text: str
) -> None:
    assert text_of(path, directory) == text
    (inside / directory).mkdir(parents=True)
    (inside / path).parent.mkdir(parents=True, exist_ok=True)
    (inside / path).symlink_to(text)
    assert os.path.samefile(inside / path, inside / directory)


@pytest.mark.usefixtures("file_system")
def test_a_link_is_made_swapped_and_taken_away(place: Path, link: CurrentLink) -> None:
    put(link, "1200", None)
    assert (link.look(), (place / "current").readlink()) == ("1200", Path("1200"))
    put(link, "1300", "1200")
    assert (place / "current").readlink() == Path("1300")
    link.take_away("1300")
    link.sync()
    assert link.look() is None
    assert sorted(os.listdir(place)) == ["1200", "1300"], "nothing else is left"


def test_directories_that_are_missing_are_made(inside: Path, root: Root) -> None:
    put(CurrentLink(root, "x/y/current"), "../../v1", None)
    assert (inside / "x/y/current").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_directories_that_are_made_are_the_owners_that_the_root_has(
    inside: Path, root: Root
) -> None:
    CurrentLink(root, "x/y/current").prepare("../../v1", (), Owner(64002, os.getegid()))
    assert [(inside / path).stat().st_uid for path in ("x", "x/y")] == [64002, 64002]
    assert (inside / "x/y" / PASSING).lstat().st_uid == os.geteuid(), "as links of versions"


def make_file(path: Path) -> None:
    path.write_bytes(b"precious")


def make_directory(path: Path) -> None:
    path.mkdir()
    (path / "file").write_bytes(b"precious")


def make_link_elsewhere(path: Path) -> None:
    path.symlink_to("1100")


FOREIGN = [make_file, make_directory, make_link_elsewhere]


@pytest.mark.parametrize("make", FOREIGN)
def test_what_ckptd_did_not_make_is_seen_before_anything_is_done(
    place: Path, link: CurrentLink, make: Callable[[Path], None]
) -> None:
    make(place / "current")
    with pytest.raises(Conflict, match=r"is not replaced\. Remove it, or name another link"):
        link.check({"1200"})


@pytest.mark.parametrize("make", FOREIGN)
@pytest.mark.usefixtures("file_system")
def test_what_appears_after_the_look_is_not_replaced(
    place: Path, link: CurrentLink, make: Callable[[Path], None]
) -> None:
    link.prepare("1200", (), None)
    make(place / "current")
    before = (place / "current").lstat()
    with pytest.raises(Conflict):
        link.swap(None)
    assert os.path.samestat((place / "current").lstat(), before)
    assert sorted(os.listdir(place)) == ["1200", "1300", "current"]


@pytest.mark.parametrize("make", FOREIGN)
@pytest.mark.usefixtures("file_system")
def test_what_takes_the_place_of_the_link_after_the_look_stays(
    place: Path, link: CurrentLink, make: Callable[[Path], None]
) -> None:
    put(link, "1200", None)
    link.prepare("1300", {"1200"}, None)
    (place / "current").unlink()
    make(place / "current")
    before = (place / "current").lstat()
    for act in (link.swap, link.take_away):
        with pytest.raises(Conflict):
            act("1200")
        now = (place / "current").lstat()
        assert os.path.samestat(now, before)
        assert stat.S_IFMT(now.st_mode) == stat.S_IFMT(before.st_mode)
        assert sorted(os.listdir(place)) == ["1200", "1300", "current"]


def test_a_link_that_was_removed_after_the_look_is_said_to_be(
    place: Path, link: CurrentLink
) -> None:
    put(link, "1200", None)
    link.prepare("1300", {"1200"}, None)
    (place / "current").unlink()
    with pytest.raises(Conflict, match="was removed meanwhile"):
        link.swap("1200")
    assert sorted(os.listdir(place)) == ["1200", "1300"]


def test_what_an_interrupted_swap_left_is_removed(place: Path, link: CurrentLink) -> None:
    put(link, "1200", None)
    link.prepare("1300", {"1200"}, None)  # and a crash
    put(link, "1300", "1200")
    assert sorted(os.listdir(place)) == ["1200", "1300", "current"]
    (place / PASSING).symlink_to("1200")  # a crash between the rename and the removal
    link.clean({"1200", "1300"})
    assert sorted(os.listdir(place)) == ["1200", "1300", "current"]


@pytest.mark.parametrize("make", FOREIGN)
def test_what_has_the_passing_name_and_is_not_ckptds_stays(
    place: Path, link: CurrentLink, make: Callable[[Path], None]
) -> None:
    make(place / PASSING)
    with pytest.raises(Conflict, match=PASSING):
        link.prepare("1200", {"1300"}, None)
    assert (place / PASSING).exists() or (place / PASSING).is_symlink()


def test_at_no_moment_there_is_no_link(place: Path, link: CurrentLink, root: Root) -> None:
    put(link, "1200", None)
    seen: list[str | None] = []
    original = confined.exchange

    def exchange(parent: int, one: str, other: str) -> bool:
        seen.append(confined.read_link(parent, other))
        done = original(parent, one, other)
        seen.append(confined.read_link(parent, other))
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confined, "exchange", exchange)
        put(link, "1300", "1200")
    assert seen == ["1200", "1300"]


def test_an_interrupted_swap_keeps_no_link_from_being_taken_away(
    place: Path, link: CurrentLink
) -> None:
    put(link, "1200", None)
    (place / PASSING).symlink_to("1200")
    link.take_away("1200")
    assert sorted(os.listdir(place)) == ["1200", "1300"]


def test_the_directory_is_synced_before_the_swap_and_after_it(
    place: Path, link: CurrentLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str | None] = []
    monkeypatch.setattr(current_link, "sync_file", lambda fd: steps.append(look(fd)))

    def look(fd: int) -> str | None:
        assert os.path.samestat(os.fstat(fd), place.stat())
        return link.look()

    put(link, "1200", None)
    assert steps == [None, "1200"]


SNIPPET = re.compile(r"^```python\n(import os\n\nversion = .*?)^```$", re.MULTILINE | re.DOTALL)


def test_what_the_documents_show_reads_one_version_while_the_link_is_swapped(
    place: Path, link: CurrentLink
) -> None:
    for version in ("1200", "1300"):
        for name in ("config.json", "model.safetensors"):
            (place / version / name).write_text(version)
    put(link, "1200", None)
    document = Path(__file__).parents[4] / "docs/operating.md"
    (snippet,) = SNIPPET.findall(document.read_text())
    assert "/data/checkpoints/llama/current" in snippet

    def load_file(path: str) -> str:
        put(link, "1300", "1200")
        return Path(path).read_text()

    known: dict[str, object] = {"load_file": load_file}
    exec(snippet.replace("/data/checkpoints/llama", str(place)), known)
    assert (known["config"], known["weights"], link.look()) == ("1200", "1200", "1300")

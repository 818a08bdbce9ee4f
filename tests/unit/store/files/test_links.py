from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import NotFound, OutsideRoots, StorageError
from ckptd.store.files import links
from ckptd.store.files.links import doubt_about_hard_links, resolve_link
from ckptd.store.files.roots import Root
from tests.support.stores import write_files


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    write_files(tmp_path, {"real/blobs/1": b"1", "real/v/keep": b"", "outside/secret": b"s"})
    (tmp_path / "root").symlink_to("real")
    opened = Root.open("data", str(tmp_path / "root"))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "target",
    [
        "../blobs/1",
        "{base}/root/blobs/1",
        "{base}/real/blobs/1",
        ".././v/../blobs//1",
        "../shortcut/1",
        "../first",
    ],
)
def test_a_link_that_stays_inside_is_followed(tmp_path: Path, root: Root, target: str) -> None:
    (tmp_path / "real/shortcut").symlink_to("blobs")
    (tmp_path / "real/first").symlink_to("shortcut/1")
    (tmp_path / "real/v/link").symlink_to(target.format(base=tmp_path))
    assert resolve_link(root, "v/link") == "blobs/1"


@pytest.mark.parametrize(
    "target",
    [
        "../../outside/secret",
        "{base}/outside/secret",
        "/etc/passwd",
        "{base}/root/../outside/secret",
        "../escape/secret",
        "../../real/blobs/1",
    ],
)
def test_a_link_that_leads_out_is_refused(tmp_path: Path, root: Root, target: str) -> None:
    (tmp_path / "real/escape").symlink_to("../outside")
    (tmp_path / "real/v/link").symlink_to(target.format(base=tmp_path))
    with pytest.raises(OutsideRoots, match=r"v/link: leads out of the root"):
        resolve_link(root, "v/link")


def test_a_link_to_nothing_is_not_found(tmp_path: Path, root: Root) -> None:
    (tmp_path / "real/v/link").symlink_to("gone")
    with pytest.raises(NotFound, match=r"v/link: leads to nothing"):
        resolve_link(root, "v/link")


@pytest.mark.parametrize("target", ["../blobs", ".."])
def test_a_link_to_a_directory_is_refused(tmp_path: Path, root: Root, target: str) -> None:
    (tmp_path / "real/v/link").symlink_to(target)
    with pytest.raises(StorageError, match="does not lead to a file"):
        resolve_link(root, "v/link")


def test_links_that_go_round_in_circles_are_refused(tmp_path: Path, root: Root) -> None:
    (tmp_path / "real/v/link").symlink_to("other")
    (tmp_path / "real/v/other").symlink_to("link")
    with pytest.raises(StorageError, match="more than 40 links"):
        resolve_link(root, "v/link")


def test_a_link_through_a_file_is_refused(tmp_path: Path, root: Root) -> None:
    (tmp_path / "real/v/link").symlink_to("../blobs/1/x")
    with pytest.raises(StorageError):
        resolve_link(root, "v/link")


@pytest.mark.parametrize("links", [39, 40, 41])
def test_forty_links_are_followed_and_no_more(tmp_path: Path, root: Root, links: int) -> None:
    place = tmp_path / "real/v"
    (place / "0").write_bytes(b"content")
    for number in range(1, links + 1):
        (place / str(number)).symlink_to(str(number - 1))
    if links <= 40:
        assert resolve_link(root, f"v/{links}") == "v/0"
    else:
        with pytest.raises(StorageError, match="more than 40 links"):
            resolve_link(root, f"v/{links}")


EXT4 = 0xEF53
NFS = 0x6969
OVERLAY = 0x794C7630
BUSY = "rc 0 0 9\nth 8 0 0.000 0.000\n"
IDLE = "rc 0 0 0\nth 0 0 0.000 0.000\n"


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (("1\n", EXT4, None), ""),
        (("1\n", EXT4, IDLE), ""),
        (("1\n", EXT4, BUSY), "NFS clients of this machine"),
        (("1\n", NFS, None), "may be made elsewhere"),
        (("1\n", OVERLAY, None), "may be made elsewhere"),
        (("0\n", EXT4, None), "fs.protected_hardlinks is not 1"),
        (("", EXT4, None), "fs.protected_hardlinks is not 1"),
        ((None, EXT4, None), "cannot be read"),
    ],
)
def test_hard_links_are_trusted_where_the_kernel_protects_them_on_this_machine_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernel: tuple[str | None, int, str | None],
    why: str,
) -> None:
    protection, kind, server = kernel
    for name, content in (("_PROTECTION", protection), ("_NFS_SERVER", server)):
        monkeypatch.setattr(links, name, str(tmp_path / name))
        if content is not None:
            (tmp_path / name).write_text(content)
    monkeypatch.setattr(links, "file_system_type", lambda _: kind)
    doubt = doubt_about_hard_links(0)
    assert why in doubt
    assert bool(doubt) == bool(why)

"""Links and empty directories of a version: made, compared, put right, and never followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.errors import Conflict, Shortage, StorageError
from ckptd.limits import KIB, MIB
from ckptd.model.attributes import decode_attributes, directories_in, encode_attributes
from ckptd.model.bare_names import SymbolicLink, required_words
from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest, check_manifest
from ckptd.store.files import confined
from ckptd.store.files.kernel import sync_file
from ckptd.store.files.roots import Root
from ckptd.store.staging.area import Staging
from ckptd.store.trees import bare_names
from ckptd.store.trees.bare_names import make_bare_names
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.standing_files import OnDisk
from tests.support.manifests import make_manifest
from tests.support.stagings import NOTHING, TARGET, Site, content_of
from tests.support.standing import known

CONTENTS = {"blobs/x": content_of(2 * MIB), "blobs/y": content_of(300 * KIB, 1), "refs/main": b"5"}
LINKS = {
    "latest": "snapshots/5",
    "snapshots/5/model": "../../blobs/x",
    "snapshots/5/rest": "../../blobs/y",
}
DIRECTORIES = ("logs/old", "tmp")


def manifest_of(
    links: dict[str, str] = LINKS, directories: tuple[str, ...] = DIRECTORIES
) -> Manifest:
    made = tuple(SymbolicLink(path, target) for path, target in links.items())
    manifest = msgspec.structs.replace(
        make_manifest(CONTENTS, critical=["refs/main"]),
        links=made,
        directories=directories,
        requires=required_words(made, directories),
    )
    check_manifest(manifest)
    return manifest


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "root").mkdir()
    made = Site(tmp_path / "root", CONTENTS, manifest=manifest_of())
    yield made
    made.close()


def recover(site: Site, name: str = "r-1", here: OnDisk | None = None) -> Staging:
    staging = site.staging(name)
    present = staging.prepare(NOTHING, here) if here else staging.prepare(NOTHING)
    site.deliver(staging, site.everything - present)
    staging.place(NOTHING)
    staging.close()
    return staging


def links_of(site: Site) -> dict[str, str]:
    return {path: os.readlink(site.placed(path)) for path in LINKS}


def test_links_and_empty_directories_come_with_the_version(site: Site) -> None:
    recover(site)
    assert links_of(site) == LINKS
    assert site.placed("latest/model").read_bytes() == CONTENTS["blobs/x"]
    for path in DIRECTORIES:
        assert os.listdir(site.placed(path)) == []
    assert not site.staged().exists()


def test_they_are_made_when_all_units_are_written(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    assert not os.path.lexists(site.staged("latest"))
    assert not site.staged("tmp").exists()


def test_a_link_that_somebody_puts_into_staging_is_not_written_through(
    site: Site, tmp_path: Path
) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    site.staged("snapshots").symlink_to(elsewhere)
    site.deliver(staging, site.everything)
    with pytest.raises(StorageError):
        staging.place(NOTHING)
    assert os.listdir(elsewhere) == []
    assert not site.placed().exists()


def test_placing_may_be_tried_again_and_goes_on_after_a_restart(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    tree = Root.open("again", str(site.staged()))
    make_bare_names(tree, site.space.manifest)
    make_bare_names(tree, site.space.manifest)
    tree.close()
    staging.close()
    again = site.staging()
    assert again.prepare(site.everything) == site.everything
    assert not os.path.lexists(site.staged("latest")), "strangers go; it is made at the end"
    again.place(NOTHING)
    assert links_of(site) == LINKS


def test_something_else_in_the_place_of_a_link_in_staging_is_refused(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    site.staged("latest").symlink_to("blobs")
    with pytest.raises(StorageError):
        staging.place(NOTHING)
    assert not site.placed().exists()


@pytest.mark.parametrize("path", [*LINKS, *DIRECTORIES])
def test_what_is_missing_is_made_again_and_no_file_is_touched(site: Site, path: str) -> None:
    recover(site)
    here = OnDisk(known(site))
    before = site.placed("blobs/x").stat()
    times = {each: site.placed(each).stat().st_mtime_ns for each in ("", "snapshots/5")}
    placed = site.placed(path)
    placed.rmdir() if path in DIRECTORIES else placed.unlink()
    for each, time_ns in times.items():
        os.utime(site.placed(each), ns=(time_ns, time_ns))
    staging = recover(site, "r-2", here)
    assert (staging.target.replaced, staging.target.is_untouched) == (1, False)
    assert links_of(site) == LINKS
    assert all(stat.S_ISDIR(os.lstat(site.placed(each)).st_mode) for each in DIRECTORIES)
    assert site.placed("blobs/x").stat() == before
    assert {each: site.placed(each).stat().st_mtime_ns for each in times} == times


def test_what_stands_as_it_should_is_untouched(site: Site) -> None:
    recover(site)
    site.placed("tmp/of a job").write_bytes(b"")
    staging = site.staging("r-2")
    assert staging.prepare(NOTHING, OnDisk(known(site))) == site.everything
    assert staging.target.is_untouched
    assert staging.is_placed


def spoil(site: Site, path: str, kind: str) -> None:
    placed = site.placed(path)
    placed.rmdir() if path in DIRECTORIES else placed.unlink()
    if kind == "link":
        placed.symlink_to("/etc")
    elif kind == "file":
        placed.write_bytes(b"mine")
    else:
        placed.mkdir()
        (placed / "mine").write_bytes(b"mine")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("latest", "link"),
        ("latest", "file"),
        ("latest", "directory"),
        ("snapshots/5/model", "link"),
        ("tmp", "link"),
        ("tmp", "file"),
        ("logs/old", "file"),
    ],
)
def test_what_somebody_put_there_is_replaced_on_demand_and_kept(
    site: Site, path: str, kind: str
) -> None:
    recover(site)
    here = OnDisk(known(site))
    spoil(site, path, kind)
    before = os.lstat(site.placed(path)).st_ino
    with pytest.raises(Conflict, match=f"'{TARGET}/{path}' differ"):
        site.staging("r-2").prepare(NOTHING, here)
    recover(site, "r-3", OnDisk(here.at_target, is_overwriting=True))
    assert links_of(site) == LINKS
    assert not os.path.islink(site.placed("tmp"))
    assert all(os.listdir(site.placed(each)) == [] for each in DIRECTORIES)
    assert os.lstat(site.path / ".ckptd/replaced/r-3" / path).st_ino == before


@pytest.mark.parametrize("kind", ["missing", "link", "file"])
def test_they_are_put_right_where_the_file_system_knows_no_careful_rename(
    site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recover(site)
    here = OnDisk(known(site), is_overwriting=True)
    if kind == "missing":
        site.placed("latest").unlink()
    else:
        spoil(site, "latest", kind)

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(confined, "rename_noreplace", refuse)  # as NFS does
    recover(site, "r-2", here)
    assert links_of(site) == LINKS
    assert os.path.lexists(site.path / ".ckptd/replaced/r-2/latest") == (kind != "missing")


def test_a_name_that_changes_while_it_is_put_right_stays(site: Site) -> None:
    recover(site)
    here = OnDisk(known(site), is_overwriting=True)
    spoil(site, "latest", "link")
    staging = site.staging("r-2")
    staging.prepare(NOTHING, here)
    site.placed("latest").unlink()
    site.placed("latest").symlink_to("/var")
    with pytest.raises(Conflict, match="changed while"):
        staging.place(NOTHING)
    assert os.readlink(site.placed("latest")) == "/var"


def test_a_name_that_appears_while_it_is_put_right_stays(site: Site) -> None:
    recover(site)
    here = OnDisk(known(site))
    site.placed("latest").unlink()
    staging = site.staging("r-2")
    staging.prepare(NOTHING, here)
    site.placed("latest").write_bytes(b"mine")
    with pytest.raises(Conflict, match="changed while"):
        staging.place(NOTHING)
    assert site.placed("latest").read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["missing", "link", "file"])
@pytest.mark.parametrize("path", ["latest", "tmp"])
def test_what_was_put_right_before_a_failure_counts_when_it_is_tried_again(
    site: Site, path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recover(site)
    here = OnDisk(known(site), is_overwriting=True)
    if kind == "missing":
        site.placed(path).rmdir() if path in DIRECTORIES else site.placed(path).unlink()
    else:
        spoil(site, path, kind)
    failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]

    def sync(fd: int) -> None:
        if failures and os.path.lexists(site.placed(path)):
            raise failures.pop()
        sync_file(fd)

    monkeypatch.setattr(bare_names, "sync_file", sync)
    staging = site.staging("r-2")
    staging.prepare(NOTHING, here)
    if not (path == "tmp" and kind == "missing"):  # which is made with the directories of files
        with pytest.raises(Shortage):
            staging.place(NOTHING)
        assert not failures
    staging.place(NOTHING)
    assert staging.target.replaced == 1
    assert links_of(site) == LINKS
    assert os.listdir(site.placed("tmp")) == []
    staging.close()


def test_directories_get_their_modes_and_times_empty_ones_too(site: Site) -> None:
    manifest, digest = site.space.manifest, Digest("5a" * 32)
    directories = directories_in(manifest)
    assert directories is not None
    assert {"snapshots/5", "snapshots", "logs", *DIRECTORIES} < set(directories)
    units, count = len(manifest.units), len(directories)
    modes = [0o600] * units + [0o700 + number for number in range(count)]
    times = [7 * 10**18] * units + [10**18 + number for number in range(count)]
    document = decode_attributes(encode_attributes(digest, modes, times), digest, manifest)
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    staging.finishing = Finishing(manifest, document, 0o777)
    staging.place(NOTHING)
    for number, path in enumerate(directories):
        facts = site.placed(path).stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns) == (
            modes[units + number],
            times[units + number],
        ), path


def test_a_version_that_lacks_units_has_its_links_all_the_same(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    missing = site.blocks_of("blobs/y")
    site.deliver(staging, site.everything - missing)
    staging.place(missing)
    assert links_of(site) == LINKS
    assert not site.placed("snapshots/5/rest").exists()
    recover(site, "r-2", OnDisk(known(site)))
    assert site.placed("snapshots/5/rest").read_bytes() == CONTENTS["blobs/y"]

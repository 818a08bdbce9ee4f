"""What a directory to be published consists of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptd.errors import NotFound, OutsideRoots, StorageError, UsageError
from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.roots import Root
from tests.support.manifests import make_manifest
from tests.support.stores import publish, write_files


def files_of(hashed: HashedDirectory) -> dict[str, str]:
    return {unit.path: hashed.path_of(index) for index, unit in enumerate(hashed.manifest.units)}


def test_a_file_that_matches_both_is_critical(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"", "b": b""})
    hashed = publish(root, "v1", critical=("a",), deferred=("*",))
    assert [unit.criticality.label for unit in hashed.manifest.units] == ["critical", "deferred"]


def test_a_pattern_without_a_match_is_named(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    with pytest.raises(UsageError, match=r"pattern 'wieghts.\*': matches no file"):
        publish(root, "v1", critical=("weights.*", "wieghts.*"))


@pytest.mark.parametrize("directories", ["v1", "v1/a/b"])
def test_a_directory_without_files_is_refused(root: Root, inside: Path, directories: str) -> None:
    (inside / directories).mkdir(parents=True)
    with pytest.raises(UsageError, match="has no files"):
        publish(root, "v1")


def test_a_directory_that_is_not_there_is_not_found(root: Root) -> None:
    with pytest.raises(NotFound):
        publish(root, "v1")


def test_a_fifo_is_named_and_does_not_block(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    os.mkfifo(inside / "v1/queue")
    with pytest.raises(StorageError, match="v1/queue: is a FIFO"):
        publish(root, "v1")


@pytest.mark.parametrize(
    ("name", "problem"), [(b"a\xff", "is not UTF-8"), (b"a\nb", "control characters")]
)
def test_names_that_no_manifest_can_have_are_shown_and_refused(
    root: Root, inside: Path, name: bytes, problem: str
) -> None:
    (inside / "v1").mkdir()
    os.close(os.open(os.fsencode(inside / "v1") + b"/" + name, os.O_CREAT | os.O_WRONLY))
    with pytest.raises(UsageError, match=problem) as caught:
        publish(root, "v1")
    assert repr(os.fsdecode(name)) in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_link_inside_the_root_is_published_as_what_it_leads_to(root: Root, inside: Path) -> None:
    write_files(inside, {"blobs/1": b"content", "v1/plain": b"p"})
    (inside / "v1/weights").symlink_to("../blobs/1")
    hashed = publish(root, "v1")
    assert hashed.manifest == make_manifest({"plain": b"p", "weights": b"content"})
    assert files_of(hashed) == {"plain": "v1/plain", "weights": "blobs/1"}


def test_a_link_out_of_the_root_is_refused(root: Root, inside: Path) -> None:
    write_files(inside, {"../secret": b"s", "v1/plain": b"p"})
    (inside / "v1/weights").symlink_to("../../secret")
    with pytest.raises(OutsideRoots, match=r"v1/weights: leads out of the root"):
        publish(root, "v1")


@pytest.mark.parametrize("directory", [".ckptd", ".ckptd/recovery"])
def test_staging_is_not_published(root: Root, inside: Path, directory: str) -> None:
    write_files(inside / directory)
    with pytest.raises(UsageError, match="staging"):
        publish(root, directory)


def test_a_root_is_published_without_its_staging(root: Root, inside: Path) -> None:
    write_files(inside, {"a": b"1", ".ckptd/r/half": b"h", "b/.ckptd/kept": b"2"})
    assert publish(root, "").manifest == make_manifest({"a": b"1", "b/.ckptd/kept": b"2"})

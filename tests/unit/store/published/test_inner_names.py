"""Which links and empty directories are kept as they are when a directory is published."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptd.errors import CkptdError, ContentChanged, NotFound, StorageError, UsageError
from ckptd.model.attributes import decode_attributes
from ckptd.model.bare_names import SymbolicLink
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.words import Criticality
from ckptd.store.files.roots import Root
from ckptd.store.published import inner_names
from ckptd.store.published.inner_names import NO_INNER_NAMES, InnerNames
from ckptd.store.published.scanning import (
    PublishOrder,
    check_same_files,
    find_files,
    find_inner_names,
)
from tests.support.stores import publish, write_files

BLOB, SHA = "b1ob" * 16, "c0ffee" * 6 + "abcd"


@pytest.fixture
def cache(inside: Path) -> Path:
    """A cache of the Hugging Face hub, of one model."""
    directory = inside / "models--acme--tiny"
    write_files(
        directory,
        {f"blobs/{BLOB}": b"weights", "refs/main": SHA.encode(), f".no_exist/{SHA}/x.json": b""},
    )
    (directory / "snapshots" / SHA).mkdir(parents=True)
    (directory / "snapshots" / SHA / "model").symlink_to(f"../../blobs/{BLOB}")
    return directory


def order(root: Root, **fields: object) -> PublishOrder:
    asked = PublishOrder(root.absolute("v1"), CheckpointName("a"), Version(1), keeps_links=True)
    return asked.__class__(**{name: getattr(asked, name) for name in asked.__slots__} | fields)


def test_a_hub_cache_keeps_its_links(root: Root, cache: Path) -> None:
    followed = publish(root, cache.name)
    hashed = publish(root, cache.name, keeps_links=True)
    assert hashed.manifest.links == (SymbolicLink(f"snapshots/{SHA}/model", f"../../blobs/{BLOB}"),)
    paths = {unit.path for unit in hashed.manifest.units}
    assert {unit.path for unit in followed.manifest.units} - paths == {f"snapshots/{SHA}/model"}
    assert hashed.manifest.requires == ("links",)
    assert (followed.manifest.requires, followed.manifest.links) == ((), ())


def test_the_same_tree_has_the_same_identity(root: Root, cache: Path, inside: Path) -> None:
    (cache / "empty").mkdir()
    first = publish(root, cache.name, keeps_links=True)
    cache.rename(inside / "moved")
    assert publish(root, "moved", keeps_links=True).encoded == first.encoded
    (inside / "moved/empty/train.log").write_bytes(b"")
    assert publish(root, "moved", keeps_links=True).encoded == first.encoded


def test_without_links_nothing_of_it_is_in_the_manifest(root: Root, cache: Path) -> None:
    (cache / "empty").mkdir()
    before = publish(root, cache.name)
    (cache / "empty").rmdir()
    assert publish(root, cache.name).encoded == before.encoded


def test_links_that_lead_elsewhere_are_followed_and_counted_as_files(
    root: Root, inside: Path
) -> None:
    write_files(inside, {"beside": b"far", "v1/a": b"a", "v1/sub/b": b"b"})
    (inside / "v1/far").symlink_to("../beside")
    (inside / "v1/through").symlink_to("far")
    (inside / "v1/whole").symlink_to(inside / "v1/a")
    (inside / "v1/sub/near").symlink_to("../a")
    (inside / "v1/back").symlink_to("sub/../a")
    inner = find_inner_names(root, "v1", order(root))
    assert inner == InnerNames(
        (SymbolicLink("sub/near", "../a"), SymbolicLink("through", "far")),
        (),
        {"a": ("sub/near",), "far": ("through",)},
    )
    hashed = publish(root, "v1", keeps_links=True)
    assert [unit.path for unit in hashed.manifest.units] == ["a", "back", "far", "sub/b", "whole"]


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("nowhere", NotFound, "leads to nothing"),
        ("l", StorageError, "in a circle"),
        ("/etc", CkptdError, "leads out of the root"),
        ("../beside", StorageError, "does not lead to a file"),
    ],
)
def test_a_link_that_leads_to_no_file_is_named_as_ever(
    root: Root, inside: Path, target: str, kind: type[CkptdError], words: str
) -> None:
    write_files(inside, {"v1/a": b"a", "beside/x": b""})
    (inside / "v1/l").symlink_to(target)
    with pytest.raises(kind, match=words) as caught:
        publish(root, "v1", keeps_links=True)
    assert "--exclude=l" in caught.value.hint
    assert publish(root, "v1", keeps_links=True, exclude=("l",)).manifest.links == ()


@pytest.mark.parametrize("target", [".", "..", "../sub"])
def test_a_link_that_nobody_can_follow_to_an_end_is_refused(
    root: Root, inside: Path, target: str
) -> None:
    write_files(inside, {"v1/sub/a": b"a"})
    (inside / "v1/sub/l").symlink_to(target)
    with pytest.raises(UsageError, match=r"'sub/l' that leads in a circle") as caught:
        publish(root, "v1", keeps_links=True)
    assert "--exclude" in caught.value.hint


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("_NAMES_MAX", "more than 1 names"),
        ("MANIFEST_LINKS_MAX", "more than 1 links"),
        ("MANIFEST_DIRECTORIES_MAX", "more than 1 empty directories"),
    ],
)
def test_of_too_many_names_nothing_is_hashed(
    root: Root, inside: Path, limit: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(inside, {"v1/a": b"a"})
    for name in ("1", "2"):
        (inside / "v1" / f"l{name}").symlink_to("a")
        (inside / "v1" / f"d{name}").mkdir()
    monkeypatch.setattr(inner_names, limit, 1)
    with pytest.raises(UsageError, match=words) as caught:
        find_inner_names(root, "v1", order(root))
    assert "--exclude" in caught.value.hint


def test_a_directory_with_nothing_of_the_version_is_empty(root: Root, inside: Path) -> None:
    write_files(inside, {"v1/a": b"a", "v1/logs/x.log": b"", "v1/runs/1/y": b"", "v1/d/e/f": b""})
    (inside / "v1/none/inner").mkdir(parents=True)
    (inside / "v1/.ckptd-own").mkdir()
    inner = find_inner_names(root, "v1", order(root, exclude=("runs/*",)))
    assert inner.directories == ("logs", "none/inner")
    excluded = find_inner_names(root, "v1", order(root, exclude=("runs/*", "none*")))
    assert excluded.directories == ("logs",)


def test_patterns_may_name_a_file_by_its_link(root: Root, cache: Path) -> None:
    hashed = publish(root, cache.name, keeps_links=True, critical=("*/model",))
    critical = [u.path for u in hashed.manifest.units if u.criticality is Criticality.CRITICAL]
    assert critical == [f"blobs/{BLOB}"]
    asked = order(root, require=("*/model",))
    inner = find_inner_names(root, cache.name, asked)
    assert len(find_files(root, cache.name, asked, inner)) == 3


def test_a_format_that_names_a_file_finds_its_link(root: Root, inside: Path) -> None:
    index = b'{"weight_map": {"w": "model-1.safetensors"}}'
    write_files(inside, {"v1/blobs/i": index, "v1/blobs/m": b""})
    (inside / "v1/model.safetensors.index.json").symlink_to("blobs/i")
    with pytest.raises(ContentChanged, match="not complete"):
        publish(root, "v1", keeps_links=True)
    (inside / "v1/model-1.safetensors").symlink_to("blobs/m")
    assert len(publish(root, "v1", keeps_links=True).manifest.links) == 2


def test_of_a_single_file_no_link_is_kept(root: Root, inside: Path) -> None:
    write_files(inside, {"v1/a": b"a"})
    (inside / "v1/last").symlink_to("a")
    hashed = publish(root, "v1/last", keeps_links=True)
    assert ([unit.path for unit in hashed.manifest.units], hashed.manifest.links) == (["last"], ())


def test_what_changes_meanwhile_ends_the_publishing(root: Root, inside: Path) -> None:
    write_files(inside, {"v1/a": b"a", "v1/b": b"b"})
    (inside / "v1/l").symlink_to("a")
    asked = order(root)
    inner = find_inner_names(root, "v1", asked)
    files = find_files(root, "v1", asked, inner)
    check_same_files(root, "v1", files, asked, inner)
    os.unlink(inside / "v1/l")
    os.symlink("b", inside / "v1/l")
    with pytest.raises(ContentChanged, match="other links or empty directories"):
        check_same_files(root, "v1", files, asked, inner)
    os.unlink(inside / "v1/l")
    with pytest.raises(ContentChanged, match="vanished"):
        check_same_files(root, "v1", files, asked, inner)
    assert find_inner_names(root, "v1", order(root, keeps_links=False)) is NO_INNER_NAMES


def test_the_attribute_document_has_empty_directories(root: Root, inside: Path) -> None:
    write_files(inside, {"v1/a": b"a"})
    (inside / "v1/empty/inner").mkdir(parents=True)
    (inside / "v1/empty/inner").chmod(0o711)
    os.utime(inside / "v1/empty/inner", ns=(5, 5))
    hashed = publish(root, "v1", keeps_links=True)
    found = decode_attributes(hashed.attributes, hashed.digest, hashed.manifest)
    assert found.directories == ("", "empty", "empty/inner")
    assert (found.mode(3), found.mtime_ns(3)) == (0o711, 5)

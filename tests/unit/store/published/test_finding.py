"""What is found is ready to be hashed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.errors import ContentChanged, StorageError
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.files.roots import Root
from ckptd.store.published.finding import find_closed, found_files
from ckptd.store.published.scanning import PublishOrder
from tests.support.somebody import somebody
from tests.support.stores import write_files


def order(root: Root) -> PublishOrder:
    return PublishOrder(root.absolute("v1"), CheckpointName("llama"), Version(1))


def test_a_single_file_is_found_in_its_directory(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", "b": b"2"})
    directory, asked, found, *_ = found_files(root, "v1/a", order(root))
    assert (directory, asked.only, [each.path for each in found]) == ("v1", "a", ["a"])


def test_that_it_may_not_be_read_is_said_before_that_it_is_incomplete(
    root: Root, inside: Path
) -> None:
    write_files(inside / "v1", {"m.safetensors.index.json": b'{"weight_map": {"a": "gone"}}'})
    (inside / "v1/m.safetensors.index.json").chmod(0)
    with somebody(), pytest.raises(StorageError, match="may not read it"):
        found_files(root, "v1", order(root))
    (inside / "v1/m.safetensors.index.json").chmod(0o644)
    with pytest.raises(ContentChanged, match="is not complete"):
        found_files(root, "v1", order(root))


def test_what_will_be_passed_is_counted_and_what_is_not_is_refused(
    root: Root, inside: Path
) -> None:
    write_files(inside / "v1", {"a": b"1", "m.safetensors.index.json": b"{"})
    (inside / "v1/m.safetensors.index.json").chmod(0)
    with somebody():
        found = found_files(root, "v1", order(root), will_be_passed=True)
        assert (len(found.files), found.closed) == (2, 1)
        (closed,) = find_closed(root, "v1", order(root))
        assert closed.path == "m.safetensors.index.json"

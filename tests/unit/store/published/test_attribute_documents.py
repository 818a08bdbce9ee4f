from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.attribute_documents import document_of_standing


def test_what_stands_as_it_was_hashed_has_the_document_that_it_had_then(
    root: Root, hashed: HashedDirectory
) -> None:
    assert hashed.attributes
    assert document_of_standing(root, replace(hashed, attributes=b"")) == hashed.attributes


@pytest.mark.parametrize("is_time_kept", [True, False])
def test_what_was_changed_since_then_has_none(
    root: Root, hashed: HashedDirectory, inside: Path, is_time_kept: bool
) -> None:
    path = inside / "v1/c/d"
    facts = path.stat()
    path.chmod(0o600)
    if is_time_kept:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert document_of_standing(root, hashed) == b""


def test_what_lacks_a_file_has_none(root: Root, hashed: HashedDirectory, inside: Path) -> None:
    (inside / "v1/c/d").unlink()
    assert document_of_standing(root, hashed) == b""
    lacking = replace(hashed, files=UnitFiles((None, *hashed.files[1:])))
    assert document_of_standing(root, lacking) == b""

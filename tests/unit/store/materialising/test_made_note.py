from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.errors import Conflict
from ckptd.store.files.layout import MADE_NOTE
from ckptd.store.files.roots import Root
from ckptd.store.materialising.made_note import read_note
from ckptd.store.materialising.making import standing_copy
from tests.support.delta_versions import (
    Training,
    write_chain,
)
from tests.support.materialising import made, target_at


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.open("data", str(tmp_path))


def test_a_copy_that_stands_there_is_known_by_its_content(tmp_path: Path, root: Root) -> None:
    write_chain(tmp_path, 1, Training())
    target = target_at(root, "made")
    assert standing_copy(target, lambda _: None) is None
    note = made(root, range(2))
    assert standing_copy(target, lambda _: None) == note
    weights = next((tmp_path / "made").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Conflict, match="changed since"):
        standing_copy(target, lambda _: None)
    weights.unlink()
    with pytest.raises(Conflict, match="changed since"):
        standing_copy(target, lambda _: None)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 5000])
def test_a_file_that_ckptd_did_not_write_says_nothing(
    tmp_path: Path, root: Root, content: bytes
) -> None:
    (tmp_path / "made").mkdir()
    assert read_note(root, "made") is None
    (tmp_path / "made" / MADE_NOTE).write_bytes(content)
    assert read_note(root, "made") is None


def test_a_file_of_a_newer_format_says_nothing(tmp_path: Path, root: Root) -> None:
    write_chain(tmp_path, 1, Training())
    made(root, range(2))
    path = tmp_path / "made" / MADE_NOTE
    assert read_note(root, "made")
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    assert read_note(root, "made") is None

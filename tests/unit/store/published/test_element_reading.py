"""Types of what is published: as said, by the header, or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ckptd.limits import KIB
from ckptd.store.published.element_reading import HEADER_BYTES_MAX, ElementReading
from tests.unit.model.formats.test_torch_archive import WRITTEN

LONG = 256 * KIB


def tensors(*types: tuple[str, int], padding: int = 0) -> bytes:
    """Return a safetensors file of zeros."""
    at, entries = 0, {}
    for number, (dtype, size_bytes) in enumerate(types):
        width = {"BF16": 2, "F32": 4}[dtype]
        entries[f"w{number}"] = {
            "dtype": dtype,
            "shape": [size_bytes // width],
            "data_offsets": [at, at + size_bytes],
        }
        at += size_bytes
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8 + padding)
    return len(header).to_bytes(8, "little") + header + bytes(at)


@contextmanager
def opened(directory: Path, content: bytes) -> Iterator[int]:
    path = directory / "file"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def fact(
    directory: Path, path: str, content: bytes, *said: tuple[str, str], size_bytes: int = 0
) -> str:
    with opened(directory, content) as fd:
        return ElementReading(said).fact(fd, path, size_bytes or len(content))


AUTO = ("*", "auto")


def test_without_a_word_nothing_is_read_or_said(tmp_path: Path) -> None:
    content = tensors(("BF16", LONG))
    assert fact(tmp_path, "m.safetensors", content) == ""
    assert fact(tmp_path, "m.safetensors", content, ("*", "none"), AUTO) == ""


def test_the_first_pattern_that_matches_counts(tmp_path: Path) -> None:
    said = (("optim*", "F32"), ("*.bin", "BF16"), AUTO)
    assert fact(tmp_path, "optim/a.bin", b"", *said) == "F32"
    assert fact(tmp_path, "a.bin", b"", *said) == "BF16"
    assert fact(tmp_path, "a.safetensors", tensors(("F32", LONG)), *said) == "F32"


def test_headers_say_it_of_safetensors_and_of_what_pytorch_saved(tmp_path: Path) -> None:
    content = tensors(("BF16", LONG), ("F32", LONG))
    second = len(content) - LONG
    assert fact(tmp_path, "m.safetensors", content, AUTO) == f"BF16 F32@{second}"
    for name in ("a.pt", "a.pth", "pytorch_model.bin", "epoch=3.ckpt"):
        assert fact(tmp_path, name, WRITTEN, AUTO).startswith("BF16 F32@")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.safetensors", bytes(LONG)),
        ("a.pt", bytes(LONG)),
        ("a.dat", tensors(("BF16", LONG))),
        ("a.safetensors", WRITTEN),
        ("a.safetensors", tensors(("BF16", 1 * KIB))),
    ],
)
def test_what_no_header_says_is_not_known(tmp_path: Path, name: str, content: bytes) -> None:
    assert fact(tmp_path, name, content, AUTO) == ""


def test_a_header_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    content = tensors(("BF16", LONG), padding=HEADER_BYTES_MAX // 2)
    assert fact(tmp_path, "a.safetensors", content, AUTO) == "BF16"
    content = tensors(("BF16", LONG), padding=HEADER_BYTES_MAX)
    assert fact(tmp_path, "a.safetensors", content, AUTO) == ""


def test_a_file_that_became_shorter_is_not_known(tmp_path: Path) -> None:
    content = tensors(("BF16", LONG))
    assert fact(tmp_path, "m.safetensors", content[:9], AUTO, size_bytes=len(content)) == ""

"""Paths of a version, broken one rule at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import InvalidManifest
from ckptd.limits import PATH_BYTES_MAX, PATH_COMPONENT_BYTES_MAX, PATH_DEPTH_MAX
from ckptd.model.unit_paths import check_path, directories_of


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b",
        "...",
        ".hidden",
        ".ckpt",
        "a/.ckptd-partial.json",
        "a b",
        "ü/模型",
        "-rf",
        "con",
        "a" * PATH_COMPONENT_BYTES_MAX,
        "/".join(["d" * 60] * 60),
        "/".join(["d"] * PATH_DEPTH_MAX),
    ],
)
def test_a_path_below_a_directory_is_good(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "a path of 0 bytes"),
        ("/".join(["d" * 200] * 21), "a path of 4220 bytes"),
        ("/etc/passwd", "leads out"),
        ("a//b", "leads out"),
        ("a/", "leads out"),
        ("/", "leads out"),
        (".", "leads out"),
        ("..", "leads out"),
        ("a/../b", "leads out"),
        ("a/./b", "leads out"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\x1b[31m", "control characters"),
        ("a\x7f", "control characters"),
        ("a\ud800", "not UTF-8"),
        ("a" * (PATH_COMPONENT_BYTES_MAX + 1), "component of more than 255 bytes"),
        ("ü" * 128, "component of more than 255 bytes"),
        ("/".join(["d"] * (PATH_DEPTH_MAX + 1)), "more than 64 components"),
        (".ckptd", "are ckptd's own"),
        (".ckptd/probe", "are ckptd's own"),
        (".ckptd-partial.json", "are ckptd's own"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str, words: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        check_path(path)
    assert words in caught.value.problem
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@given(st.text(max_size=300))
def test_a_path_that_is_let_through_stays_below_its_directory(path: str) -> None:
    try:
        check_path(path)
    except InvalidManifest:
        return
    parts = path.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert "\0" not in path
    assert len(path.encode()) <= PATH_BYTES_MAX


def test_directories_come_parents_first() -> None:
    assert directories_of(["c", "a/b/x", "a/y", "a/b/z"]) == ["a", "a/b"]

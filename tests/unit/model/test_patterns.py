"""Patterns that name units by their paths."""

from __future__ import annotations

import pytest

from ckptd.model.patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "path", "is_meant"),
    [
        ("*", "a/b", True),
        ("optimizer/*", "optimizer/a/b", True),
        ("optimizer/**", "optimizer/a/b", True),
        ("optimizer/*", "optimizer", False),
        ("*.json", "config.json", True),
        ("config.json", "a/config.json", False),
        ("config.json", "config.json.bak", False),
        ("[", "[", True),
        ("", "a", False),
    ],
)
def test_a_pattern_means_a_path_as_a_whole(pattern: str, path: str, *, is_meant: bool) -> None:
    assert bool(compile_pattern(pattern).match(path)) is is_meant

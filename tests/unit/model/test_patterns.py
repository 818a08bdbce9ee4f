"""Patterns that name units by their paths, and those that find a version in a name."""

from __future__ import annotations

import pytest

from ckptd.errors import UsageError
from ckptd.limits import VERSION_MAX
from ckptd.model.patterns import compile_pattern, escape_pattern, is_log, version_from


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


@pytest.mark.parametrize(
    ("expression", "paths", "version"),
    [
        (r"checkpoint-(\d+)", ("/data/out/checkpoint-1200",), 1200),
        (r"checkpoint-(\d+)", ("/data/checkpoint-7/run/checkpoint-1200",), 1200),
        (r"step=(\d+)", ("/data/epoch=3-step=1000.ckpt",), 1000),
        (r"step=(\d+)", ("/data/last.ckpt", "/data/epoch=3-step=1000.ckpt"), 1000),
        (r"step_?(\d+)", ("/data/global_step0012/rank-0",), 12),
        (r"(?:iter|step)_(\d+)", ("/data/iter_0000100",), 100),
        (r"(\d+)", (f"/{VERSION_MAX}",), VERSION_MAX),
        (r"(\d+)", ("/" + "0" * 200 + "5",), 5),
    ],
)
def test_a_version_is_taken_from_the_last_name_that_has_one(
    expression: str, paths: tuple[str, ...], version: int
) -> None:
    assert version_from(expression, paths) == version


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("(", "is no regular expression: missing"),
        ("checkpoint", "has 0 groups, not one"),
        (r"(c)heckpoint-(\d+)", "has 2 groups"),
        (r"(checkpoint)", "finds 'checkpoint' in 'checkpoint-12', which is no number"),
        (r"step-(\d+)", "finds nothing in /out/checkpoint-12 or /out/other"),
        (r"(step)?out", "finds nothing"),
        (r"(9+)", "finds more digits"),
        (r"-(\d+)x", "is not between 0 and"),
    ],
)
def test_a_name_without_a_version_is_refused_with_the_reason(expression: str, said: str) -> None:
    paths = ["/out/checkpoint-12", "/out/checkpoint-12", "/out/other"]
    if expression == "(9+)":
        paths.append("/" + "9" * 5000)
    if expression.endswith("x"):
        paths.append(f"/a-{VERSION_MAX + 1}x")
    with pytest.raises(UsageError, match=said):
        version_from(expression, paths)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("train.log", True),
        ("a/b/train.log", True),
        ("runs/events.out.tfevents.1700000000.host.1.0", True),
        ("slurm-123_4.out", True),
        ("train.log/weights.bin", False),
        ("events.out.tfevents.1/weights.bin", False),
        ("catalog", False),
        ("train.log.bin", False),
        ("train.LOG", False),
    ],
)
def test_logs_are_known_by_the_last_name(path: str, *, is_one: bool) -> None:
    assert is_log(path) is is_one


@pytest.mark.parametrize("path", ["a/b", "step=*", "[0-9]", "what?", "a]b[!c]", "!x"])
def test_an_escaped_pattern_matches_its_path_alone(path: str) -> None:
    pattern = compile_pattern(escape_pattern(path))
    others = [f"{path}x", path.replace("*", "5"), path.replace("?", "t"), "0", "a]bd"]
    assert pattern.match(path)
    assert not [other for other in others if other != path and pattern.match(other)]

"""What the ranks have saved, found again without the ranks."""

import os
from pathlib import Path

from ckptd.cli.demo.fleet.expected import Expected
from ckptd.cli.demo.fleet.toy_job import MARKER, advance, begin_with, files_of, load

SIZE_BYTES = 10_000


def saved(directory: Path, rank: int, version: int) -> str:
    """Save what a rank has after so many steps."""
    state = begin_with(SIZE_BYTES)
    for _ in range(version):
        state = advance(state, rank)
    for path, content in files_of(rank, state).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return str(directory)


def names(wrong: list[str], directory: str) -> list[str]:
    return [each.removeprefix(f"{directory}: ") for each in wrong]


def test_what_was_saved_is_found_right_and_loads_as_what_the_rank_had(tmp_path: Path) -> None:
    directory = saved(tmp_path, rank=3, version=5)
    expected = Expected(SIZE_BYTES)
    assert expected.differences(directory, [3], 5) == []
    assert expected.compared_bytes == sum(map(os.path.getsize, tmp_path.rglob("*.*")))
    state = load(directory, 3)
    assert len(state) == SIZE_BYTES
    assert files_of(3, state)["rank-3/optim.bin"] == (tmp_path / "rank-3/optim.bin").read_bytes()


def test_another_rank_and_another_version_have_other_bytes(tmp_path: Path) -> None:
    directory = saved(tmp_path, rank=3, version=5)
    assert names(Expected(SIZE_BYTES).differences(directory, [3], 4), directory) == [
        "rank-3/model.bin is not what was saved",
        "rank-3/optim.bin is not what was saved",
        "rank-3/rng.bin is not what was saved",
    ]
    assert advance(b"same", 1) != advance(b"same", 2)


def test_what_is_missing_changed_or_too_much_is_named(tmp_path: Path) -> None:
    directory = saved(tmp_path, rank=0, version=1)
    (tmp_path / MARKER).unlink()
    (tmp_path / "more").touch()
    with (tmp_path / "rank-0/optim.bin").open("r+b") as file:
        file.truncate(5)
    assert names(Expected(SIZE_BYTES).differences(directory, [0], 1), directory) == [
        "done is missing",
        "more was not saved",
        "rank-0/optim.bin is not what was saved",
    ]


def test_several_ranks_in_one_directory_are_compared_together(tmp_path: Path) -> None:
    directory = saved(tmp_path, rank=0, version=2)
    expected = Expected(SIZE_BYTES)
    assert len(expected.differences(directory, [0, 1], 2)) == 3
    saved(tmp_path, rank=1, version=2)
    assert expected.differences(directory, [0, 1], 2) == []

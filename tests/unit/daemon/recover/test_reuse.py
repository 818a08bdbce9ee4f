from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ckptd.daemon.recover.reuse import Reuse
from ckptd.model.ids import CheckpointName
from ckptd.store.files.roots import Root

TRAINED, EVALUATED, OTHER = map(CheckpointName, ("llama/rank-0", "llama-eval/rank-0", "gpt/a"))
ACROSS = (("llama/*", "llama-eval/*"), ("gpt/*", "mistral/*"))


@pytest.mark.parametrize(
    ("wanted", "other", "is_permitted"),
    [
        (TRAINED, TRAINED, True),
        (TRAINED, EVALUATED, True),
        (EVALUATED, TRAINED, True),
        (TRAINED, OTHER, False),
    ],
)
async def test_blocks_go_across_names_only_within_a_group(
    tmp_path: Path, wanted: CheckpointName, other: CheckpointName, *, is_permitted: bool
) -> None:
    with closing(Root.open("main", str(tmp_path))) as root:
        assert await Reuse(ACROSS).permits(wanted, root, other, root) == is_permitted
        assert await Reuse(()).permits(wanted, root, other, root) == (wanted == other)


async def test_blocks_go_across_names_only_between_roots_of_one_owner_and_mode(
    tmp_path: Path,
) -> None:
    for name, mode in (("a", 0o755), ("b", 0o755), ("c", 0o700)):
        (tmp_path / name).mkdir(mode=mode)
        (tmp_path / name).chmod(mode)
    with (
        closing(Root.open("a", str(tmp_path / "a"))) as a,
        closing(Root.open("b", str(tmp_path / "b"))) as b,
        closing(Root.open("c", str(tmp_path / "c"))) as c,
    ):
        reuse = Reuse(ACROSS)
        assert await reuse.permits(TRAINED, a, EVALUATED, b)
        assert not await reuse.permits(TRAINED, a, EVALUATED, c)
        assert await reuse.permits(TRAINED, a, TRAINED, c), "a job may have what is its own"

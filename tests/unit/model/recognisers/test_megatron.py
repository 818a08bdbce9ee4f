"""Directories as Megatron-LM writes them."""

from __future__ import annotations

import pytest

from tests.support.recognising import phases_of, proposed

FIRST, WEIGHTS, LATER = "core critical", "core normal", "rest deferred"

LEGACY = {
    "latest_checkpointed_iteration.txt": FIRST,
    "progress.txt": LATER,
    "iter_0001000/mp_rank_00/model_optim_rng.pt": WEIGHTS,
    "iter_0001000/mp_rank_00/distrib_optim.pt": LATER,
    "iter_0001000/mp_rank_01/model_optim_rng.pt": WEIGHTS,
    "iter_0001000/mp_rank_01/distrib_optim.pt": LATER,
}
PIPELINE = {
    "mp_rank_00_000/model_optim_rng.pt": WEIGHTS,
    "mp_rank_00_001/model_optim_rng.pt": WEIGHTS,
    "mp_rank_00_001/distrib_optim.pt": LATER,
    "mp_rank_00_001_003/model_optim_rng.pt": WEIGHTS,
}
DISTRIBUTED = {
    "latest_checkpointed_iteration.txt": FIRST,
    "iter_0001000/.metadata": FIRST,
    "iter_0001000/__0_0.distcp": WEIGHTS,
    "iter_0001000/__0_1.distcp": WEIGHTS,
    "iter_0001000/common.pt": FIRST,
    "iter_0001000/metadata.json": FIRST,
}


@pytest.mark.parametrize(
    ("files", "formats"),
    [(LEGACY, "Megatron"), (PIPELINE, "Megatron"), (DISTRIBUTED, "Megatron, PyTorch DCP")],
)
def test_the_model_is_first_and_what_the_distributed_optimizer_saves_later(
    files: dict[str, str], formats: str
) -> None:
    assert phases_of(list(files)) == files
    assert proposed(list(files)).format == formats


def test_a_thousand_ranks_need_no_more_rules_than_one() -> None:
    one = ["i/mp_rank_00/model_optim_rng.pt"]
    many = [f"i/mp_rank_{rank:02}/model_optim_rng.pt" for rank in range(1000)]
    assert proposed(one).policy.rules == proposed(many).policy.rules


def test_a_directory_that_is_called_so_and_has_something_else_is_none() -> None:
    files = {"mp_rank_00/model_optim_rng.pt": WEIGHTS, "mp_rank_xx/other": WEIGHTS}
    assert phases_of(list(files)) == files

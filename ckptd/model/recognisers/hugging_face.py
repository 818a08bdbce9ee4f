"""Directories of Hugging Face: safetensors or ``*.bin``, with what loads them and a job's state.

Configuration, index and tokenizer are read before any weights; those of transformers, diffusers and
PEFT are known by their names, and so is what Trainer and Accelerate save of a job beside them.
Shards are numbered in the order of layers as a rule, which is the order of their paths. Where an
index says otherwise they become visible in the order of layers.

Source: transformers 5.24, trainer.py and modeling_utils.py; accelerate 1.12, checkpointing.py;
diffusers 0.36, pipeline_utils.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from ckptd.errors import InvalidFormat
from ckptd.model.formats.weight_index import decode_index
from ckptd.model.patterns import escape_pattern
from ckptd.model.policy.recognition import Read
from ckptd.model.policy.rules import Rule
from ckptd.model.recognisers.proposal import (
    Kind,
    Tree,
    deepest_first,
    later,
    loading,
    path_in,
    rule_of,
    rules_of,
    weights,
)

NAME: Final = "Hugging Face"

_WEIGHTS: Final = re.compile(r".*\.safetensors|(?:pytorch_model|adapter_model).*\.bin")
_INDEX: Final = re.compile(r".*\.(?:safetensors|bin)\.index(?:\.[^./]+)?\.json")
_PIPELINE: Final = "model_index.json"
_LAYER: Final = re.compile(r"(?:^|\.)(\d{1,6})\.")
_SHARDS_MAX: Final = 256
"""More shards than that in another order than that of layers become visible as they are called."""

_LOADING: Final = loading(
    "read before any weights",
    "config.json",
    "*_config.json",
    _PIPELINE,
    "*.index.json",
    "*.index.*.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "spiece.model",
    "sentencepiece*.model",
    "chat_template*",
    "modules.json",
    "*.py",
)
_STATE: Final = later(
    "only a job that goes on needs it",
    "optim*",
    "scheduler*.pt",
    "scheduler*.bin",
    "scaler*.pt",
    "rng_state*",
    "random_states_*",
    "sampler*.bin",
    "dl_state_dict.bin",
    "trainer_state.json",
    "training_args.bin",
    "custom_checkpoint_*",
)
_WORDS: Final = later("words for people", "*.md", "LICENSE*", ".gitattributes")
_SHARD: Final = weights("weights in the order of layers", "*.safetensors", "*.bin")


def propose(tree: Tree, read: Read) -> Iterator[Rule]:
    """Yield what is proposed of each directory that has weights, or is part of a pipeline.

    Args:
        tree: The files.
        read: Reads one.
    """
    for directory in _directories(tree):
        names = tree.names[directory]
        indices = sorted(filter(_INDEX.fullmatch, names))
        for name in indices:
            yield from _in_layer_order(directory, read(path_in(directory, name)), name, names)
        yield from rules_of(NAME, directory, names, (_STATE, _LOADING, _SHARD, _WORDS))


def _directories(tree: Tree) -> list[str]:
    found = set(tree.with_any(_WEIGHTS))
    pipelines = tree.with_any(re.compile(re.escape(_PIPELINE)))
    for directory in tree.names:
        if directory.rpartition("/")[0] in pipelines and directory:
            found.add(directory)
    return deepest_first(found.union(pipelines))


def _in_layer_order(
    directory: str, content: bytes | None, name: str, names: set[str]
) -> Iterator[Rule]:
    """Yield rules for shards whose order of layers is not that of their paths.

    Args:
        directory: Where they are.
        content: Of the index; ``None`` if it cannot be read.
        name: Of the index.
        names: Of the files in the directory.
    """
    if content is None:
        return
    try:
        index = decode_index(content, name)
    except InvalidFormat:
        return  # publishing refuses it, see model/completeness.py
    layers: dict[str, int] = {}
    for tensor, shard in index.items():
        found = _LAYER.search(tensor)
        if found is not None and shard in names:
            layers[shard] = min(int(found[1]), layers.get(shard, int(found[1])))
    ordered = sorted(layers, key=lambda shard: (layers[shard], shard))
    if ordered == sorted(ordered) or len(ordered) > _SHARDS_MAX:
        return
    kind = Kind((), _SHARD.phase, _SHARD.criticality, "weights, after those of the layers before")
    for before, shard in pairwise(ordered):
        globs = [escape_pattern(path_in(directory, each)) for each in (before, shard)]
        yield rule_of(NAME, globs[1:], kind, (globs[0],))

"""Directories of Megatron-LM: a directory for each iteration, below it one for each rank.

``model_optim_rng.pt`` has the model, and its name does not say what else is in it; what the
distributed optimizer saves is beside it. The format of distributed checkpoints is PyTorch DCP, with
``common.pt`` and ``metadata.json``. ``latest_checkpointed_iteration.txt`` is placed last.

Source: Megatron-LM core_r0.15, training/checkpointing.py and core/dist_checkpointing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

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

NAME: Final = "Megatron"

_RANK: Final = re.compile(r"mp_rank_\d{2,}(?:_\d{3,}){0,2}")
_RANK_FILE: Final = re.compile(r"model_optim_rng\.pt|distrib_optim\.pt")
_COMMON: Final = re.compile(r"common\.pt")

_MARKER: Final = loading("names the iteration; placed last", "latest_checkpointed_iteration.txt")
_DISTRIBUTED: Final = loading("read before any weights", "common.pt", "metadata.json")
_OPTIMIZER: Final = later("only a job that goes on needs it", "distrib_optim.pt", "progress.txt")
_MODEL: Final = weights("the model, perhaps with other state in it", "model_optim_rng.pt")


def propose(tree: Tree, _: Read) -> Iterator[Rule]:
    """Yield what is proposed of each iteration, and of what names one.

    Args:
        tree: The files.
    """
    iterations: set[str] = set()
    for directory in tree.names:
        above, _sign, name = directory.rpartition("/")
        if _RANK.fullmatch(name) and any(map(_RANK_FILE.fullmatch, tree.names[directory])):
            iterations.add(above)
    for iteration in deepest_first(iterations):
        for kind in (_OPTIMIZER, _MODEL):
            yield from _of_ranks(iteration, kind)
    distributed = [each for each in tree.with_any(_COMMON) if ".metadata" in tree.names[each]]
    for directory in distributed:
        yield from rules_of(NAME, directory, tree.names[directory], (_DISTRIBUTED,))
    for above in deepest_first({each.rpartition("/")[0] for each in iterations.union(distributed)}):
        if above in tree.names:
            yield from rules_of(NAME, above, tree.names[above], (_MARKER, _OPTIMIZER))


def _of_ranks(iteration: str, kind: Kind) -> Iterator[Rule]:
    """Yield a rule for the files of all ranks: there may be thousands."""
    ranks = escape_pattern(path_in(iteration, "mp_rank_"))
    yield rule_of(NAME, [f"{ranks}*/{kind.globs[0]}"], kind)

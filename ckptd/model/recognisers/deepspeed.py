"""Directories of DeepSpeed: ``latest``, and a directory for each tag with the states of all ranks.

Model states come before optimizer states, but for stage 3 of ZeRO: there the model states have no
weights, and what has them are the optimizer states. ``latest`` is placed last.

Source: DeepSpeed 0.18, runtime/engine.py (``_get_ckpt_name`` and what is beside it) and
checkpoint/constants.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ckptd.model.patterns import escape_pattern
from ckptd.model.policy.recognition import Read
from ckptd.model.policy.rules import Rule
from ckptd.model.recognisers.proposal import (
    Tree,
    deepest_first,
    later,
    loading,
    path_in,
    rule_of,
    rules_of,
    weights,
)

NAME: Final = "DeepSpeed"

_STATES: Final = re.compile(r".*_(?:model|optim)_states\.pt")
_STAGE_3: Final = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_\d+_mp_rank_\d+_model_states\.pt")
_UNIVERSAL: Final = "zero"
"""In the directory of a tag that was made universal: a directory for each parameter."""

_MARKER: Final = loading("names the directory; placed last", "latest", "latest_universal")
_SCRIPT: Final = later("a script for people", "zero_to_fp32.py")
_MODEL: Final = loading("the model, or what is read before it", "*_model_states.pt")
_OPTIMIZER: Final = later("only a job that goes on needs it", "*_optim_states.pt")
_STAGE_3_WEIGHTS: Final = weights("ZeRO 3 has the weights in it", "*_optim_states.pt")
_MOMENTS: Final = later(
    "only a job that goes on needs it", "exp_avg.pt", "exp_avg_sq.pt", "step.pt"
)


def propose(tree: Tree, _: Read) -> Iterator[Rule]:
    """Yield what is proposed of the states of each tag, and of what names one.

    Args:
        tree: The files.
    """
    tags = tree.with_any(_STATES)
    for tag in tags:
        names = tree.names[tag]
        is_stage_3 = any(map(_STAGE_3.fullmatch, names))
        yield from rules_of(
            NAME, tag, names, (_MODEL, _STAGE_3_WEIGHTS if is_stage_3 else _OPTIMIZER)
        )
        below = path_in(tag, _UNIVERSAL)
        if any(directory.startswith(f"{below}/") for directory in tree.names):
            below = escape_pattern(below)
            yield rule_of(NAME, [f"{below}/*/{glob}" for glob in _MOMENTS.globs], _MOMENTS)
    for above in deepest_first({tag.rpartition("/")[0] for tag in tags}):
        if above in tree.names and above not in tags:
            yield from rules_of(NAME, above, tree.names[above], (_MARKER, _SCRIPT))

"""Directories of PyTorch DCP: ``.metadata`` says which items are in which file.

Files that have items of the model come first; those that have nothing but a job's state later.
By default a rank has few files, one for each thread, and items of all kinds in each: no order of
files brings the model before the optimizer then; that is for readers of ranges. With
``single_file_per_rank=False`` each item has a file, and some jobs save to two directories.

``.metadata`` is fetched first, for it says what is where, and placed last: by it readers know that
all is there. It is never unpickled; see :mod:`ckptd.model.formats.dcp_metadata`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ckptd.errors import InvalidFormat
from ckptd.limits import MIB
from ckptd.model.formats.dcp_metadata import decode_metadata
from ckptd.model.patterns import escape_pattern
from ckptd.model.policy.recognition import Read
from ckptd.model.policy.rules import Rule
from ckptd.model.recognisers.proposal import (
    REST,
    Kind,
    Tree,
    later,
    loading,
    path_in,
    rule_of,
    rules_of,
    weights,
)
from ckptd.model.words import Criticality

NAME: Final = "PyTorch DCP"

_METADATA: Final = ".metadata"
_MARKER: Final = re.compile(r"\.metadata")
_FILE: Final = re.compile(r".*\.distcp")
_METADATA_BYTES_MAX: Final = 4 * MIB
"""Some 32,000 parts, which take three seconds. It is read within the daemon, and one that was made
for that can take 85 bytes of memory for each of its own."""
_STATE_FILES_MAX: Final = 4096
"""Files that are named one by one; of more none is. Each is a pattern that paths are compared with:
so many take half a second."""

_OPTIMIZER: Final = frozenset(
    (
        "optim", "optims", "optimizer", "optimizers", "optimizer_state", "optimizer_states",
        "optimizer_state_dict", "opt_state", "opt_states",
    )
)  # fmt: skip
_STATE: Final = _OPTIMIZER.union(
    (
        "param_groups", "scheduler", "schedulers", "lr_scheduler", "lr_schedulers", "rng",
        "rng_state", "rng_states", "random_state", "dataloader", "data_loader", "dataset",
        "sampler", "train_state", "trainer", "scaler", "grad_scaler", "step", "global_step",
        "epoch", "iteration",
    )
)  # fmt: skip
_MOMENTS: Final = frozenset(
    ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg")
)

_LOADING: Final = loading("says what is in which file; fetched first and placed last", _METADATA)
_ALL_STATE: Final = Kind(
    (_METADATA,), REST, Criticality.NORMAL, "says what is where of a job's state; placed last"
)
_ONLY_STATE: Final = later("nothing but a job's state is in it, as .metadata says", "*.distcp")
_MODEL: Final = weights("has items of the model, as .metadata says", "*.distcp")
_UNREAD: Final = weights(
    "what is in it is not known: .metadata cannot be read, or has more than 4 MiB", "*.distcp"
)


def propose(tree: Tree, read: Read) -> Iterator[Rule]:
    """Yield what is proposed of each directory with a ``.metadata`` and files of DCP.

    Args:
        tree: The files.
        read: Reads one.
    """
    for directory in tree.with_any(_MARKER):
        names = tree.names[directory]
        files = {path_in(directory, name) for name in names if _FILE.fullmatch(name)}
        if not files:
            continue
        metadata = path_in(directory, _METADATA)
        is_short = tree.sizes[metadata] <= _METADATA_BYTES_MAX
        only_state = _only_state(metadata, files, read) if is_short else None
        if only_state is None:
            yield from rules_of(NAME, directory, names, (_LOADING, _UNREAD))
        elif only_state == files:
            yield from rules_of(NAME, directory, names, (_ALL_STATE, _ONLY_STATE))
        else:
            if 0 < len(only_state) <= _STATE_FILES_MAX:
                yield rule_of(NAME, map(escape_pattern, sorted(only_state)), _ONLY_STATE)
            yield from rules_of(NAME, directory, names, (_LOADING, _MODEL))


def is_state(item: str) -> bool:
    """Return whether an item is, by its name, of a job's state and not of the model."""
    first, _, rest = item.partition(".")
    second, _, _ = rest.partition(".")
    last = item.rpartition(".")[2]
    return first in _STATE or second in _OPTIMIZER or last in _MOMENTS


def _only_state(metadata: str, files: set[str], read: Read) -> set[str] | None:
    """Return the files in which there is nothing of a model; ``None``: that is not known.

    A file that the metadata does not name may have anything.
    """
    content = read(metadata)
    if content is None:
        return None
    try:
        items = decode_metadata(content, metadata)
    except InvalidFormat:
        return None
    named = {item.unit for item in items}
    of_model = {item.unit for item in items if not is_state(item.part_of or item.name)}
    return files & (named - of_model)

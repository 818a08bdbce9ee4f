"""Directories of Orbax: items, each with its metadata and OCDBT, and what says that all is there.

Which arrays are in which file of an OCDBT is not said by names, so an item comes as a whole: those
that are called so as a job's state. ``_CHECKPOINT_METADATA`` and ``commit_success.txt`` are
placed last.

Source: orbax-checkpoint 0.12.8, _src/path/step.py, _src/serialization and _src/metadata.
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

NAME: Final = "Orbax"

_COMMITTED: Final = re.compile(r"_CHECKPOINT_METADATA|commit_success\.txt")
_ITEM: Final = re.compile(r"_METADATA|manifest\.ocdbt")
_OF_PROCESS: Final = re.compile(r"(?:^|/)ocdbt\.process_[^/]*(?:/|$)")
_STATE_ITEM: Final = re.compile(
    r"(?:opt|optim|optimizer)(?:_states?)?|dataset|data_iter(?:ator)?|iterator|iter|rng(?:_state)?"
)

_MARKERS: Final = loading(
    "says that all is there; placed last", "_CHECKPOINT_METADATA", "commit_success.txt"
)
_METADATA: Final = loading(
    "says what is where in an item", "_METADATA", "_sharding", "manifest.ocdbt"
)
_STATE: Final = later("an item that by its name only a job needs that goes on", "*")
_VALUES: Final = weights("an item of the model, or one whose name says nothing", "*")


def propose(tree: Tree, _: Read) -> Iterator[Rule]:
    """Yield what is proposed of each item, and of what says that all is committed.

    Args:
        tree: The files.
    """
    found = [each for each in tree.with_any(_ITEM) if not _OF_PROCESS.search(each)]
    committed = tree.with_any(_COMMITTED)
    items = [each for each in found if _is_within(each, committed)]
    if not items:
        return
    for directory in committed:
        yield from rules_of(NAME, directory, tree.names[directory], (_MARKERS,))
    for item in deepest_first(items):
        is_state = _STATE_ITEM.fullmatch(item.rpartition("/")[2]) is not None
        if not is_state:
            yield from rules_of(NAME, item, tree.names[item], (_METADATA,))
        yield _of_all(item, _STATE if is_state else _VALUES)


def _is_within(item: str, committed: list[str]) -> bool:
    """Return whether an item is in a directory that is committed, or is one itself."""
    return any(not each or item == each or item.startswith(f"{each}/") for each in committed)


def _of_all(item: str, kind: Kind) -> Rule:
    return rule_of(NAME, [path_in(escape_pattern(item), "*")], kind)

"""Which formats a directory is in, and what they propose together: for whoever publishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ckptd.model.patterns import compile_pattern
from ckptd.model.policy.recognition import Proposal, Read
from ckptd.model.policy.rules import Policy, Rule
from ckptd.model.recognisers import (
    compile_caches,
    dcp,
    deepspeed,
    hugging_face,
    megatron,
    orbax,
)
from ckptd.model.recognisers.proposal import CORE, REST, Tree, rule_of, weights

_RECOGNISERS: Final[tuple[tuple[str, Callable[[Tree, Read], Iterator[Rule]]], ...]] = (
    (compile_caches.NAME, compile_caches.propose),
    (megatron.NAME, megatron.propose),
    (dcp.NAME, dcp.propose),
    (deepspeed.NAME, deepspeed.propose),
    (orbax.NAME, orbax.propose),
    (hugging_face.NAME, hugging_face.propose),
)
"""What says more of fewer files comes first."""

_OTHERS: Final = weights("no rule says what it is: it may be needed with the weights", "*")


def recognise(sizes: Mapping[str, int], read: Read) -> Proposal | None:
    """Return what the formats of a directory propose; ``None`` if none is recognised.

    Args:
        sizes: Length of each file, by its path relative to the directory.
        read: Returns what is in one of them; ``None`` if it cannot be read or is too long.

    Cost: O(files), and of files that say what is in others their length.
    """
    tree = Tree(sizes)
    formats: list[str] = []
    rules: list[Rule] = []
    for name, propose in _RECOGNISERS:
        found = list(propose(tree, read))
        if found:
            formats.append(name)
            rules += found
    if not rules:
        return None
    format_name = ", ".join(formats)
    rules.append(rule_of(format_name, ["*"], _OTHERS))
    return Proposal(format_name, Policy(_phases(sizes, rules), tuple(rules)))


def _phases(sizes: Mapping[str, int], rules: list[Rule]) -> tuple[str, ...]:
    """Return the phases in which there is something; of most directories a path or two says that.

    A rule matches something. But what matches one of the core may be what an earlier rule matched.
    """
    matching = [(compile_pattern(glob).match, rule.phase) for rule in rules for glob in rule.paths]
    found: set[str] = set()
    for path in sizes:
        found.add(next(phase for match, phase in matching if match(path)) or CORE)
        if len(found) == 2:  # noqa: PLR2004 (both)
            break
    return tuple(phase for phase in (CORE, REST) if phase in found)

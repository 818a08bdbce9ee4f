"""The tables ``[[policy]]``: what counts for which checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ckptd.config.document import Document
from ckptd.config.values import pattern
from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import POLICIES_MAX
from ckptd.model.policy.configured import ConfiguredPolicy
from ckptd.model.policy.documents import POLICY_KEYS, read_policy
from ckptd.model.toml_text import kind_of, one_of, text
from ckptd.model.words import PlaceMode

_KEYS: Final = ("checkpoint", "place", *POLICY_KEYS)


def read_policies(document: Document) -> tuple[ConfiguredPolicy, ...]:
    """Read all of them, in order of precedence; what cannot be used is kept.

    Raises:
        ConfigurationError: It is no list of tables.
    """
    entries = document.values.get("policy", [])
    if not isinstance(entries, list):
        document.fail("policy", f"is {kind_of(entries)}, not a list", "Begin each with [[policy]].")
    if len(entries) > POLICIES_MAX:
        document.fail("policy", f"has {len(entries)} policies, more than {POLICIES_MAX}")
    return tuple(_read_each(document, entries))


def _read_each(document: Document, entries: list[object]) -> Iterator[ConfiguredPolicy]:
    for number, entry in enumerate(entries):
        with document.collecting():
            yield _read(document, number, entry)


def _read(document: Document, number: int, entry: object) -> ConfiguredPolicy:
    place = f"policy[{number}]"

    def refuse(key: str, error: UsageError) -> ConfigurationError:
        return document.refusal(f"{place}.{key}", error)

    if not isinstance(entry, dict):
        document.fail(place, f"is {kind_of(entry)}, not a table", "Begin it with [[policy]].")
    policy = read_policy(entry, f"configuration {place}.", refuse, keys=_KEYS)
    if "checkpoint" not in entry:
        document.fail(
            f"{place}.checkpoint", "is missing", 'Write for which it counts: checkpoint = "llama*".'
        )
    checkpoint = document.parse(f"{place}.checkpoint", entry["checkpoint"], text(pattern))
    mode: PlaceMode | None = None
    if "place" in entry:
        mode = document.parse(f"{place}.place", entry["place"], one_of(PlaceMode))
    if not policy.rules and mode is None:
        document.fail(place, "says nothing", "Write place, or a [[policy.rule]].")
    return ConfiguredPolicy(checkpoint, policy, mode)

"""Policies as people write them: tables of TOML, in the configuration and in files.

.. code:: toml

    phases = ["core", "rest"]

    [[rule]]
    paths = ["*.safetensors", "config.json"]
    phase = "core"
    criticality = "critical"

    [[rule]]
    paths = ["*.index.json"]
    after = ["*.safetensors"]
    optional = false
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from ckptd.errors import UsageError
from ckptd.limits import (
    MANIFEST_PHASES_MAX,
    POLICY_GLOBS_MAX,
    POLICY_RULES_MAX,
)
from ckptd.model.nearest import nearest_names
from ckptd.model.patterns import check_pattern
from ckptd.model.policy.rules import Policy, Rule, parse_phase_name
from ckptd.model.toml_text import flag, kind_of, text
from ckptd.model.words import Criticality

POLICY_KEYS: Final = ("phases", "rule")

_RULE_KEYS: Final = ("paths", "phase", "criticality", "after", "optional")
_CRITICALITIES: Final = {each.label: each for each in Criticality}

_T = TypeVar("_T")
Refuse = Callable[[str, UsageError], Exception]
"""Makes the error that a key cannot be used, and why."""


def read_policy(
    table: Mapping[str, object], origin: str, refuse: Refuse, *, keys: Iterable[str] = POLICY_KEYS
) -> Policy:
    """Read a policy.

    Args:
        table: As it was parsed.
        origin: Where it stands, for people; a rule's has its key behind that, as in errors.
        refuse: Makes the error to raise, of a key as ``rule[0].paths``.
        keys: Those that the table may have; the caller reads the others.

    Raises:
        Exception: What ``refuse`` makes.
    """
    reader = _Reader(refuse)
    reader.check_keys("", table, keys)
    phases: tuple[str, ...] = ()
    if "phases" in table:
        phases = reader.read("phases", table["phases"], _phases)
    entries = table.get("rule", [])
    if not isinstance(entries, list):
        problem = f"is {kind_of(entries)}, not a list of tables"
        raise refuse("rule", UsageError("", problem, "Begin each with [[rule]]."))
    if len(entries) > POLICY_RULES_MAX:
        problem = f"has {len(entries)} rules, more than {POLICY_RULES_MAX}"
        raise refuse("rule", UsageError("", problem))
    rules = tuple(
        reader.rule(f"rule[{number}]", entry, phases, f"{origin}rule[{number}]")
        for number, entry in enumerate(entries)
    )
    return Policy(phases, rules)


class _Reader:
    """Reads values, and names the key in errors."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse

    def read(self, key: str, value: object, parse: Callable[[object], _T]) -> _T:
        try:
            return parse(value)
        except UsageError as error:
            raise self._refuse(key, error) from error

    def check_keys(self, prefix: str, table: Iterable[str], known: Iterable[str]) -> None:
        known = tuple(known)
        for key in table:
            if key not in known:
                near = nearest_names(key[:64], known)
                hint = f"Did you mean {prefix}{near[0]}?" if near else ""
                hint = hint or f"Known: {', '.join(known)}."
                error = UsageError("", "is not a key of a policy", hint)
                raise self._refuse(f"{prefix}{key[:64]}", error)

    def rule(self, key: str, entry: object, phases: tuple[str, ...], origin: str) -> Rule:
        if not isinstance(entry, dict):
            problem = f"is {kind_of(entry)}, not a table"
            raise self._refuse(key, UsageError("", problem, "Begin it with [[rule]]."))
        self.check_keys(f"{key}.", entry, _RULE_KEYS)
        if "paths" not in entry:
            hint = 'Write patterns of its units: paths = ["*.safetensors"].'
            raise self._refuse(f"{key}.paths", UsageError("", "is missing", hint))
        paths = self.read(f"{key}.paths", entry["paths"], _globs)
        if not paths:
            raise self._refuse(f"{key}.paths", UsageError("", "is empty"))
        phase = after = criticality = is_optional = None
        if "phase" in entry:
            phase = self.read(f"{key}.phase", entry["phase"], _phase_of(phases))
        if "criticality" in entry:
            criticality = self.read(f"{key}.criticality", entry["criticality"], text(_criticality))
        if "after" in entry:
            after = self.read(f"{key}.after", entry["after"], _globs)
            if both := sorted(set(after).intersection(paths)):
                error = UsageError(f"{both[0]!r}", "is in paths, too", "No unit waits for itself.")
                raise self._refuse(f"{key}.after", error)
        if "optional" in entry:
            is_optional = self.read(f"{key}.optional", entry["optional"], flag)
        if not any(key in entry for key in _RULE_KEYS[1:]):
            problem = "says nothing of its units"
            hint = f"Write one of {', '.join(_RULE_KEYS[1:])}."
            raise self._refuse(key, UsageError("", problem, hint))
        if is_optional and criticality is Criticality.CRITICAL:
            hint = "A critical unit cannot be optional."
            raise self._refuse(f"{key}.optional", UsageError("", "contradicts criticality", hint))
        return Rule(paths, phase, criticality, after, is_optional, origin)


def _phases(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError("", f"is {kind_of(value)}, not a list", 'Write ["core", "rest"].')
    if len(value) > MANIFEST_PHASES_MAX:
        raise UsageError("", f"has {len(value)} phases, more than {MANIFEST_PHASES_MAX}")
    phases = tuple(text(parse_phase_name)(each) for each in value)
    if len(set(phases)) < len(phases):
        twice = next(each for number, each in enumerate(phases) if each in phases[:number])
        raise UsageError(f"{twice!r}", "stands there twice")
    return phases


def _phase_of(phases: tuple[str, ...]) -> Callable[[object], str]:
    def read(word: str) -> str:
        phase = parse_phase_name(word)
        if phases and phase not in phases:
            raise UsageError(
                f"{phase!r}", f"is not one of phases: {', '.join(phases)}", "Put it in order there."
            )
        return phase

    return text(read)


def _criticality(word: str) -> Criticality:
    if word not in _CRITICALITIES:
        raise UsageError(f"{word[:40]!r}", f"is not one of {', '.join(_CRITICALITIES)}")
    return _CRITICALITIES[word]


def _globs(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError("", f"is {kind_of(value)}, not a list", 'Write ["*.safetensors"].')
    if len(value) > POLICY_GLOBS_MAX:
        raise UsageError("", f"has {len(value)} patterns, more than {POLICY_GLOBS_MAX}")
    return tuple(dict.fromkeys(text(check_pattern)(each) for each in value))

"""What a recogniser says of each file of a directory that is described in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ckptd.model.patterns import compile_pattern
from ckptd.model.policy.recognition import Proposal
from ckptd.model.policy.rules import Policy
from ckptd.model.recognisers.recognise import recognise


class Said(NamedTuple):
    """What is said of a file: by the first rule that matches."""

    phase: str
    urgency: str
    why: str


def proposed(files: Iterable[str] | Mapping[str, bytes]) -> Proposal:
    """Return what is proposed of some files; those of a list are empty and cannot be read."""
    contents = files if isinstance(files, Mapping) else dict.fromkeys(files)
    found = recognise({path: len(each or b"") for path, each in contents.items()}, contents.get)
    assert found is not None
    return found


def said_of(files: Iterable[str] | Mapping[str, bytes]) -> dict[str, Said]:
    """Return what is proposed for each file; optional ones have a question mark."""
    policy = proposed(files).policy
    return {path: _said(policy, path) for path in files}


def phases_of(files: Iterable[str] | Mapping[str, bytes]) -> dict[str, str]:
    """Return phase and urgency of each file in a few letters."""
    return {path: f"{said.phase} {said.urgency}" for path, said in said_of(files).items()}


def _said(policy: Policy, path: str) -> Said:
    rule = next(
        each
        for each in policy.rules
        if any(compile_pattern(glob).match(path) for glob in each.paths)
    )
    assert rule.phase in policy.phases
    assert rule.criticality is not None
    urgency = rule.criticality.label + "?" * bool(rule.is_optional)
    return Said(rule.phase or "", urgency, rule.origin)

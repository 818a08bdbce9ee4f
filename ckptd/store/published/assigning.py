"""What is said of the files that are published: by whoever publishes, policies and recognisers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptd.model.policy.assignment import Assignment, assign
from ckptd.model.policy.rules import Policy, Rule, parse_phase_name
from ckptd.model.shards import split_shard
from ckptd.model.words import Criticality
from ckptd.store.files.layout import POLICY_FILE
from ckptd.store.files.roots import Root
from ckptd.store.published.candidates import Candidates
from ckptd.store.published.inner_names import InnerNames
from ckptd.store.published.policy_files import BESIDE, policy_in
from ckptd.store.published.scanning import PublishOrder


def policies_of(
    root: Root, relative: str, request: PublishOrder, proposed: Policy | None
) -> tuple[Policy, ...]:
    """Return the policies that count, in order of precedence.

    What was typed counts first, then a policy inside the directory, then one beside it, then those
    of the configuration, then what a recogniser proposes.

    Args:
        root: Where the directory lies.
        relative: Its path below the root.
        request: What is published.
        proposed: What a recogniser proposes, if that counts.

    Raises:
        UsageError: A policy cannot be used.
        StorageError: A policy cannot be read.
    """
    return (
        _typed_policy(request),
        *_in_files(root, relative, request),
        *request.policies,
        *(() if proposed is None else (proposed,)),
    )


def assigned(
    request: PublishOrder, policies: Iterable[Policy], files: Candidates, inner: InnerNames
) -> Assignment:
    """Say what each file is.

    Args:
        request: What is published.
        policies: In order of precedence.
        files: All that is published.
        inner: Links that name files, too.

    Raises:
        UsageError: Patterns do not fit these files.
    """
    return assign(
        files.paths,
        policies,
        also_called=inner.also_called,
        is_part=split_shard(request.checkpoint) is not None,
    )


def _typed_policy(request: PublishOrder) -> Policy:
    """Return what was said for this publishing alone.

    Raises:
        UsageError: A name of a phase that there cannot be.
    """
    rules: list[Rule] = []
    for option, globs, criticality in (
        ("critical", request.critical, Criticality.CRITICAL),
        ("deferred", request.deferred, Criticality.DEFERRED),
    ):
        rules += (
            Rule(
                (glob,),
                criticality=criticality,
                origin=f"--{option} {glob!r}",
                must_match=True,
            )
            for glob in globs
        )
    rules += (
        Rule((glob,), is_optional=True, origin=f"--optional {glob!r}", must_match=True)
        for glob in request.optional
    )
    rules += (
        Rule(
            (glob,),
            phase=parse_phase_name(phase),
            origin=f"--phase {phase} {glob!r}",
            must_match=True,
        )
        for phase, glob in request.phases
    )
    prerequisites: dict[str, list[str]] = {}
    for glob, before in request.after:
        prerequisites.setdefault(glob, []).append(before)
    rules += (
        Rule((glob,), after=tuple(before), origin=f"--after {glob!r}", must_match=True)
        for glob, before in prerequisites.items()
    )
    return Policy((), tuple(rules))


def _in_files(root: Root, relative: str, request: PublishOrder) -> Iterator[Policy]:
    """Yield the policies that lie with what is published; a single file's beside it."""
    if request.only:
        beside: str | None = relative
    else:
        beside = relative.rpartition("/")[0] if relative else None
        if request.reads_policy_inside and (policy := policy_in(root, relative, POLICY_FILE)):
            yield policy
    if beside is not None and (policy := policy_in(root, beside, BESIDE)):
        yield policy

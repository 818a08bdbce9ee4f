"""Questions for manifests whose answer nobody waits for any more."""

from __future__ import annotations

from ckptd.core.effects import DropManifest
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import Digest, PathId


def drop_questions(step: Step, recovery: Recovery) -> None:
    """Wait for no manifest any more."""
    for path, digest in recovery.search.asked.items():
        drop_question(step, recovery, path, digest)


def drop_question(step: Step, recovery: Recovery, path: PathId | None, digest: Digest) -> None:
    """Wait for one manifest no longer; a question to this node itself ends soon anyway.

    Args:
        step: The event being handled.
        recovery: For which recovery it was asked.
        path: Of which source; ``None``: of this node.
        digest: Which manifest.
    """
    if path is not None and path not in recovery.search.dropped:
        recovery.search.dropped.add(path)
        step.order(DropManifest(recovery.id, path, digest))

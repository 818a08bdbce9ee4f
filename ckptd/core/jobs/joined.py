"""What comes of joining manifests: one content that peers have as far as they have its shards."""

from __future__ import annotations

from typing import Final

from ckptd.core.events import JoinRefused, ManifestsJoined
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step


def on_manifests_joined(step: Step, recovery: Recovery, event: ManifestsJoined) -> None:
    """Take note of what the shards are together."""
    recovery.local.pending_order = None
    recovery.joining.joint = event.joint


def on_join_refused(step: Step, recovery: Recovery, event: JoinRefused) -> None:
    """Take note that the shards cannot be one."""
    recovery.local.pending_order = None


HANDLERS: Final = (
    RecoveryHandler(ManifestsJoined, on_manifests_joined),
    RecoveryHandler(JoinRefused, on_join_refused),
)
"""What is taken in here."""

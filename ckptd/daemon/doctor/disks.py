"""What to do about a root that cannot be used."""

from __future__ import annotations

from ckptd.store.files.permission import writing_remedy
from ckptd.store.files.roots import SHUT, Root


def remedy_of(root: Root, obstacle: str) -> str:
    """Say what to do about what is in the way of a root."""
    allow = f"ReadWritePaths={root.path}, below /home ProtectHome=no as well"
    if obstacle == SHUT:
        return (
            "Restart ckptd: what appeared after its start stays read-only for it. If that changes "
            f"nothing, set {allow}."
        )
    if remedy := writing_remedy(obstacle, root.path):
        return remedy
    return f"If it should be another directory by now, restart ckptd. Under systemd set {allow}."

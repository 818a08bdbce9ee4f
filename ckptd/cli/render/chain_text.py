"""What a delta version stands on, as text for people."""

from __future__ import annotations

from ckptd.control.messages.chains import ChainView


def chain_text(view: ChainView) -> str:
    """Say on what a version is a delta, and how far down its chain is here."""
    text = f"delta on {view.base}"
    if view.lacking == view.base:
        return f"{text}, which is not here"
    if view.lacking is not None:
        return f"{text}, chain of {view.deltas} here; {view.lacking}, on which it stands, is not"
    return text if view.deltas == 1 else f"{text}, chain of {view.deltas} to {view.full}"

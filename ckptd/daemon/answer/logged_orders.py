"""Who ordered what, for the log. Called for each order on the control socket."""

from __future__ import annotations

from ckptd.control.server.dispatch import Ordered
from ckptd.observe.logs import get_logger

_log = get_logger()


def log_order(ordered: Ordered) -> None:
    """Write down who ordered what."""
    who = {"uid": ordered.uid, "user": ordered.user, "verb": ordered.verb}
    if not ordered.is_permitted:
        _log.warning("caller.refused", **who)
    elif "offset" in ordered.facts:  # a range: thousands a second
        _log.debug("caller.needed", **who, **ordered.facts)
    elif ordered.verb == "need":  # a job has thousands; they must not crowd others out
        _log.info("caller.needed", **who, **ordered.facts)
    else:
        _log.info("caller.ordered", **who, **ordered.facts)

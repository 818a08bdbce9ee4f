"""What to do about a peer of which nothing can be had, by the reason for it.

The reason is what the other end, or the library that was asked, said; a firewall is only blamed
for what a firewall does: silence.
"""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple

_FAILED: Final = "TLS handshake failed: "

_REMEDIES: Final = (
    (
        ("cannot be looked up",),
        "Is the name right in [discovery] peers, and is it known here ('getent hosts NAME')?",
    ),
    (
        (os.strerror(errno.ECONNREFUSED),),
        "Nothing listens there: is ckptd running, and is that the address of its listen.data?",
    ),
    (
        (os.strerror(errno.EHOSTUNREACH), os.strerror(errno.ENETUNREACH)),
        "Is the machine up, and does this one have a route to it ('ip route get ADDRESS')?",
    ),
    (
        ("does not answer", "no connection within", "in time", os.strerror(errno.ETIMEDOUT)),
        "Is the machine up? If it is, a firewall may swallow what goes to its data port.",
    ),
    (
        (os.strerror(errno.ECONNRESET), os.strerror(errno.EPIPE), "Server disconnected"),
        "It closed the connection: its log says why, unless something in between did.",
    ),
    (
        ("answers too slowly", "too slow"),
        "It is overloaded, or the network to it is: look at its log, and with 'iperf3'.",
    ),
    (
        ("makes no sense",),
        "Something else than ckptd answers at that address, or another release of it.",
    ),
)
"""What reasons contain, and what to do then; the first that fits."""

_LOG: Final = "Look at its log; 'ckptctl peers' shows what is known of it."


class Remedied(NamedTuple):
    """Why nothing can be had of a peer, and what to do about it."""

    why: str
    remedy: str


def remedied(reason: str, own_trouble: str = "") -> Remedied:
    """Say what to do about a peer.

    Args:
        reason: Why nothing can be had of it, as it was said.
        own_trouble: Why no handshake of this node can succeed now; empty if one can.
    """
    is_handshake = _FAILED in reason or "certificate" in reason
    if own_trouble and is_handshake:
        remedy = "Nothing is wrong there: put this node's certificate or its clock right first."
        return Remedied(own_trouble, remedy)
    if _FAILED in reason:
        # The library's word, then what is to be done about that one: it says both.
        why, _, remedy = reason.partition(". ")
        return Remedied(why, remedy or _LOG)
    for signs, remedy in _REMEDIES:
        if any(sign in reason for sign in signs):
            return Remedied(reason, remedy)
    if "certificate" in reason:
        return Remedied(reason, "Renew it there with 'ckptctl tls renew', or set the clock right.")
    return Remedied(reason, _LOG)

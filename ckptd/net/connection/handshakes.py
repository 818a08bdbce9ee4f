"""Handshakes that failed: why, how often, what to do about it, and when to try again."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

from ckptd.model.words import HandshakeFailure, HandshakeSide

_log = logging.getLogger(__name__)
_K = TypeVar("_K")
_V = TypeVar("_V")

_DIAL_PAUSE_S: Final = 5.0
"""A peer that refuses is dialled twelve times a minute at most."""
_LOG_PAUSE_S: Final = 60.0
_ADDRESSES_REMEMBERED_MAX: Final = 4096
"""Addresses, of either table below; the oldest make room."""


_REMEDIES: Final = {
    HandshakeFailure.NO_CERTIFICATE: "It has no [tls] section, or is no ckptd.",
    HandshakeFailure.UNTRUSTED: "Its certificate is of another authority than tls.ca: compare "
    "both with 'ckptctl tls show'.",
    HandshakeFailure.EXPIRED: "Its certificate has expired: 'ckptctl tls renew' it; or a clock is "
    "wrong.",
    HandshakeFailure.NOT_YET_VALID: "Its certificate is not valid yet: set the clock here or "
    "there, or wait.",
    HandshakeFailure.PURPOSE: "Its certificate is not for servers and clients: make one with "
    "'ckptctl tls issue'.",
    HandshakeFailure.REVOKED: "Its certificate is in tls.revoked.",
    HandshakeFailure.WRONG_NODE: "Its certificate must name its own node.id, and no other.",
    HandshakeFailure.SELF: "Nothing is wrong if this node is in its own list of peers.",
    HandshakeFailure.PLAINTEXT: "It has no [tls] section, or is no ckptd.",
    HandshakeFailure.PROTOCOL: "It must speak TLS 1.3 and offer ckptd/1.",
    HandshakeFailure.REFUSED: "It did not accept this node's certificate; its log says why.",
    HandshakeFailure.TIMEOUT: "It is stuck, or no ckptd.",
    HandshakeFailure.DISCONNECTED: "It ended, or is no ckptd.",
}

_BRIEFLY: Final = {
    HandshakeFailure.EXPIRED: "its certificate has expired",
    HandshakeFailure.NOT_YET_VALID: "its certificate is not valid yet (is the clock right?)",
}
"""Failures that time alone brings about; they say all there is to say."""

_VERIFY_CODES: Final = {
    9: HandshakeFailure.NOT_YET_VALID,  # X509_V_ERR_CERT_NOT_YET_VALID
    10: HandshakeFailure.EXPIRED,  # X509_V_ERR_CERT_HAS_EXPIRED
    26: HandshakeFailure.PURPOSE,  # X509_V_ERR_INVALID_PURPOSE
}
_HANDSHAKE_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": HandshakeFailure.NO_CERTIFICATE,
    "HTTP_REQUEST": HandshakeFailure.PLAINTEXT,
    "WRONG_VERSION_NUMBER": HandshakeFailure.PLAINTEXT,
    "TLSV1_ALERT_PROTOCOL_VERSION": HandshakeFailure.PROTOCOL,
}


class HandshakeFailed(ConnectionError):
    """A peer is not who it must be, or does not accept who this node is."""

    def __init__(self, failure: HandshakeFailure, detail: str = "") -> None:
        super().__init__(failure, detail)
        self.failure = failure
        self.detail = detail

    @property
    def brief(self) -> str:
        """What is wrong with the peer, as half a sentence about it."""
        return _BRIEFLY.get(self.failure, str(self))

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"TLS handshake failed: {self.failure}{detail}. {_REMEDIES[self.failure]}"


def failure_of(error: ssl.SSLError) -> HandshakeFailure:
    """Say in our words what OpenSSL complains about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, HandshakeFailure.UNTRUSTED)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return HandshakeFailure.DISCONNECTED
    reason = error.reason or ""
    if reason in _HANDSHAKE_REASONS:
        return _HANDSHAKE_REASONS[reason]
    return HandshakeFailure.REFUSED if "_ALERT_" in reason else HandshakeFailure.PROTOCOL


def trouble_of(error: Exception) -> str:
    """Say why nothing came of a connection, as half a sentence about the other end."""
    if isinstance(error, HandshakeFailed):
        return error.brief
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


class Handshakes:
    """Remembers what failed; used on the event loop.

    Attributes:
        failures: How many handshakes failed since the start, by side and reason.

    Args:
        clock_s: Monotonic time in seconds.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()
        self._clock_s = clock_s
        self._logged_s: dict[tuple[str, HandshakeFailure], float] = {}
        # Not the exceptions: their tracebacks would keep what the failed dial had open.
        self._failed: dict[tuple[str, int], tuple[float, HandshakeFailure, str]] = {}

    def note(self, side: HandshakeSide, address: tuple[str, int], failed: HandshakeFailed) -> None:
        """Count a failure, and log it: a line a minute for each address and reason.

        That it is this node itself is only remembered.

        Args:
            side: Which end this node was.
            address: Host and port of the other end.
            failed: Why.
        """
        now_s = self._clock_s()
        where = address[0]
        if side is HandshakeSide.CLIENT:
            where = f"{where} port {address[1]}"
            _remember(self._failed, address, (now_s, failed.failure, failed.detail))
        logged = (where, failed.failure)
        if failed.failure is HandshakeFailure.SELF:
            return  # no failure: many nodes have one list of peers, with themselves in it
        self.failures[side, failed.failure] += 1
        if now_s - self._logged_s.get(logged, -_LOG_PAUSE_S) >= _LOG_PAUSE_S:
            _remember(self._logged_s, logged, now_s)
            _log.warning("%s, as %s: %s", where, side, failed)

    def check_dial(self, address: tuple[str, int]) -> None:
        """Refuse to dial an address whose last handshake failed a moment ago.

        Raises:
            HandshakeFailed: As it did then; not counted again.
        """
        known = self._failed.get(address)
        if known is not None and self._clock_s() - known[0] < _DIAL_PAUSE_S:
            raise HandshakeFailed(*known[1:])

    def forget(self, address: tuple[str, int]) -> None:
        """Take note that an address answers."""
        self._failed.pop(address, None)


def _remember(table: dict[_K, _V], key: _K, value: _V) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > _ADDRESSES_REMEMBERED_MAX:
        del table[next(iter(table))]

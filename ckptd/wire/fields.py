"""Header fields of the peer protocol, and how their values read.

Advice from a peer that makes no sense (a load, a preference) is ignored, not refused.
"""

from __future__ import annotations

import re
from typing import Final

from ckptd.limits import HOLDINGS_WAIT_MAX_NS, SECOND
from ckptd.model.ids import Epoch
from ckptd.model.words import RefusalReason, Urgency

NODE: Final = "Ckptd-Node"
EPOCH: Final = "Ckptd-Epoch"
LOAD: Final = "Ckptd-Load"
"""Bytes a source has accepted to send and not sent yet."""
CLASS: Final = "Ckptd-Class"
"""How urgent a request is."""
BLOCKS: Final = "Ckptd-Blocks"
"""Blocks that were bad when they came; in an answer those that were wrong at the source."""
DELTA: Final = "Ckptd-Delta"
"""``1``: what changed in the holdings since the entity tag is enough of an answer."""
ADDRESSES: Final = "Ckptd-Addresses"
"""Where a node answers, as it says itself: shown to people, and never dialled."""
REFUSED: Final = "Ckptd-Refused"
"""Which cap is reached, in the answer to a connection for which there is no place."""

CLASSES: Final = tuple(urgency.label for urgency in Urgency)
CLASS_DEFAULT: Final = Urgency.NORMAL
"""For those who do not say, like ``curl``."""

RETRY_AFTER_MAX_S: Final = 60
"""A source that wants to be left alone for longer is asked again all the same."""
RETRY_AFTER_DEFAULT_S: Final = 1
"""For a busy source that does not say how long."""

_WAIT: Final = re.compile(r"(?:^|,)\s*(?i:wait)\s*=\s*\"?(\d{1,9})\"?\s*(?:[,;]|$)", re.ASCII)
_NO_WEIGHT: Final = re.compile(r"q\s*=\s*0(?:\.0*)?", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,19}", re.ASCII)
_REVISION: Final = re.compile(r"\"(\d{1,19})-(\d{1,19})\"", re.ASCII)


def quote_etag(text: str) -> str:
    """Return a strong entity tag."""
    return f'"{text}"'


def revision_etag(epoch: Epoch, revision: int) -> str:
    """Return the entity tag of the holdings at a revision."""
    return quote_etag(f"{epoch}-{revision}")


def parse_revision(value: str | None, epoch: Epoch) -> int | None:
    """Return the revision that one entity tag names; ``None`` if it is not of this epoch."""
    match = _REVISION.fullmatch(value or "")
    return int(match[2]) if match and int(match[1]) == epoch else None


def accepts_zstd(value: str | None) -> bool:
    """Tell whether ``Accept-Encoding`` names zstd, and does not rule it out."""
    for each in (value or "").lower().split(","):
        coding, *parameters = (word.strip() for word in each.split(";"))
        if coding == "zstd":
            return not any(_NO_WEIGHT.fullmatch(word) for word in parameters)
    return False


def etag_listed(value: str | None, etag: str) -> bool:
    """Tell whether an ``If-None-Match`` field names an entity tag, compared weakly."""
    if value is None:
        return False
    listed = (item.strip().removeprefix("W/") for item in value.split(","))
    return value.strip() == "*" or etag in listed


def parse_wait(prefer: str | None) -> int:
    """Return for how many seconds a ``Prefer`` field lets the answer wait (RFC 7240), capped."""
    match = _WAIT.search(prefer or "")
    return min(int(match[1]), HOLDINGS_WAIT_MAX_NS // SECOND) if match else 0


def parse_load(value: str | None) -> int:
    """Return the load in a ``Ckptd-Load`` field in bytes; 0 if it makes no sense."""
    return int(value) if value and _NUMBER.fullmatch(value) else 0


def parse_retry_after(value: str | None) -> int:
    """Return for how many seconds a source wants to be left alone, capped."""
    if value is None or not _NUMBER.fullmatch(value):
        return RETRY_AFTER_DEFAULT_S
    return min(int(value), RETRY_AFTER_MAX_S)


def parse_refused(value: str | None) -> RefusalReason | None:
    """Return which cap of a source is reached; ``None`` if that is not what it says."""
    capped = (reason for reason in RefusalReason if reason.cap)
    return next((reason for reason in capped if reason.value == value), None)


def parse_class(value: str | None) -> Urgency:
    """Return the class of a request."""
    return Urgency(CLASSES.index(value)) if value in CLASSES else CLASS_DEFAULT

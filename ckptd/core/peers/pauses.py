"""How long to wait between two questions to one address, and between two look-ups of a name."""

from __future__ import annotations

from random import Random
from typing import Final

from ckptd.limits import MS, SECOND

REFUSED_PAUSE_NS: Final = 10 * SECOND
"""Pause after a handshake that failed, half of it at least; it takes a person to change that."""
SHORT_PAUSE_NS: Final = 1 * SECOND
"""Pause while this node has no descriptor left to ask with."""
STRANGE_PAUSE_NS: Final = 30 * SECOND
"""Pause after an address turned out to be another node than may be there, or a second of one id.
The latter is asked at once when the first one is lost."""
SELF_PAUSE_NS: Final = 300 * SECOND
"""Pause after an address turned out to be this node itself, which does not change by itself."""
_PAUSE_MIN_NS: Final = 50 * MS
"""Pause after an answer: a peer that answers everything at once is not asked in a tight loop."""
_ANSWERS_PER_S: Final = 400
"""With so many peers that there would be more answers than this, the pauses are longer. To ask
and to take in an answer costs a third of a millisecond: an eighth of a core, and no more with a
thousand peers that recover."""
_WAIT_MIN_NS: Final = 10 * SECOND
_WAIT_MAX_NS: Final = 60 * SECOND
_QUESTIONS_PER_S: Final = 1
"""How long a question is kept open while nothing changes: with so many followed that more would end
than this in a second, longer. To ask again and to answer as much costs a millisecond; every ten
seconds 63 peers took 0.6 % of a core of a daemon that had nothing to do."""
_BACK_OFF_FIRST_NS: Final = 250 * MS
_BACK_OFF_MAX_NS: Final = 3 * SECOND
"""A holder that returns is found again within this, where few are missing."""
_DEAD_BACK_OFF_MAX_NS: Final = 25 * SECOND
"""… and within this and the time that it takes to connect, however many are. One that returns
asks its peers what they hold, and is asked back at once."""
_DIALS_PER_S: Final = 40
"""So many addresses that do not answer are dialled in a second. A dial costs a tenth of a
millisecond: of a thousand peers that are switched off nothing is to be noticed."""

_CROWD_SHARE: Final = 6
"""With so many dead the first pause is this part of the longest, so that there is no flood when all
are lost at once."""
_LOOK_UP_PAUSE_NS: Final = 40 * SECOND
_MISSING_PAUSE_NS: Final = 10 * SECOND
"""Pauses between two look-ups of a name: one that changed is followed within a minute. A thousand
names are thirty look-ups a second."""


def back_off_ns(failures: int, dead: int = 0) -> int:
    """Return the pause after a failure.

    Args:
        failures: Failures in a row before this one.
        dead: How many addresses do not answer.
    """
    most_ns = max(_BACK_OFF_MAX_NS, min(dead * SECOND // _DIALS_PER_S, _DEAD_BACK_OFF_MAX_NS))
    is_crowd = most_ns > _BACK_OFF_MAX_NS
    first_ns = most_ns // _CROWD_SHARE if is_crowd else _BACK_OFF_FIRST_NS
    return min(first_ns << min(failures, 10), most_ns)


def after_answer_ns(followed_count: int) -> int:
    """Return the pause after an answer of one of so many peers that are followed."""
    return max(_PAUSE_MIN_NS, followed_count * SECOND // _ANSWERS_PER_S)


def wait_ns(followed_count: int) -> int:
    """Return how long each of so many peers may hold a question back (RFC 7240, ``wait``)."""
    return min(max(_WAIT_MIN_NS, followed_count * SECOND // _QUESTIONS_PER_S), _WAIT_MAX_NS)


def spread_ns(pause_ns: int, rng: Random) -> int:
    """Return a pause between half of this one and all of it: nodes must not ask in step."""
    return int(pause_ns * (0.5 + rng.random() / 2))


def look_up_pause_ns(failures: int, dead: int = 0, *, is_missing: bool = False) -> int:
    """Return the pause between two look-ups of a name.

    Args:
        failures: Look-ups without an answer, in a row.
        dead: How many names cannot be looked up.
        is_missing: An address was not in the last answer, and is not given up yet.
    """
    if failures:
        return back_off_ns(failures - 1, dead)
    return _MISSING_PAUSE_NS if is_missing else _LOOK_UP_PAUSE_NS

"""A daemon that asks peers that are strange or silent again by itself only after minutes.

So what it does at once is seen on a machine of any speed.
"""

from __future__ import annotations

import sys
from typing import Final

from ckptd.cli.daemon import main
from ckptd.core.peers import pauses
from ckptd.limits import SECOND

_HOUR_NS: Final = 3600 * SECOND
_PAUSES: Final = {
    "STRANGE_PAUSE_NS": _HOUR_NS,
    "_DEAD_BACK_OFF_MAX_NS": _HOUR_NS,
    "_DIALS_PER_S": 1,
}

if __name__ == "__main__":
    for name, value in _PAUSES.items():
        assert hasattr(pauses, name)
        setattr(pauses, name, value)
    sys.exit(main())

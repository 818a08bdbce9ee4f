"""A daemon that dies by SIGKILL when it is about to write down that a version is to be active.

``KILLED`` names the method of :class:`ActiveRecords` in which it dies.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from ckptd.cli.daemon import main
from ckptd.store.records.active_records import ActiveRecords, ActiveVersion


async def _die(_: ActiveRecords, __: ActiveVersion) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL is not survived")


if __name__ == "__main__":
    setattr(ActiveRecords, os.environ["KILLED"], _die)
    sys.exit(main())

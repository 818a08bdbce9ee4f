"""State directories that older versions of ckptd left, with what was in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.making_old_state import CUT, EVAL, SMALL

_STATES: Final = Path(__file__).parents[1] / "unit/store/records/states"

EXPECTED: Final[dict[str, Any]] = json.loads((_STATES / "96a4e59.json").read_text())
"""What that version itself read from the database: recoveries, blocks, reports, versions,
signatures and newest marks."""


def state_of_96a4e59(directory: Path) -> Path:
    """Put the database of a killed receiver into a directory; return its path there.

    Its root is ``main``. It had published ``local/eval`` 9 and 7, had recovered ``llama/rank-3``
    100, had failed and cancelled others, and was recovering ``llama/rank-3`` 200 when it was
    killed, beside one recovery that was paused and one that waited for a source.
    """
    return Path(shutil.copy(_STATES / "96a4e59.db", directory / "ckptd.db"))


EXPECTED_0D100DF: Final[dict[str, Any]] = json.loads((_STATES / "0d100df.json").read_text())
"""The rows of the database, as SQLite read them; see ``making_old_state``."""

STOOD_IN_0D100DF: Final[Mapping[str, Mapping[str, bytes]]] = {
    "eval/7": {**EVAL, "version": b"7"},
    "eval/9": {**EVAL, "version": b"9"},
    "llama/rank-3/100": SMALL,
    "llama/rank-3/150": {"config.json": CUT["config.json"]},  # recovered without its weights
}
"""What was on offer, by directory below the root ``main``."""


def state_of_0d100df(directory: Path) -> Path:
    """Put the database of a killed receiver into a directory; return its path there.

    Like that of 96a4e59, and ``llama/rank-3`` 150 was recovered in part.
    """
    return Path(shutil.copy(_STATES / "0d100df.db", directory / "ckptd.db"))

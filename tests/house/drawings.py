"""Drawings in the documents that are made of tables in the code: ``make manual``.

``python -m tests.house.drawings`` writes them. Each stands between two lines that say of what.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from ckptd.model.life import drawing

PROJECT: Final = Path(__file__).parents[2]
LIFE: Final = "docs/operating.md"
_HEAD: Final = "<!-- made by make manual of ckptd/model/life.py -->"
_END: Final = "<!-- end -->"
_PLACE: Final = re.compile(f"{re.escape(_HEAD)}\n.*?{re.escape(_END)}\n", re.DOTALL)


def with_drawing(document: str) -> str:
    """Return a document with the drawing as the table says.

    Raises:
        ValueError: It has no place for it, or several.
    """
    drawn = f"{_HEAD}\n\n```\n{drawing()}```\n\n{_END}\n"
    found, count = _PLACE.subn(lambda _: drawn, document)
    if count != 1:
        raise ValueError(f"there are {count} places for the drawing, not one")
    return found


def main() -> int:
    """Write the drawings into the documents."""
    path = PROJECT / LIFE
    path.write_text(with_drawing(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

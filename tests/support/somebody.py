"""Being somebody for whom modes count."""

from __future__ import annotations

import encodings.ascii  # noqa: F401 -- Python's own files may be closed to somebody
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

from ckptd.store.files.permission import user_name

SOMEBODY = 65534


@contextmanager
def somebody() -> Iterator[str]:
    """Be somebody for whom modes count, for a while."""
    own = os.geteuid()
    user_name.cache_clear()
    if own == 0:
        os.seteuid(SOMEBODY)
    try:
        yield pwd.getpwuid(os.geteuid()).pw_name
    finally:
        os.seteuid(own)
        user_name.cache_clear()

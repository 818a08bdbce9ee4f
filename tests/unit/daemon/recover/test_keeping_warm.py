from __future__ import annotations

import pytest

from ckptd.config.sections import RecoverySection
from ckptd.daemon.recover import keeping_warm
from ckptd.daemon.recover.keeping_warm import warm_bound
from ckptd.limits import GIB
from ckptd.model.words import WriteMode

DIRECT = WriteMode.DIRECT


@pytest.mark.parametrize(
    ("section", "bound_bytes"),
    [
        (RecoverySection(), 4 * GIB),
        (RecoverySection(drop_written=True), 0),
        (RecoverySection(write_mode=DIRECT), 0),
        (RecoverySection(keep_warm_bytes=0), 0),
        (RecoverySection(keep_warm_bytes=GIB, drop_written=True, write_mode=DIRECT), GIB),
        (RecoverySection(keep_warm_bytes=64 * GIB), 64 * GIB),
    ],
)
def test_what_is_said_counts_and_else_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, section: RecoverySection, bound_bytes: int
) -> None:
    monkeypatch.setattr(keeping_warm, "memory_bytes", lambda: 8 * GIB)
    assert warm_bound(section) == bound_bytes

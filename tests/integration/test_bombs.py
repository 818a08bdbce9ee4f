"""What a real daemon needs for the largest manifests, whoever made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.limits import MANIFEST_BYTES_MAX, MIB
from tests.benchmarks.bombs import PEAK_MAX_BYTES, explode
from tests.support.bombs import BOMBS

pytestmark = pytest.mark.integration

KINDS = {
    "large files": "nothing is known of any checkpoint",  # read to the end: of another version
    "deep paths": "nothing is known of any checkpoint",
    "annotations": "says more in one place than it may",
    "facts of one unit": "says more in one place than it may",
}
SIZES = {"deep paths": 16 * MIB}
"""Others are 64 MiB; that would take seconds. With less, what a first recovery takes for threads
and their arenas, up to 9 MiB however large a manifest is, would count as much as the manifest."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_manifest_takes_more_than_128_mib(tmp_path: Path, kind: str) -> None:
    outcome = explode(tmp_path / "receiver", BOMBS[kind](SIZES.get(kind, MANIFEST_BYTES_MAX)))
    assert KINDS[kind] in outcome.message
    assert outcome.peak_bytes <= PEAK_MAX_BYTES * SIZES.get(kind, MANIFEST_BYTES_MAX) // (
        MANIFEST_BYTES_MAX
    )

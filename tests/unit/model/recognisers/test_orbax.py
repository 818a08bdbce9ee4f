"""Directories as Orbax writes them."""

from __future__ import annotations

import pytest

from tests.support.recognising import phases_of, proposed

FIRST, WEIGHTS, LATER = "core critical", "core normal", "rest deferred"

ONE_ITEM = {
    "_CHECKPOINT_METADATA": FIRST,
    "default/_METADATA": FIRST,
    "default/_sharding": FIRST,
    "default/manifest.ocdbt": FIRST,
    "default/array_metadatas/process_0": WEIGHTS,
    "default/d/1c30": WEIGHTS,
    "default/ocdbt.process_0/manifest.ocdbt": WEIGHTS,
    "default/ocdbt.process_0/d/88af": WEIGHTS,
    "metrics/metrics": WEIGHTS,
}
ITEMS = {
    "_CHECKPOINT_METADATA": FIRST,
    "commit_success.txt": FIRST,
    "params/_METADATA": FIRST,
    "params/manifest.ocdbt": FIRST,
    "params/d/1": WEIGHTS,
    "opt_state/_METADATA": LATER,
    "opt_state/manifest.ocdbt": LATER,
    "opt_state/d/1": LATER,
}
ALONE = {
    "_CHECKPOINT_METADATA": FIRST,
    "_METADATA": FIRST,
    "manifest.ocdbt": FIRST,
    "d/1": WEIGHTS,
}


@pytest.mark.parametrize("files", [ONE_ITEM, ITEMS, ALONE])
def test_metadata_is_first_and_items_of_a_jobs_state_last(files: dict[str, str]) -> None:
    assert phases_of(list(files)) == files
    assert proposed(list(files)).format == "Orbax"

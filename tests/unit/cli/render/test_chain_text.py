"""What a delta version stands on, as people read it."""

from __future__ import annotations

import pytest
from msgspec import structs

from ckptd.cli.render.chain_text import chain_text
from ckptd.cli.render.checkpoint_text import checkpoint_lines
from ckptd.cli.render.manifest_text import manifest_lines
from ckptd.control.messages.chains import ChainView
from ckptd.model.words import Location
from tests.support.control_samples import CHECKPOINT, MANIFEST, PLACE

CHAIN = ChainView(base=41, base_digest=None, encoding="xor", deltas=5, full=37, lacking=None)


@pytest.mark.parametrize(
    ("deltas", "full", "lacking", "text"),
    [
        (5, 37, None, "delta on 41, chain of 5 to 37"),
        (1, 41, None, "delta on 41"),
        (1, None, 41, "delta on 41, which is not here"),
        (3, None, 39, "delta on 41, chain of 3 here; 39, on which it stands, is not"),
    ],
)
def test_a_chain_is_said(deltas: int, full: int | None, lacking: int | None, text: str) -> None:
    view = structs.replace(CHAIN, deltas=deltas, full=full, lacking=lacking)
    assert chain_text(view) == text


def test_it_stands_below_the_version_before_its_places() -> None:
    places = (PLACE, structs.replace(PLACE, directory="/data/old"))
    row = structs.replace(CHECKPOINT, held=Location.HERE, places=places, chain=CHAIN)
    _, _, *more = checkpoint_lines([row])
    assert more[0] == "  delta on 41, chain of 5 to 37"
    assert more[1:] == ["  /data/llama/rank-0/100: here", "  /data/old: here"]


def test_a_manifest_says_what_it_stands_on_or_was_made_of() -> None:
    lines = manifest_lines(structs.replace(MANIFEST, chain=CHAIN))
    assert lines[2] == "delta on 41, chain of 5 to 37"
    lines = manifest_lines(structs.replace(MANIFEST, made_of="ab" * 32))
    assert lines[2] == f"full version, made of {'ab' * 32}"

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.errors import ContentChanged
from ckptd.store.files.roots import Root
from ckptd.store.materialising.verified_blocks import VerifiedBlocks, VerifiedUnit
from ckptd.store.published.serving import ServedPlace, ServedVersion
from tests.support.stores import publish, rot, served_from, write_files

CONTENT = bytes(number * 7 % 251 for number in range(700_000))
"""Three blocks, of which the last one is short."""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    write_files(tmp_path / "v", {"a": CONTENT, "b": b"other"})
    return Root.open("data", str(tmp_path))


@pytest.mark.parametrize("kept_bytes", [0, 300_000, 10_000_000])
def test_bytes_are_those_of_the_unit_wherever_blocks_end(root: Root, kept_bytes: int) -> None:
    version = served_from(root, publish(root, "v"))
    blocks = VerifiedBlocks(kept_bytes)
    unit = VerifiedUnit(blocks, version, 0)
    assert (unit.path, unit.size_bytes) == ("a", len(CONTENT))
    assert VerifiedUnit(blocks, version, 1).read(1, 4) == b"the"
    for start, end in ((0, 0), (0, 1), (5, 262_144), (262_143, 600_000), (0, 700_000)):
        assert unit.read(start, end) == CONTENT[start:end]


def test_a_block_that_is_kept_is_not_read_again(root: Root, tmp_path: Path) -> None:
    version = served_from(root, publish(root, "v"))
    kept, dropped = VerifiedBlocks(300_000), VerifiedBlocks(0)
    assert VerifiedUnit(kept, version, 0).read(10, 12) == CONTENT[10:12]
    VerifiedUnit(dropped, version, 0).read(10, 12)
    VerifiedUnit(dropped, version, 0).read(300_000, 300_001)
    (tmp_path / "v/a").write_bytes(b"changed")
    assert VerifiedUnit(kept, version, 0).read(10, 12) == CONTENT[10:12]
    with pytest.raises(ContentChanged):
        VerifiedUnit(dropped, version, 0).read(10, 12)


def test_a_rotten_block_is_not_used_and_its_place_is_doubted(root: Root) -> None:
    rotten = rot(root, publish(root, "v"), 0, offset=300_000)
    bad = []
    version = ServedVersion(
        [ServedPlace(1, root, rotten)], on_bad=lambda number, unit, _: bad.append((number, unit))
    )
    unit = VerifiedUnit(VerifiedBlocks(), version, 0)
    assert unit.read(0, 262_144) == CONTENT[:262_144]
    with pytest.raises(ContentChanged):
        unit.read(262_144, 262_145)
    assert bad == [(1, 0)]


def test_what_is_not_here_is_said_so(root: Root) -> None:
    version = ServedVersion([ServedPlace(1, root, publish(root, "v"), unusable=frozenset((0,)))])
    with pytest.raises(ContentChanged, match=r"unit a of \S+@\d+: is not here any more, or not"):
        VerifiedUnit(VerifiedBlocks(), version, 0).read(0, 1)

"""How much of a version is new, exactly where it is small, and as a fair sample where it is not."""

from __future__ import annotations

import pytest
from blake3 import blake3

from ckptd.model.block_samples import BLOCKS_SAMPLED_MAX, BlockSample, changed_share, sample_of
from ckptd.model.manifest import Unit
from tests.support.manifests import make_manifest

KIB = 1024
BLOCK = 256 * KIB


def sample(**contents: bytes) -> BlockSample:
    return sample_of(make_manifest(contents, block_size_bytes=BLOCK).units)


def blocks(text: str, tail: int = 0) -> bytes:
    """Return a block for each letter, and the beginning of one more."""
    return b"".join(letter.encode() * BLOCK for letter in text) + b"." * tail


def share(before: BlockSample, after: BlockSample) -> float:
    found = changed_share(before, after)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (blocks("abcd"), blocks("abcd"), 0.0),
        (blocks("abcd"), blocks("abxd"), 1 / 4),
        (blocks("abcd"), blocks("dcba"), 0.0),  # they are here, wherever they stand
        (blocks("aaaa"), blocks("aaab"), 1 / 4),
        (blocks("ab"), blocks("abcc"), 2 / 4),  # blocks that are alike count each
        (blocks("ab"), blocks("ab", BLOCK // 2), 1 / 5),  # a short block counts as long as it is
        (b"", blocks("ab"), 1.0),
    ],
)
def test_bytes_count_that_are_in_no_block_of_the_version_before(
    before: bytes, after: bytes, changed: float
) -> None:
    assert share(sample(w=before), sample(w=after)) == pytest.approx(changed)


def test_blocks_of_other_files_count_as_well() -> None:
    before, after = sample(a=blocks("ab"), b=blocks("cd")), sample(renamed=blocks("abcx"))
    assert before.is_exact
    assert share(before, after) == pytest.approx(1 / 4)


def test_of_a_version_without_bytes_there_is_no_share() -> None:
    assert changed_share(sample(w=blocks("a")), sample(empty=b"")) is None


def large(*names: int) -> BlockSample:
    """Return a sample of a version that has one block of each of so many names."""
    digests = b"".join(blake3(name.to_bytes(8)).digest() for name in names)
    unit = Unit(
        path="w",
        size_bytes=len(names) * BLOCK,
        digest=bytes(32),
        block_size_bytes=BLOCK,
        block_digests=digests,
    )
    return sample_of([unit])


def test_of_very_many_blocks_a_sample_says_it_well_enough() -> None:
    count = 4 * BLOCKS_SAMPLED_MAX
    before, after = large(*range(count)), large(*range(count // 2, count * 3 // 2))
    assert not after.is_exact
    assert after.size_bytes < 1.1 * 12 * BLOCKS_SAMPLED_MAX
    assert share(before, after) == pytest.approx(1 / 2, abs=0.01)
    small = large(*range(100))
    assert share(before, small) == 0.0, "what a coarse sample left out of both does not count"
    assert share(small, large(*range(count))) == pytest.approx(1.0, abs=0.01)

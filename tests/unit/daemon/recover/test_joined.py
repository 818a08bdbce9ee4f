"""What is said of a joined version is said to peers and to the catalog of its shards."""

from __future__ import annotations

import pytest

from ckptd.core.effects import ConfirmHolding
from ckptd.core.events import HoldingConfirmed
from ckptd.daemon.recover.joined import Joined, join
from ckptd.daemon.recover.manifests import VerifiedManifest
from ckptd.errors import Conflict, InvalidManifest
from ckptd.limits import KIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.manifest import encode_manifest
from ckptd.model.space import AddressSpace
from ckptd.model.words import Confirmation
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.unit_files import UnitFiles
from ckptd.wire.byte_ranges import ByteRange
from tests.support.manifests import make_manifest
from tests.support.stagings import content_of

LLAMA, STEP = CheckpointName("llama"), Version(100)
SHARED, ZERO, ONE = (content_of(300 * KIB, seed=seed) for seed in range(3))
SOURCE = NodeId("node-b")
"""Blocks here: two of the shared file, which is critical, then two of each shard's own."""


def verified(shard: int, **contents: bytes) -> tuple[Digest, VerifiedManifest]:
    manifest = make_manifest(contents, checkpoint=f"llama/shard-{shard}-of-2", critical=["config"])
    encoded = encode_manifest(manifest)
    space = AddressSpace(manifest)
    return Digest(hexdigest_of(encoded)), VerifiedManifest(memoryview(encoded), (), space)


MEMBERS = dict([verified(0, config=SHARED, a=ZERO), verified(1, config=SHARED, b=ONE)])
FIRST, SECOND = MEMBERS


@pytest.fixture
async def joined() -> Joined:
    return await join(LLAMA, STEP, MEMBERS)


def test_a_source_is_asked_for_what_it_knows(joined: Joined) -> None:
    own = joined.asked_for(BlockRun(4, 6), lambda _: True)
    assert own.digest == SECOND
    assert own.byte_range == ByteRange(300 * KIB, 600 * KIB)
    assert own.version_bytes == 600 * KIB


@pytest.mark.parametrize(("held", "asked"), [((FIRST, SECOND), FIRST), ((SECOND,), SECOND)])
def test_what_several_shards_have_is_asked_for_in_one_that_the_source_has(
    joined: Joined, held: tuple[Digest, ...], asked: Digest
) -> None:
    found = joined.asked_for(BlockRun(0, 2), held.__contains__)
    assert (found.digest, found.byte_range) == (asked, ByteRange(0, 300 * KIB))


def file(number: int) -> UnitFile:
    return UnitFile(Fingerprint(1, number, 5, 6, 7))


def test_each_shard_gets_what_is_placed_of_it(joined: Joined) -> None:
    config, zero = file(1), file(2)
    directory = HashedDirectory(
        "data", "llama/100", joined.joint.manifest, joined.encoded, joined.digest,
        UnitFiles([config, zero, None]),
    )  # fmt: skip
    first, second = joined.placed(directory)
    assert (first.digest, tuple(first.files)) == (FIRST, (config, zero))
    assert (second.digest, tuple(second.files)) == (SECOND, (config, None))
    assert (first.is_whole, second.is_whole) == (True, False)
    assert second.manifest.checkpoint == "llama/shard-1-of-2"
    together = joined.files([(FIRST, first.files), (SECOND, second.files)])
    assert tuple(together) == (config, zero, None)


def test_a_question_about_blocks_is_one_about_each_shard_that_has_some(joined: Joined) -> None:
    asked = ConfirmHolding(SOURCE, joined.digest, BlockSet([(1, 5)]))
    about = joined.questions(asked, lambda _: True)
    assert about == [
        ConfirmHolding(SOURCE, FIRST, BlockSet([(1, 4)])),
        ConfirmHolding(SOURCE, SECOND, BlockSet([(2, 3)])),
    ]
    only = joined.questions(asked, lambda digest: digest == SECOND)
    assert only == [ConfirmHolding(SOURCE, SECOND, BlockSet([(1, 3)]))]


def test_answers_about_shards_are_one_about_all_of_it(joined: Joined) -> None:
    held = HoldingConfirmed(SOURCE, FIRST, Confirmation.HELD)
    denied = HoldingConfirmed(SOURCE, SECOND, Confirmation.NOT_HELD, BlockSet([(2, 3)]))
    assert joined.answer(SOURCE, [held]) == HoldingConfirmed(
        SOURCE, joined.digest, Confirmation.HELD
    )
    assert joined.answer(SOURCE, [held, denied]) == HoldingConfirmed(
        SOURCE, joined.digest, Confirmation.NOT_HELD, BlockSet([(4, 5)])
    )
    assert joined.answer(SOURCE, []).confirmation is Confirmation.NO_ANSWER


async def test_shards_that_contradict_each_other_are_not_joined() -> None:
    with pytest.raises(Conflict, match="'config'"):
        await join(LLAMA, STEP, dict([verified(0, config=ZERO), verified(1, config=ONE)]))


async def test_what_is_no_shard_of_the_job_is_not_joined() -> None:
    with pytest.raises(InvalidManifest, match="cannot be joined"):
        await join(CheckpointName("other"), STEP, MEMBERS)

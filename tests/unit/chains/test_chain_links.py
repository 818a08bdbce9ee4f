"""What a manifest says of the version that its own stands on."""

from __future__ import annotations

import pytest

from ckptd.chains.chain_links import ChainLink, annotations_of, copy_name, link_of, made_of
from ckptd.errors import UsageError
from ckptd.limits import CHECKPOINT_NAME_BYTES_MAX
from ckptd.model.ids import CheckpointName, Digest, Version

DIGEST = Digest("ab" * 32)


@pytest.mark.parametrize(
    "link",
    [
        ChainLink(Version(41), DIGEST, "xor"),
        ChainLink(Version(41), None, "xor"),
        ChainLink(Version(0), DIGEST),
    ],
)
def test_what_is_said_is_read_again(link: ChainLink) -> None:
    assert link_of(annotations_of(link), 42) == link


def test_the_words_are_these() -> None:
    assert annotations_of(ChainLink(Version(41), DIGEST, "xor")) == {
        "chain.base": "41",
        "chain.base-digest": DIGEST,
        "chain.encoding": "xor",
    }


@pytest.mark.parametrize("base", ["", "x", "-1", "42", "43", "9" * 30, "\uff14", "1.0"])
def test_a_base_that_cannot_be_is_none(base: str) -> None:
    assert link_of({"chain.base": base, "chain.encoding": "xor"}, 42) is None


def test_a_version_that_says_nothing_stands_on_nothing() -> None:
    assert link_of({}, 42) is None
    assert link_of({"chain.base-digest": DIGEST}, 42) is None


def test_words_that_are_none_are_left_out() -> None:
    said = {"chain.base": "41", "chain.base-digest": "AB", "chain.encoding": "\x1b[2J"}
    assert link_of(said, 42) == ChainLink(Version(41))


def test_a_materialised_copy_says_of_what_it_was_made() -> None:
    assert made_of({"chain.of": DIGEST}) == DIGEST
    assert made_of({"chain.of": "42"}) is None
    assert made_of({}) is None


def test_copies_have_a_name_of_their_own() -> None:
    assert copy_name(CheckpointName("run/policy")) == "run/policy.full"
    with pytest.raises(UsageError):
        copy_name(CheckpointName("a" * CHECKPOINT_NAME_BYTES_MAX))

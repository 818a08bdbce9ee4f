"""Which formats a directory is in."""

from __future__ import annotations

import pytest

from ckptd.model.completeness import is_commit_marker
from ckptd.model.recognisers.recognise import recognise
from tests.support.recognising import proposed, said_of


@pytest.mark.parametrize(
    "files",
    [
        [],
        ["weights.bin", "notes/latest", "model.pt"],
        [".metadata", "a"],
        ["a/__0_0.distcp"],
        ["manifest.ocdbt", "d/1"],
        ["_CHECKPOINT_METADATA", "x"],
        ["mp_rank_00/other.pt"],
        ["common.pt"],
        ["config.json"],
    ],
)
def test_of_a_plain_directory_nothing_is_proposed(files: list[str]) -> None:
    assert recognise(dict.fromkeys(files, 1), lambda _: None) is None


def test_what_no_format_names_comes_with_the_weights() -> None:
    said = said_of(["model.safetensors", "optimizer.pt", "extra.dat"])
    assert (said["extra.dat"].phase, said["extra.dat"].urgency) == ("core", "normal")
    assert "no rule says what it is" in said["extra.dat"].why


def test_phases_are_those_in_which_there_is_something() -> None:
    assert proposed(["model.safetensors"]).policy.phases == ("core",)
    assert proposed(["model.safetensors", "optimizer.pt"]).policy.phases == ("core", "rest")


def test_what_is_called_placed_last_is_a_commit_marker_and_the_other_way_round() -> None:
    files = [
        "latest",
        "latest_universal",
        "global_step1/mp_rank_00_model_states.pt",
        "latest_checkpointed_iteration.txt",
        "iter_1/common.pt",
        "iter_1/.metadata",
        "iter_1/__0_0.distcp",
        "orbax/_CHECKPOINT_METADATA",
        "orbax/commit_success.txt",
        "orbax/default/_METADATA",
        "model.safetensors",
        "model.safetensors.index.json",
    ]
    said = said_of(files)
    markers = {path for path in files if "placed last" in said[path].why}
    assert markers == set(filter(is_commit_marker, files))
    assert len(markers) == 6


def test_nothing_is_read_but_what_says_what_is_in_others() -> None:
    files = [
        "m.safetensors.index.json",
        "m-00001-of-00001.safetensors",
        "config.json",
        "7/.metadata",
    ]
    files += ["7/__0_0.distcp", "latest", "tag/mp_rank_00_model_states.pt"]
    asked: list[str] = []
    recognise(dict.fromkeys(files, 1), asked.append)
    assert asked == ["7/.metadata", "m.safetensors.index.json"]

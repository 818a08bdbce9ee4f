"""Which formats a directory is in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.model.completeness import is_commit_marker
from ckptd.model.policy.assignment import assign
from ckptd.model.recognisers.proposal import path_in
from ckptd.model.recognisers.recognise import recognise
from tests.support.dcp_files import index, info, metadata
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


METADATA = metadata({index("optim.w"): info("__0_0.distcp"), index("w"): info("__0_1.distcp")})
NAMES = (
    "config.json", "model.safetensors", "m-00001-of-00002.safetensors", "m.safetensors.index.json",
    "m-00002-of-00002.safetensors", "optimizer.pt", "optimizer.safetensors", ".metadata",
    "__0_0.distcp", "__0_1.distcp", "common.pt", "latest", "mp_rank_00_model_states.pt",
    "zero_pp_rank_0_mp_rank_00_optim_states.pt", "fp32.pt", "exp_avg.pt", "model_optim_rng.pt",
    "distrib_optim.pt", "_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt", "model_index.json",
    "k.cubin", "jit_f-0123456789abcdef0123456789abcdef-cache", "notes[1].txt",
)  # fmt: skip
DIRECTORIES = (
    "", "a", "a/b", "a[1]", "optimizer_0", "global_step1", "global_step1/zero/w", "iter_1",
    "iter_1/mp_rank_00", "mp_rank_00", "opt_state", "default", "compile_cache", "triton_cache/x*",
)  # fmt: skip
INDEX = json.dumps(
    {"weight_map": {"h.7.w": "m-00001-of-00002.safetensors", "h.1.w": NAMES[4], "x": "gone"}}
).encode()
FILES = st.builds(path_in, st.sampled_from(DIRECTORIES), st.sampled_from(NAMES))
CONTENTS = st.sampled_from([None, b"", INDEX, METADATA, b"\x80\x02]."])


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(FILES, CONTENTS, min_size=1, max_size=40))
def test_what_is_proposed_can_always_be_published(files: dict[str, bytes | None]) -> None:
    """Whatever formats lie in and beside each other."""
    proposal = recognise(dict.fromkeys(files, 1), files.get)
    if proposal is None:
        return
    paths = sorted(files)
    assignment = assign(paths, [proposal.policy])
    assert set(assignment.phases) == set(proposal.policy.phases) <= {"core", "rest"}
    assert assignment.unresolved == ()
    for number, path in enumerate(paths):
        words = assignment.of(number)
        assert words.origins.phase.startswith("recognised: ")
        assert not words.is_optional or "cache" in path, "weights are never left out"

"""What is known to lack in a directory that a job has not finished writing."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from ckptd.model.completeness import (
    is_commit_marker,
    names_others,
    what_is_lacking,
)

INDEX = json.dumps({"metadata": {}, "weight_map": {"a": "m-00001-of-00002.safetensors"}})
COMMITTED = json.dumps({"init_timestamp_nsecs": 1, "commit_timestamp_nsecs": 2, "metrics": {}})
BEGUN = json.dumps({"init_timestamp_nsecs": 1, "commit_timestamp_nsecs": None})

ORBAX = {
    "_CHECKPOINT_METADATA": COMMITTED,
    "default/_METADATA": "{}",
    "default/manifest.ocdbt": "",
    "default/d/1": "",
    "default/ocdbt.process_0/manifest.ocdbt": "",
    "default/ocdbt.process_0/d/2": "",
}
DEEPSPEED = {
    "latest": "global_step2\n",
    "global_step2/mp_rank_00_model_states.pt": "",
    "global_step2/zero_pp_rank_0_mp_rank_00_optim_states.pt": "",
    "config.json": "{}",
}
SHARDED = {
    "m-00001-of-00002.safetensors": "",
    "m-00002-of-00002.safetensors": "",
    "m.safetensors.index.json": INDEX,
}


def lacking(contents: Mapping[str, str], directory: str = "run/7") -> str:
    return what_is_lacking(directory, contents, lambda path: contents[path].encode())


@pytest.mark.parametrize(
    "contents",
    [
        {"weights.bin": "", "notes/latest": "x"},
        {".metadata": "plan", "__0_0.distcp": "", "__1_0.distcp": ""},
        {".metadata": "plan"},
        SHARDED,
        {"m.safetensors.index.json": "{}", "m.safetensors": ""},
        {"unet/x.fp16-00001-of-00001.safetensors": "", "unet/x.safetensors.index.fp16.json": "{}"},
        {"model.safetensors": "", "model-1.safetensors": ""},
        ORBAX,
        {**ORBAX, "_CHECKPOINT_METADATA": BEGUN, "commit_success.txt": ""},
        {"commit_success.txt": "", "state/_METADATA": "{}"},
        {"_CHECKPOINT_METADATA": "{}", "_METADATA": "{}"},
        {"manifest.ocdbt": "", "d/1": ""},
        DEEPSPEED,
        {**DEEPSPEED, "global_step1/mp_rank_00_model_states.pt": ""},
        {"mp_rank_00_model_states.pt": ""},
        {"latest": "anything"},
    ],
)
def test_what_is_complete_or_of_no_known_format_lacks_nothing(contents: dict[str, str]) -> None:
    assert lacking(contents) == ""


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"a/__0_0.distcp": "", ".metadata": ""}, "'a/.metadata' is not there, and PyTorch DCP"),
        ({**SHARDED, "m.safetensors.index.json": '{"weight_map": {"a'}, "is not the index"),
        ({**SHARDED, "m.safetensors.index.json": "[" * 100_000}, "is not the index"),
        (
            {"m.bin.index.json": '{"weight_map": {"a": "../m.bin"}}', "m.bin": ""},
            "'../m.bin' is not there, and 'm.bin.index.json' names it",
        ),
        ({"x/m-00001-of-00002.bin": ""}, "'x/….index.json' is not there"),
        ({**ORBAX, "_CHECKPOINT_METADATA": BEGUN}, "does not say yet when Orbax committed it"),
        ({**ORBAX, "_CHECKPOINT_METADATA": ""}, "is not the metadata"),
        ({"a.orbax-checkpoint-tmp-9/x": ""}, "where Orbax writes before all is complete"),
        (DEEPSPEED | {"latest": "global_step1"}, "'latest' names another directory"),
        (
            DEEPSPEED | {"global_step10/mp_rank_00_model_states.pt": ""},
            "'global_step10' is newer than what 'latest' names",
        ),
    ],
)
def test_what_is_not_complete_is_said_with_the_reason(contents: dict[str, str], said: str) -> None:
    assert said in lacking(contents)


@pytest.mark.parametrize(
    ("contents", "path"),
    [
        (ORBAX, "_CHECKPOINT_METADATA"),
        (ORBAX, "default/_METADATA"),
        (ORBAX, "default/manifest.ocdbt"),
        (SHARDED, "m.safetensors.index.json"),
        (SHARDED, "m-00001-of-00002.safetensors"),
        (DEEPSPEED, "latest"),
    ],
)
def test_each_file_that_a_format_needs_is_missed(contents: dict[str, str], path: str) -> None:
    without = {each: content for each, content in contents.items() if each != path}
    problem = lacking(without)
    shown = "….index.json" if path.endswith(".index.json") else path
    shown = "default/_CHECKPOINT_METADATA" if path == "_CHECKPOINT_METADATA" else shown
    assert problem.startswith(f"{shown!r} is not there")


def test_a_directory_that_is_being_renamed_is_known_by_its_own_name() -> None:
    assert "Orbax" in lacking({"w": ""}, "run/7.orbax-checkpoint-tmp-1700000000")


@pytest.mark.parametrize("contents", [SHARDED, ORBAX, DEEPSPEED])
def test_what_is_too_long_to_be_looked_at_is_not_taken_as_complete(
    contents: dict[str, str],
) -> None:
    assert "too much to be looked at" in what_is_lacking("", contents, lambda _: None)


def test_what_a_file_says_that_is_no_index_is_not_repeated() -> None:
    """A name may have been linked to a file that is not for everybody."""
    assert "secret" not in lacking(DEEPSPEED | {"latest": "secret"})
    assert "secret" not in lacking(SHARDED | {"m.safetensors.index.json": "secret"})


@pytest.mark.parametrize(
    ("path", "is_marker", "is_naming"),
    [
        (".metadata", True, False),
        ("step/.metadata", True, False),
        ("a/commit_success.txt", True, False),
        ("_CHECKPOINT_METADATA", True, False),
        ("latest", True, False),
        ("latest_checkpointed_iteration.txt", True, False),
        ("model.safetensors.index.json", False, True),
        ("latest_universal", True, False),
        ("x/pytorch_model.bin.index.json", False, True),
        ("_METADATA", False, True),
        ("d/manifest.ocdbt", False, True),
        ("model-00001-of-00002.safetensors", False, False),
        ("latest/model.pt", False, False),
        ("my.metadata", False, False),
        ("config.json", False, False),
    ],
)
def test_markers_and_what_names_others_are_known_by_their_names(
    path: str, is_marker: bool, is_naming: bool
) -> None:
    assert (is_commit_marker(path), names_others(path)) == (is_marker, is_naming)

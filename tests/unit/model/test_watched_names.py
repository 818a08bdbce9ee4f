import pytest

from ckptd.errors import UsageError
from ckptd.model.ids import CheckpointName
from ckptd.model.watched_names import PRESETS, WatchRule, name_pattern


def rule(pattern: str) -> WatchRule:
    return WatchRule(
        directory="/data",
        pattern=name_pattern(pattern),
        checkpoint=CheckpointName("llama"),
        quiet_s=5.0,
        require=(),
        pointer="",
        newest=2,
        rate_bytes_per_s=1,
    )


@pytest.mark.parametrize(
    ("pattern", "name", "version"),
    [
        (r"checkpoint-(\d+)", "checkpoint-1200", 1200),
        (r"checkpoint-(\d+)", "checkpoint-1200-old", None),
        (r"checkpoint-(\d+)", "tmp-checkpoint-1200", None),
        (r"checkpoint-(\d+)", "checkpoint-٣", None),
        ("step_{version}", "step_0007", 7),
        ("step_{version}.ckpt", "step_7xckpt", None),
        (r"v(\w+)", "vnew", None),
        (r"v(\d+)", "v" + "9" * 19, None),
        (r"v(\d+)", "v" + "0" * 40 + "9", 9),
        (r"v|w(\d+)", "v", None),
        (r".*-(\d+)", "a\udc80-7", None),
        (r"(?s:.*)-(\d+)", "a\n-7", None),
    ],
)
def test_a_name_says_which_version_or_is_none(pattern: str, name: str, version: int | None) -> None:
    assert rule(pattern).version_of(name) == version


@pytest.mark.parametrize("pattern", ["(", r"\d+", r"(\d)(\d)", "{version}-{version}"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        name_pattern(pattern)


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("dcp", "ckpt_7"),
        ("dcp", "7"),
        ("deepspeed", "global_step7"),
        ("huggingface", "checkpoint-7"),
        ("lightning", "epoch=3-step=7.ckpt"),
        ("megatron", "iter_0000007"),
        ("orbax", "7"),
        ("torchtitan", "step-7"),
    ],
)
def test_presets_know_the_names_of_frameworks(preset: str, name: str) -> None:
    assert rule(PRESETS[preset].pattern).version_of(name) == 7


def test_of_dcp_a_name_with_two_numbers_says_no_version() -> None:
    assert rule(PRESETS["dcp"].pattern).version_of("epoch-1-step-7") is None
    assert rule(PRESETS["dcp"].pattern).version_of("step-7.tmp") is None


def test_a_pointer_has_a_name_or_a_number() -> None:
    watched = rule(r"iter_(\d+)")
    assert watched.version_in("iter_0000007\n") == watched.version_in("7") == 7
    assert watched.version_in("release") is None

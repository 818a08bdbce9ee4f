"""What is said of published files: from where, in which order, and what the manifest says then."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.errors import UsageError
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.policy.rules import Policy, Rule
from ckptd.model.words import Criticality
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from tests.support.stores import publish, write_files

FILES = {"config.json": b"{}", "model/a.bin": b"a" * 700_000, "optim.pt": b"o", "readme.txt": b""}

NAME = "ckptd.policy.toml"


def said_of(hashed: HashedDirectory) -> dict[str, str]:
    """Phase of each unit, in the order of the manifest."""
    manifest = hashed.manifest
    return {unit.path: manifest.phases[unit.phase] for unit in manifest.units}


def toml(phase: str, *paths: str) -> bytes:
    return f"[[rule]]\npaths = {list(paths)}\nphase = '{phase}'\n".encode()


def test_without_any_policy_the_bytes_are_as_they_always_were(root: Root, inside: Path) -> None:
    write_files(inside / "v1", FILES)
    assert publish(root, "v1").digest == (
        "1f8fd142985abc9335522ef5ebbddc082f5a582243711690cf96d1ff60e806fe"
    )
    typed = publish(
        root, "v1", critical=("config*",), deferred=("optim*",), optional=("*.txt", "optim*")
    )
    assert typed.digest == "36ff26e53284ce1deb134b533d55c842b0cade3c21693c720fd9fe178a91a5b8"


def test_what_says_nothing_of_these_files_changes_no_byte(root: Root, inside: Path) -> None:
    write_files(inside / "v1", FILES)
    write_files(inside, {NAME: b'phases = ["core", "rest"]\n' + toml("core", "*.nothing")})
    configured = Policy((), (Rule(("*",), criticality=Criticality.NORMAL, after=()),))
    assert publish(root, "v1", policies=(configured,)).digest == (
        "1f8fd142985abc9335522ef5ebbddc082f5a582243711690cf96d1ff60e806fe"
    )


def test_phases_and_prerequisites_are_in_the_manifest(root: Root, inside: Path) -> None:
    write_files(inside / "v1", FILES)
    hashed = publish(
        root,
        "v1",
        phases=(("core", "model/*"), ("core", "config*")),
        after=(("model/*", "config.json"), ("model/*", "readme*")),
    )
    manifest = hashed.manifest
    assert manifest.phases == ("core", "rest")
    assert [(unit.path, unit.phase, unit.after) for unit in manifest.units] == [
        ("config.json", 0, ()),
        ("model/a.bin", 0, (0, 2)),
        ("readme.txt", 0, ()),
        ("optim.pt", 1, ()),
    ]
    assert [entry.size_bytes for entry in (each.fingerprint for each in hashed.files if each)] == [
        2, 700_000, 0, 1,
    ]  # fmt: skip


def test_what_is_typed_counts_before_files_and_these_before_the_configuration(
    root: Root, inside: Path
) -> None:
    write_files(inside / "llama/v1", {**FILES, NAME: toml("inside", "model/*", "optim*")})
    write_files(inside / "llama", {NAME: toml("beside", "optim*", "config*")})
    configured = Policy((), (Rule(("*",), phase="configured"),))

    def phases(**more: object) -> dict[str, str]:
        found = said_of(publish(root, "llama/v1", policies=(configured,), **more))  # type: ignore[arg-type]
        return {path: phase for path, phase in found.items() if path != NAME}

    assert phases() == {
        "config.json": "beside",
        "optim.pt": "beside",
        "model/a.bin": "configured",
        "readme.txt": "configured",
    }
    assert phases(reads_policy_inside=True, phases=(("typed", "model/*"),)) == {
        "model/a.bin": "typed",
        "optim.pt": "inside",
        "config.json": "beside",
        "readme.txt": "configured",
    }


def test_a_policy_inside_is_a_file_of_the_version(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", NAME: toml("core", "a")})
    assert said_of(publish(root, "v1")) == {"a": "all", NAME: "all"}
    assert said_of(publish(root, "v1", reads_policy_inside=True)) == {"a": "core", NAME: "rest"}


def test_one_beside_a_single_file_counts(root: Root, inside: Path) -> None:
    write_files(inside, {"last.ckpt": b"1", NAME: toml("core", "*.ckpt")})
    assert said_of(publish(root, "last.ckpt")) == {"last.ckpt": "core"}


def test_there_is_nothing_beside_a_root(root: Root, inside: Path) -> None:
    write_files(inside, {"a": b"1", "../" + NAME: toml("core", "a")})
    assert said_of(publish(root, "")) == {"a": "all"}


def test_a_part_of_a_job_may_lack_what_another_has(root: Root, inside: Path) -> None:
    write_files(inside, {"v1/model.pt": b"1", NAME: b"[[rule]]\npaths=['m*']\nafter=['latest']"})
    with pytest.raises(
        UsageError, match=r"ckptd\.policy\.toml rule\[0\]: puts units after 'latest'"
    ):
        publish(root, "v1")
    hashed = publish(root, "v1", checkpoint="llama/shard-0-of-2")
    assert [unit.after for unit in hashed.manifest.units] == [()]
    assert hashed.unresolved == ("latest (../ckptd.policy.toml rule[0])",)


def test_shards_from_one_directory_follow_the_same_rules(root: Root, inside: Path) -> None:
    files = {f"model-{rank}.pt": b"%d" % rank * 10 for rank in range(2)}
    write_files(inside / "v1", {**files, "optim-0.pt": b"o", "config.json": b"{}"})
    rules = (
        b"phases = ['core', 'rest']\n[[rule]]\npaths = ['model*', 'config*']\nphase = 'core'\n"
        b"[[rule]]\npaths = ['model*']\nafter = ['config*']\n"
        b"[[rule]]\npaths = ['optim*']\ncriticality = 'deferred'\n"
    )
    write_files(inside, {NAME: rules})
    shards = [
        publish(
            root,
            "v1",
            checkpoint=f"llama/shard-{rank}-of-2",
            exclude=(f"*-{1 - rank}.pt",),
            allows_incomplete=True,
        )
        for rank in range(2)
    ]
    assert [said_of(each) for each in shards] == [
        {"config.json": "core", "model-0.pt": "core", "optim-0.pt": "rest"},
        {"config.json": "core", "model-1.pt": "core"},
    ]
    members = (Member(each.digest, each.manifest) for each in shards)
    joined = Joint(CheckpointName("llama"), Version(100), members).manifest
    assert joined.phases == ("core", "rest")
    assert [(unit.path, unit.phase, unit.after) for unit in joined.units] == [
        ("config.json", 0, ()),
        ("model-0.pt", 0, (0,)),
        ("model-1.pt", 0, (0,)),
        ("optim-0.pt", 1, ()),
    ]


def test_a_pattern_that_was_typed_matches(root: Root, inside: Path) -> None:
    write_files(inside / "v1", FILES)
    for typed in ({"phases": (("core", "x"),)}, {"after": (("x", "config.json"),)}):
        with pytest.raises(UsageError, match="pattern 'x': matches no file"):
            publish(root, "v1", **typed)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is no name of a phase"):
        publish(root, "v1", phases=(("Core", "*"),))

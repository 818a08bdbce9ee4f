"""What a directory to be published consists of."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckptd.errors import (
    CkptdError,
    ContentChanged,
    NotFound,
    OutsideRoots,
    Shortage,
    StorageError,
    UsageError,
)
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.finding import outlook_of
from ckptd.store.published.scanning import (
    NamesBeside,
    PublishOrder,
    changed_at_ns,
    check_same_files,
    find_files,
    names_beside,
    own_names,
    settled_order,
)
from tests.support.manifests import make_manifest
from tests.support.phases import describing, phased_manifest
from tests.support.stores import publish, write_files


def files_of(hashed: HashedDirectory) -> dict[str, str]:
    return {unit.path: hashed.path_of(index) for index, unit in enumerate(hashed.manifest.units)}


def test_a_file_that_matches_both_is_critical(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"", "b": b""})
    hashed = publish(root, "v1", critical=("a",), deferred=("*",))
    assert [unit.criticality.label for unit in hashed.manifest.units] == ["critical", "deferred"]


def test_a_pattern_without_a_match_is_named(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    with pytest.raises(UsageError, match=r"pattern 'wieghts.\*': matches no file"):
        publish(root, "v1", critical=("weights.*", "wieghts.*"))


@pytest.mark.parametrize("directories", ["v1", "v1/a/b"])
def test_a_directory_without_files_is_refused(root: Root, inside: Path, directories: str) -> None:
    (inside / directories).mkdir(parents=True)
    with pytest.raises(UsageError, match="has no files"):
        publish(root, "v1")


def test_a_directory_that_is_not_there_is_not_found(root: Root) -> None:
    with pytest.raises(NotFound):
        publish(root, "v1")


def test_a_fifo_is_named_and_does_not_block(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    os.mkfifo(inside / "v1/queue")
    with pytest.raises(StorageError, match="v1/queue: is a FIFO"):
        publish(root, "v1")


@pytest.mark.parametrize(
    ("name", "problem"), [(b"a\xff", "is not UTF-8"), (b"a\nb", "control characters")]
)
def test_names_that_no_manifest_can_have_are_shown_and_refused(
    root: Root, inside: Path, name: bytes, problem: str
) -> None:
    (inside / "v1").mkdir()
    os.close(os.open(os.fsencode(inside / "v1") + b"/" + name, os.O_CREAT | os.O_WRONLY))
    with pytest.raises(UsageError, match=problem) as caught:
        publish(root, "v1")
    assert repr(os.fsdecode(name)) in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_link_inside_the_root_is_published_as_what_it_leads_to(root: Root, inside: Path) -> None:
    write_files(inside, {"blobs/1": b"content", "v1/plain": b"p"})
    (inside / "v1/weights").symlink_to("../blobs/1")
    hashed = publish(root, "v1")
    assert hashed.manifest == make_manifest({"plain": b"p", "weights": b"content"})
    assert files_of(hashed) == {"plain": "v1/plain", "weights": "blobs/1"}


def test_a_link_out_of_the_root_is_refused(root: Root, inside: Path) -> None:
    write_files(inside, {"../secret": b"s", "v1/plain": b"p"})
    (inside / "v1/weights").symlink_to("../../secret")
    with pytest.raises(OutsideRoots, match=r"v1/weights: leads out of the root"):
        publish(root, "v1")


@pytest.mark.parametrize("directory", [".ckptd", ".ckptd/recovery"])
def test_staging_is_not_published(root: Root, inside: Path, directory: str) -> None:
    write_files(inside / directory)
    with pytest.raises(UsageError, match="staging"):
        publish(root, directory)


def test_a_root_is_published_without_its_staging(root: Root, inside: Path) -> None:
    write_files(inside, {"a": b"1", ".ckptd/r/half": b"h", "b/.ckptd/kept": b"2"})
    assert publish(root, "").manifest == make_manifest({"a": b"1", "b/.ckptd/kept": b"2"})


def test_units_are_required_unless_they_are_called_optional(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a.log": b"1", "b.log": b"2", "c": b"3"})
    hashed = publish(root, "v1", deferred=("b*",), optional=("*.log",))
    said = [(unit.path, unit.is_optional, unit.flags) for unit in hashed.manifest.units]
    assert said == [
        ("a.log", True, ("optional",)),
        ("c", False, ()),
        ("b.log", True, ("optional",)),
    ]


def test_a_manifest_without_optional_units_is_what_it_always_was(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    assert b"flags" not in bytes(publish(root, "v1").encoded)


def test_a_file_that_is_critical_and_optional_is_refused(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"", "b": b""})
    said = r"file 'a': matches 'a' and is critical, and '\*' and is optional\. A critical"
    with pytest.raises(UsageError, match=said):
        publish(root, "v1", critical=("a",), optional=("*",))


def test_an_optional_pattern_without_a_match_is_named(root: Root, inside: Path) -> None:
    write_files(inside / "v1")
    with pytest.raises(UsageError, match=r"pattern '\*\.log': matches no file"):
        publish(root, "v1", optional=("*.log",))


def test_names_of_ckptd_are_no_part_of_a_version(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", ".ckptd-x": b"", ".ckptd/y": b"", "b/.ckptd-x": b"2"})
    assert publish(root, "v1").manifest == make_manifest({"a": b"1", "b/.ckptd-x": b"2"})
    assert own_names(root, "v1") == (".ckptd-x",)
    assert own_names(root, "v1/b") == (".ckptd-x",)
    assert own_names(root, "") == ()


def test_a_directory_of_which_phases_are_to_come_is_refused(root: Root, inside: Path) -> None:
    manifest = phased_manifest()
    for name, is_whole in (("v1", False), ("v2", True)):
        said = describing(manifest)(lambda _: is_whole, 3, is_under_way=not is_whole)  # noqa: B023
        write_files(inside / name, {"a": b"1", ".ckptd-state.json": said})
    with pytest.raises(UsageError, match=r"\.ckptd-state\.json says which phases are"):
        publish(root, "v1")
    publish(root, "v2")


def test_a_directory_that_is_marked_as_partial_is_refused(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", ".ckptd-partial.json": b"{}"})
    with pytest.raises(UsageError, match=r"v1: lacks required units: .*recover NAME@VERSION --to"):
        publish(root, "v1")
    write_files(inside / "v2", {"a": b"1", "b/.ckptd-partial.json": b"{}"})
    publish(root, "v2")


def order(root: Root) -> PublishOrder:
    return PublishOrder(root.absolute("v1"), CheckpointName("a"), Version(1))


@pytest.mark.parametrize(
    ("appears", "vanishes", "said"),
    [
        ("d/e/f", "", r"v1/d/e/f: appeared while being published\. Publish when the job"),
        (".metadata", "", r"v1/\.metadata: appeared"),
        ("", "c", r"v1/c: vanished"),
    ],
)
def test_files_that_come_or_go_meanwhile_are_noticed(
    root: Root, inside: Path, appears: str, vanishes: str, said: str
) -> None:
    write_files(inside / "v1", {"a": b"1", "c": b"2"})
    found = find_files(root, "v1", order(root))
    check_same_files(root, "v1", found, order(root))
    write_files(inside / "v1", {".ckptd-new": b"", **({appears: b""} if appears else {})})
    if vanishes:
        (inside / "v1" / vanishes).unlink()
    with pytest.raises(ContentChanged, match=said):
        check_same_files(root, "v1", found, order(root))


@pytest.mark.parametrize("where", ["v1", "v1/d"])
def test_the_last_change_is_that_of_the_directory_that_changed_last(
    root: Root, inside: Path, where: str
) -> None:
    write_files(inside / "v1", {"a": b"1", "d/b": b"2"})
    found = find_files(root, "v1", order(root))
    (inside / where / "new").touch()
    facts = [os.stat(inside / path) for path in ("v1", "v1/d")]
    assert changed_at_ns(root, "v1", found) == max(each.st_ctime_ns for each in facts)
    assert changed_at_ns(root, "v1", found) == os.stat(inside / where).st_ctime_ns


@pytest.mark.parametrize("name", ["epoch=3-step=1000.ckpt", "last.ckpt"])
def test_a_single_file_is_published_alone_whatever_else_is_there(
    root: Root, inside: Path, name: str
) -> None:
    write_files(inside / "lit", {"epoch=3-step=1000.ckpt": b"3", "epoch=2.ckpt": b"2", "d/x": b""})
    (inside / "lit/last.ckpt").symlink_to("epoch=3-step=1000.ckpt")
    (inside / "lit/broken").symlink_to("nowhere")
    hashed = publish(root, f"lit/{name}")
    assert (hashed.directory, hashed.manifest) == ("lit", make_manifest({name: b"3"}))
    assert files_of(hashed) == {name: "lit/epoch=3-step=1000.ckpt"}


def test_a_single_file_in_the_root_itself_is_published(root: Root, inside: Path) -> None:
    write_files(inside, {"last.ckpt": b"3", "other": b""})
    hashed = publish(root, "last.ckpt")
    assert (hashed.directory, hashed.manifest) == ("", make_manifest({"last.ckpt": b"3"}))


def test_a_single_file_is_watched_alone(root: Root, inside: Path) -> None:
    write_files(inside / "lit", {"last.ckpt": b"3"})
    directory, only = settled_order(root, "lit/last.ckpt", order(root))
    found = find_files(root, directory, only)
    write_files(inside / "lit", {"train.log": b"step"})
    check_same_files(root, directory, found, only)
    (inside / "lit/last.ckpt").unlink()
    with pytest.raises(ContentChanged, match=r"last\.ckpt: vanished"):
        check_same_files(root, directory, found, only)


@pytest.mark.parametrize("what", ["fifo", "link to a directory", "own"])
def test_what_is_no_file_is_not_published_alone_either(root: Root, inside: Path, what: str) -> None:
    (inside / "lit").mkdir()
    match what:
        case "fifo":
            os.mkfifo(inside / "lit/x")
        case "own":
            write_files(inside / "lit", {".ckptd-x": b""})
        case _:
            (inside / "lit/x").symlink_to(".")
    said = {"fifo": "is a FIFO", "own": "has no files"}.get(what, "does not lead to a file")
    with pytest.raises((StorageError, UsageError), match=said):
        publish(root, "lit/.ckptd-x" if what == "own" else "lit/x")


_LOGGED = {
    "model.bin": b"m",
    "train.log": b"l",
    "runs/events.out.tfevents.1.host": b"e",
    "wandb/x.json": b"w",
}


@pytest.mark.parametrize(
    ("words", "excluded"),
    [
        ({}, ["train.log", "runs/events.out.tfevents.1.host"]),
        ({"exclude": ("wandb/*",)}, [*_LOGGED][1:]),
        ({"keeps_logs": True}, []),
        ({"keeps_logs": True, "exclude": ("*.log",)}, ["train.log"]),
        ({"optional": ("*.log",)}, ["runs/events.out.tfevents.1.host"]),
        ({"require": ("runs/*",)}, ["train.log"]),
        ({"exclude": ("*.log", "nothing"), "require": ("m*",)}, ["train.log", [*_LOGGED][2]]),
        ({"exclude": ("*in",), "keeps_logs": True}, ["model.bin"]),
    ],
)
def test_logs_and_what_is_excluded_are_left_out_and_said(
    root: Root, inside: Path, words: dict[str, Any], excluded: list[str]
) -> None:
    write_files(inside / "v1", _LOGGED)
    asked = replace(order(root), **words)
    found = find_files(root, "v1", asked)
    assert {each.path for each in found} == _LOGGED.keys() - set(excluded)
    beside = names_beside(root, "v1", asked)
    assert (sorted(beside.excluded), beside.excluded_files) == (sorted(excluded), len(excluded))
    outlook = outlook_of(root, "v1", asked)
    assert outlook[:7] == ("v1", len(found), len(found), beside, 0, 0, 0)


def test_what_is_left_out_may_come_and_go_meanwhile(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", "train.log": b"2"})
    found = find_files(root, "v1", order(root))
    (inside / "v1/train.log").unlink()
    write_files(inside / "v1", {"eval.log": b"3"})
    check_same_files(root, "v1", found, order(root))
    with pytest.raises(ContentChanged, match=r"eval\.log: appeared"):
        check_same_files(root, "v1", found, replace(order(root), keeps_logs=True))


def test_a_link_that_is_left_out_may_lead_to_nothing(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1"})
    (inside / "v1/latest.log").symlink_to("nowhere")
    assert [each.path for each in find_files(root, "v1", order(root))] == ["a"]


def test_a_directory_of_nothing_but_logs_is_refused_with_their_number(
    root: Root, inside: Path
) -> None:
    write_files(inside / "v1", {"a.log": b"1", "b.log": b"2"})
    with pytest.raises(UsageError, match="has no files but 2 that are left out"):
        find_files(root, "v1", order(root))


def test_of_very_many_files_that_are_left_out_a_few_are_named(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"", **{f"{number}.log": b"" for number in range(30)}})
    beside = names_beside(root, "v1", order(root))
    assert (len(beside.excluded), beside.excluded_files) == (20, 30)


def test_a_single_file_is_published_though_it_is_a_log(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"train.log": b"1", "b.log": b""})
    outlook = outlook_of(root, "v1/train.log", order(root))
    assert outlook[:7] == ("v1", 1, 1, NamesBeside(), 0, 0, 0)


def test_a_directory_without_a_file_that_is_required_is_not_complete_yet(
    root: Root, inside: Path
) -> None:
    write_files(inside / "v1", {"a": b"1"})
    asked = replace(order(root), require=("a", ".metadata"))
    with pytest.raises(ContentChanged, match=r"not complete yet: no file matches '\.metadata'"):
        find_files(root, "v1", asked)
    write_files(inside / "v1", {".metadata": b"1"})
    assert len(find_files(root, "v1", asked)) == 2


def test_a_file_that_looks_longer_than_it_may_be_is_refused(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1"})
    with (inside / "v1/sparse").open("wb") as file:
        file.truncate(2**40)
    assert len(find_files(root, "v1", replace(order(root), file_max_bytes=2**40))) == 2
    with pytest.raises(
        UsageError, match=f"v1/sparse: has {2**40} bytes, more than the {2**40 - 1}"
    ):
        find_files(root, "v1", replace(order(root), file_max_bytes=2**40 - 1))


@pytest.mark.parametrize(
    ("target", "kind", "said"),
    [
        ("gone", NotFound, "leads to nothing. Remove it or mend it."),
        ("la*st", StorageError, "leads in a circle, or through more than 40 links. Remove"),
        (".", StorageError, "does not lead to a file. Publish with --links, which keeps"),
        ("../../secret", OutsideRoots, "Put a copy where the link is."),
    ],
)
def test_a_link_to_no_file_is_named_with_what_leaves_it_out(
    root: Root, inside: Path, target: str, kind: type[CkptdError], said: str
) -> None:
    write_files(inside, {"../secret": b"s", "v1/a": b"1", "v1/last": b"2"})
    (inside / "v1/la*st").symlink_to(target)
    with pytest.raises(kind) as caught:
        outlook_of(root, "v1", order(root))
    assert "v1/la*st" in str(caught.value)
    assert said in str(caught.value)
    (option,) = shlex.split(str(caught.value).partition("Or leave it out: ")[2])
    word = option.removeprefix("--exclude=")
    found = find_files(root, "v1", replace(order(root), exclude=(word,)))
    assert [each.path for each in found] == ["a", "last"]


def test_a_single_link_to_nothing_cannot_be_left_out(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1"})
    (inside / "v1/last.ckpt").symlink_to("gone")
    with pytest.raises(NotFound, match=r"v1/last\.ckpt: leads to nothing\. .* mend it\.$"):
        publish(root, "v1/last.ckpt")


def test_all_links_to_no_file_are_named_at_once(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", "right": b"2"})
    for name in "bcdefgh":
        (inside / "v1" / name).symlink_to({"b": "c", "c": "b"}.get(name, "gone"))
    (inside / "v1/fine").symlink_to("right")
    with pytest.raises(StorageError) as caught:
        find_files(root, "v1", order(root))
    said = str(caught.value)
    assert "has 7 symbolic links that cannot be followed: 'b' leads in a circle" in said
    assert "'d' leads to nothing" in said
    assert "; and 2 more. Mend them, or leave them out: --exclude=b --exclude=c" in said
    excluded = replace(order(root), exclude=tuple("bcdefgh"))
    assert len(find_files(root, "v1", excluded)) == 3


def test_who_is_short_of_descriptors_does_not_call_a_link_wrong(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(inside / "v1", {"a": b"1"})
    (inside / "v1/b").symlink_to("a")

    def fail(*_: object) -> str:
        raise Shortage("link", "this process has no file descriptor left")

    monkeypatch.setattr("ckptd.store.files.links.resolve_link", fail)
    with pytest.raises(Shortage, match=r"descriptor left$"):
        find_files(root, "v1", order(root))

"""Links and empty directories of a manifest: every rule broken, and what leads somewhere."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.errors import InvalidManifest
from ckptd.limits import (
    BARE_NAMES_BYTES_MAX,
    LINK_COMPONENTS_MAX,
    LINKS_FOLLOWED_MAX,
    MANIFEST_DIRECTORIES_MAX,
    MANIFEST_LINKS_MAX,
    MIB,
)
from ckptd.model.bare_names import Destination, SymbolicLink, destinations, required_words
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.manifest import Manifest, encode_manifest
from tests.support.manifests import make_manifest

FILES = {"blobs/x": b"x", "blobs/y": b"y", "step-5/model": b"m", "plain": b""}


def with_names(
    links: dict[str, str] | None = None,
    directories: tuple[str, ...] = (),
    *,
    files: dict[str, bytes] | None = None,
    requires: tuple[str, ...] | None = None,
) -> Manifest:
    """Return a manifest with some bare names, which nobody has checked."""
    made = tuple(SymbolicLink(path, target) for path, target in (links or {}).items())
    return msgspec.structs.replace(
        make_manifest(FILES if files is None else files),
        links=made,
        directories=directories,
        requires=required_words(made, directories) if requires is None else requires,
    )


def refusal_of(manifest: Manifest) -> str:
    with pytest.raises(InvalidManifest) as caught:
        decode_manifest(encode_manifest(manifest))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    return caught.value.problem


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("snapshots/a/file", "../../blobs/x"),
        ("latest", "step-5"),
        ("latest", "step-5/"),
        ("latest", "./step-5//."),
        ("same", "plain"),
        ("step-5/up", "../plain"),
        ("a/b/c", "../../step-5/model"),
        ("ü/模型", "../plain"),
    ],
)
def test_a_link_that_leads_to_a_name_of_the_version_is_good(path: str, target: str) -> None:
    manifest = with_names({path: target})
    assert decode_manifest(encode_manifest(manifest)) == manifest
    assert manifest.requires == ("links",)


@pytest.mark.parametrize(
    ("path", "target", "words"),
    [
        ("l", "/etc/passwd", "leads out"),
        ("l", "..", "leads out"),
        ("l", "../l", "leads out"),
        ("a/l", "../../plain", "leads out"),
        ("a/l", "../../1/plain", "leads out"),
        ("l", "", "target of 0 bytes"),
        ("l", "x" * 4096, "target of 4096 bytes"),
        ("l", "./" * LINK_COMPONENTS_MAX + "plain", "components"),
        ("l", "blobs/../plain", "'..' behind a name"),
        ("l", "nowhere", "leads to nothing"),
        ("l", "plain/", "leads to nothing"),
        ("l", "plain/x", "leads to nothing"),
        ("l", "blob", "leads to nothing"),
        ("l", "l", "in a circle"),
        ("l", ".", "in a circle"),
        ("step-5/l", "../step-5", "in a circle"),
        ("step-5/a/l", "..", "in a circle"),
        ("l", "pla\nin", "control characters"),
        ("l", "pla\0in", "control characters"),
        ("plain", "blobs/x", "twice"),
        ("blobs", "step-5", "as a file and as a directory"),
        ("plain/l", "../blobs/x", "as a file and as a directory"),
        ("../l", "plain", "leads out"),
        ("/l", "plain", "leads out"),
        (".ckptd/l", "../plain", "ckptd's own"),
    ],
)
def test_a_link_that_leads_elsewhere_is_refused(path: str, target: str, words: str) -> None:
    assert words in refusal_of(with_names({path: target}))


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ({"a": "b", "b": "a"}, "in a circle"),
        ({"a": "b", "b": "c", "c": "b"}, "in a circle"),
        ({"a": "blobs", "l": "a/../plain"}, "'..' behind a name"),
        ({"a": "step-5", "a/l": "../plain"}, "as a file and as a directory"),
        ({"b": "plain", "a": "plain"}, "out of order"),
        ({"blobs/s": "../step-5", "step-5/b": "../blobs"}, "in a circle"),
        ({"a": "plain", "l": "a/x"}, "leads to nothing"),
        (
            {f"l{number:03}": f"l{number + 1:03}" for number in range(LINKS_FOLLOWED_MAX)}
            | {f"l{LINKS_FOLLOWED_MAX:03}": "plain"},
            "through more than 40 links",
        ),
    ],
)
def test_links_that_lead_through_each_other_are_looked_at_together(
    links: dict[str, str], words: str
) -> None:
    assert words in refusal_of(with_names(links))


def test_a_link_may_lead_through_others_as_far_as_the_kernel_goes() -> None:
    links = {f"l{number:03}": f"l{number + 1:03}" for number in range(LINKS_FOLLOWED_MAX - 1)}
    links[f"l{LINKS_FOLLOWED_MAX - 1:03}"] = "step-5"
    links["m"] = "l039/model"
    assert decode_manifest(encode_manifest(with_names(links))).links
    assert destinations(links)["l000"] == Destination("step-5", 40, is_directory=False)
    assert destinations(links)["m"] == Destination("step-5/model", 2, is_directory=False)


@pytest.mark.parametrize(
    ("directories", "words"),
    [
        (("blobs",), "as a file and as a directory"),
        (("plain",), "twice"),
        (("plain/x",), "as a file and as a directory"),
        (("a", "a/b"), "as a file and as a directory"),
        (("b", "a"), "out of order"),
        (("a", "a"), "twice"),
        (("../a",), "leads out"),
        ((".ckptd-x",), "ckptd's own"),
        (("/".join(["d"] * 65),), "components"),
    ],
)
def test_directories_that_are_not_empty_or_not_below_are_refused(
    directories: tuple[str, ...], words: str
) -> None:
    assert words in refusal_of(with_names({}, directories))


def test_a_link_may_lead_to_an_empty_directory() -> None:
    manifest = with_names({"now": "logs/7"}, ("logs/7",))
    assert decode_manifest(encode_manifest(manifest)) == manifest
    assert manifest.requires == ("directories", "links")


@pytest.mark.parametrize(
    ("links", "requires"),
    [
        ({"l": "plain"}, ()),
        ({"l": "plain"}, ("directories",)),
        ({"l": "plain"}, ("links", "links")),
        ({"l": "plain"}, ("directories", "links")),
        ({}, ("links",)),
    ],
)
def test_what_a_manifest_requires_is_what_it_has(
    links: dict[str, str], requires: tuple[str, ...]
) -> None:
    assert "of its reader, and needs" in refusal_of(with_names(links, requires=requires))


def test_a_manifest_without_bare_names_has_the_bytes_that_it_had() -> None:
    assert not {"links", "directories", "requires"} & set(
        msgspec.msgpack.decode(encode_manifest(with_names()))
    )


def test_more_bare_names_than_there_may_be_are_refused() -> None:
    many = {f"l{number:05}": "plain" for number in range(MANIFEST_LINKS_MAX)}
    assert decode_manifest(encode_manifest(with_names(many))).links
    assert "has 16385 links" in refusal_of(with_names(many | {"z": "plain"}))
    directories = tuple(f"d{number:05}" for number in range(MANIFEST_DIRECTORIES_MAX + 1))
    assert "has 16385 directories" in refusal_of(with_names({}, directories))
    long = {f"l{number:05}": "./" * 100 + "plain" for number in range(MANIFEST_LINKS_MAX)}
    assert "says more in one place than it may" in refusal_of(with_names(long))


def test_a_bomb_of_links_costs_little() -> None:
    # Each directory has two links to the next one: 2^64 ways for whoever follows them.
    levels = [f"d{number:02}" for number in range(64)]
    links = {f"{one}/{name}": f"../{another}" for one, another in pairwise(levels) for name in "ab"}
    files = {f"{level}/x": b"" for level in levels}
    assert "more than 100000 directories" in refusal_of(with_names(links, files=files))


def _deep(number: int) -> str:
    return f"{number:05}/" + "/".join("d" * 60)


@pytest.mark.parametrize(
    "links",
    [
        {f"l{number:05}": f"l{number + 1:05}" for number in range(MANIFEST_LINKS_MAX)},
        {_deep(number): "../" * 60 + "plain" for number in range(1500)},
        {f"l{number:05}": "a/" * 100 + "b" for number in range(10_000)},
        {f"{number:05}/l": f"../{number + 1:05}" for number in range(MANIFEST_LINKS_MAX)},
    ],
    ids=["chain", "deep", "long", "ladder"],
)
def test_the_worst_links_are_judged_in_little_memory(links: dict[str, str]) -> None:
    data = encode_manifest(with_names(links))
    assert len(data) < BARE_NAMES_BYTES_MAX + MIB
    tracemalloc.start()
    with suppress(InvalidManifest):
        decode_manifest(data)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 64 * MIB


_NAMES = st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a", "c/a", "x", "x/y"])
_TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", ".", "", "x", "f"]), max_size=4)


@settings(max_examples=150)
@given(st.dictionaries(_NAMES, _TARGETS.map("/".join), max_size=6), st.sets(_NAMES, max_size=2))
def test_what_is_let_through_stays_inside_for_a_kernel_that_follows_it(
    links: dict[str, str], directories: set[str]
) -> None:
    manifest = with_names(
        dict(sorted(links.items())), tuple(sorted(directories)), files={"f": b"", "x/f": b""}
    )
    try:
        decode_manifest(encode_manifest(manifest))
    except InvalidManifest:
        return
    tree = {"f", "x/f", *directories, *links}
    tree |= {path[:end] for path in tree for end in range(len(path)) if path[end] == "/"} | {""}
    for path in links:
        at, pending, followed = "", path.split("/"), 0
        while pending:
            component = pending.pop(0)
            if component == "..":
                assert at, "leads out"
                at = at.rpartition("/")[0]
            elif component not in {"", "."}:
                inner = f"{at}/{component}" if at else component
                assert inner in tree
                if inner in links:
                    followed += 1
                    assert followed <= LINKS_FOLLOWED_MAX
                    pending = [*links[inner].split("/"), *pending]
                else:
                    at = inner

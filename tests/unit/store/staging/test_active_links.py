"""What is to become of a link is done once, however often it is tried; see ``test_activating``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptd.errors import Conflict, NotFound, StorageError
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.files.roots import Root
from ckptd.store.records.active_records import ActiveVersion
from ckptd.store.staging.active_links import (
    check_as_made,
    is_so,
    swap_link,
    take_away,
    texts_of,
)
from ckptd.store.staging.current_link import CurrentLink

NAME = CheckpointName("llama")


def leading_to(version: int | None) -> ActiveVersion:
    if version is None:
        return ActiveVersion("data", NAME, "llama/current", None, None, None, 0.0)
    directory, digest = f"llama/{version}", Digest("ab" * 32)
    return ActiveVersion("data", NAME, "llama/current", directory, Version(version), digest, 0.0)


@pytest.fixture
def link(inside: Path) -> Path:
    (inside / "llama").mkdir()
    return inside / "llama/current"


def test_links_say_where_rows_lead() -> None:
    assert texts_of(leading_to(1), None, leading_to(2), leading_to(None)) == {"1", "2"}


def test_a_link_is_swapped_once_and_then_only_made_durable(root: Root, link: Path) -> None:
    first, second = leading_to(1), leading_to(2)
    assert not is_so(root, first, None)
    took_ns = swap_link(root, first, None, None)
    assert took_ns is not None
    assert 0 < took_ns < 60 * SECOND
    assert is_so(root, first, None)
    assert swap_link(root, first, None, None) is None
    assert swap_link(root, second, first, None) is not None
    assert os.readlink(link) == "2"
    assert not is_so(root, first, None)
    check_as_made(root, second)


def test_what_a_swap_has_left_is_removed_when_somebody_asks_or_tries_again(
    root: Root, link: Path
) -> None:
    first, second = leading_to(1), leading_to(2)
    swap_link(root, second, None, None)
    (link.parent / ".ckptd-current").symlink_to("1")
    assert is_so(root, second, first)
    assert os.listdir(link.parent) == ["current"]
    (link.parent / ".ckptd-current").symlink_to("1")
    assert swap_link(root, second, first, None) is None
    assert os.listdir(link.parent) == ["current"]


def test_a_stranger_with_the_passing_name_is_in_nobodys_way_once_the_link_is_right(
    root: Root, link: Path
) -> None:
    second = leading_to(2)
    swap_link(root, second, None, None)
    stranger = link.parent / ".ckptd-current"
    stranger.write_bytes(b"precious")
    assert is_so(root, second, None)
    assert swap_link(root, second, None, None) is None
    assert stranger.read_bytes() == b"precious"


def test_a_link_is_taken_away_once_and_something_else_is_left(root: Root, link: Path) -> None:
    first, away = leading_to(1), leading_to(None)
    swap_link(root, first, None, None)
    assert not is_so(root, away, first)
    assert take_away(root, first) == ""
    assert is_so(root, away, first)
    assert take_away(root, first) == ""
    with pytest.raises(NotFound, match=r"is gone\. Activate .* ckptctl activate llama@1"):
        check_as_made(root, first)
    link.symlink_to("elsewhere")
    assert "leads to 'elsewhere'" in take_away(root, first)
    assert not is_so(root, away, first)
    assert os.readlink(link) == "elsewhere"
    with pytest.raises(Conflict):
        check_as_made(root, first)


def test_where_the_directory_is_gone_so_is_the_link(root: Root, inside: Path) -> None:
    assert take_away(root, leading_to(1)) == ""
    assert is_so(root, leading_to(None), leading_to(1))


def test_nothing_is_done_in_a_root_that_leads_elsewhere(
    root: Root, inside: Path, link: Path
) -> None:
    inside.rename(inside.with_name("moved"))
    inside.mkdir()
    with pytest.raises(StorageError, match="is not the directory any more"):
        swap_link(root, leading_to(1), None, None)
    with pytest.raises(StorageError, match="is not the directory any more"):
        take_away(root, leading_to(1))
    assert not os.listdir(inside)


def test_whatever_was_found_is_durable(
    root: Root, link: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str | None] = []
    monkeypatch.setattr(CurrentLink, "sync", lambda self: synced.append(self.look()))
    for _ in range(2):
        swap_link(root, leading_to(1), None, None)
    for _ in range(2):
        take_away(root, leading_to(1))
    assert synced == ["1", "1", None, None]

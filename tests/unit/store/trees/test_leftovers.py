from __future__ import annotations

import os

import pytest

from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.store.files.roots import Root
from ckptd.store.trees import leftovers
from ckptd.store.trees.leftovers import matching, survey, take_up
from tests.support.mounts import needs_disk
from tests.support.stagings import (
    COMES_WHOLE,
    Site,
    fill,
    go_on,
)


class TestSurvey:
    def test_files_as_they_should_be_are_kept(self, site: Site, tree: Root) -> None:
        needs_disk(site.path)
        seen = survey(tree, site.space.manifest)
        assert sorted(seen.allocated) == [0, 1, 2, 3]
        assert seen.allocated[site.unit("shards/large.bin")] >= 3 * MIB
        assert seen.strangers == ()

    def test_whatever_is_not_a_unit_is_a_stranger(self, site: Site, tree: Root) -> None:
        site.staged("config.json").unlink()
        site.staged("config.json").mkdir()
        site.staged("empty").unlink()
        os.mkfifo(site.staged("empty"))
        site.staged("shards/large.bin").unlink()
        site.staged("shards/large.bin").symlink_to(site.path / "elsewhere")
        site.staged("shards/deep/twin").hardlink_to(site.staged("shards/deep/small.bin"))
        site.staged("other/deep").mkdir(parents=True)
        seen = survey(tree, site.space.manifest)
        assert seen.allocated == {}
        assert sorted(seen.strangers) == [
            "config.json",
            "empty",
            "other",
            "shards/deep/small.bin",
            "shards/deep/twin",
            "shards/large.bin",
        ]

    def test_a_file_of_another_length_is_a_stranger(self, site: Site, tree: Root) -> None:
        os.truncate(site.staged("config.json"), 3)
        assert survey(tree, site.space.manifest).strangers == ("config.json",)

    def test_a_linked_directory_is_not_entered(self, site: Site, tree: Root) -> None:
        outside = site.path / "outside"
        site.staged("shards").rename(outside)
        site.staged("shards").symlink_to(outside)
        assert survey(tree, site.space.manifest).strangers == ("shards",)


class TestMatching:
    def test_blocks_on_the_disk_are_compared(self, site: Site, tree: Root) -> None:
        assert matching(tree, site.space, site.everything, check=go_on) == site.blocks_of(
            *COMES_WHOLE
        )
        fill(site)
        assert matching(tree, site.space, site.everything, check=go_on) == site.everything

    def test_only_blocks_that_were_asked_for_are_returned(self, site: Site, tree: Root) -> None:
        fill(site)
        some = BlockSet([(0, 1), (3, 5), (7, site.space.block_count)])
        assert matching(tree, site.space, some, check=go_on) == some

    def test_changed_and_lost_bytes_are_noticed(self, site: Site, tree: Root) -> None:
        fill(site)
        large = site.staged("shards/large.bin")
        os.truncate(large, 3 * MIB - 1)
        with large.open("r+b") as file:
            file.seek(MIB)
            file.write(b"!")
        first, end = site.space.unit_run(site.unit("shards/large.bin"))
        size = site.space.manifest.units[site.unit("shards/large.bin")].block_size_bytes
        wrong = BlockSet([(first + MIB // size, first + MIB // size + 1), (end - 1, end)])
        assert matching(tree, site.space, site.everything, check=go_on) == site.everything - wrong

    def test_threads_share_what_is_more_than_one_portion(
        self, site: Site, tree: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(site)
        monkeypatch.setattr(leftovers, "_PORTION_BYTES", 512 * KIB)
        assert matching(tree, site.space, site.everything, check=go_on) == site.everything


def test_its_owner_may_write_again_to_what_was_finished_and_not_placed(
    site: Site, tree: Root
) -> None:
    fill(site)
    site.staged("config.json").chmod(0o444)
    site.staged("empty").chmod(0o644)
    take_up(tree, site.space.manifest, ())
    assert site.staged("config.json").stat().st_mode & 0o777 == 0o600
    assert site.staged("empty").stat().st_mode & 0o777 == 0o644

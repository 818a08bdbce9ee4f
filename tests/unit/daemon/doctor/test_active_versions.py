"""The doctor warns of links to active versions that are not as they were made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptd.daemon.doctor.active_versions import judge_active
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.words import CheckResult
from ckptd.store.files.roots import Root, Roots
from ckptd.store.records.active_records import ActiveVersion

ROW = ActiveVersion(
    "data", CheckpointName("llama"), "llama/current", "llama/7", Version(7), Digest("0a" * 32), 0.0
)


@pytest.fixture
def link(root: Root) -> Path:
    Path(root.path, "llama/7").mkdir(parents=True)
    path = Path(root.path, "llama/current")
    path.symlink_to("7")
    return path


def test_where_nothing_is_active_nothing_is_said(root: Root) -> None:
    assert judge_active((), Roots([root])) == []


def test_links_as_they_were_made_are_counted(root: Root, link: Path) -> None:
    (row,) = judge_active([ROW], Roots([root]))
    assert (row.verdict, row.finding) == (
        CheckResult.OK,
        "1 link to active versions as ckptd made them",
    )


def test_a_link_that_leads_elsewhere_is_gone_or_leads_to_nothing_is_a_warning(
    root: Root, link: Path
) -> None:
    os.rmdir(link.parent / "7")
    (gone,) = judge_active([ROW], Roots([root]))
    assert gone.finding == f"leads to {root.path}/llama/7, which is gone"
    assert gone.remedy == "Activate another version, or: ckptctl activate --none llama"
    link.unlink()
    (missing,) = judge_active([ROW], Roots([root]))
    assert (missing.subject, missing.finding) == (str(link), "is gone")
    link.symlink_to("6")
    (other,) = judge_active([ROW], Roots([root]))
    assert "leads to '6', which is not what ckptd made it for" in other.finding
    assert {each.verdict for each in (gone, missing, other)} == {CheckResult.WARN}


def test_a_root_that_is_not_configured_any_more_is_a_warning(root: Root) -> None:
    (row,) = judge_active([ROW._replace(root="other")], Roots([root]))
    assert row.finding == "is not configured"

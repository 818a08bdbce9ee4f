"""What is said of the units of a version, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.control.messages import manifests
from ckptd.daemon.answer import said_rows
from ckptd.daemon.answer.said_rows import said_of, unit_pages, unit_row
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.policy.rules import Policy, Rule
from ckptd.model.space import AddressSpace
from ckptd.store.files.roots import Root
from ckptd.store.published.finding import Outlook, outlook_of
from ckptd.store.published.scanning import PublishOrder
from tests.support.stores import publish, write_files

FILES = {"config.json": b"{}", "model.safetensors": b"w" * 100, "optimizer.pt": b"o" * 200}
POLICY = Policy(
    ("core",),
    (
        Rule(("*.safetensors",), "core", after=("config.json",), origin="rule 1"),
        Rule(("optim*",), is_optional=True, origin="rule 2"),
        Rule(("none",), is_optional=True, origin="rule 3"),
        Rule(("config*",), after=("vocab",), origin="rule 4"),
    ),
)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "root").mkdir()
    opened = Root.open("data", str(tmp_path / "root"))
    write_files(tmp_path / "root/v1", FILES)
    yield opened
    opened.close()


def outlook(root: Root, *policies: Policy, recognises: bool = False) -> Outlook:
    order = PublishOrder(
        root.absolute("v1"),
        CheckpointName("a/shard-0-of-2"),
        Version(1),
        policies=policies,
        recognises=recognises,
    )
    return outlook_of(root, "v1", order)


def test_of_what_would_be_published_rules_and_sums_are_shown(root: Root) -> None:
    found = outlook(root, POLICY)
    said = said_of(found)
    assert [(each.name, each.units, each.bytes) for each in said.phases] == [
        ("core", 2, 102),
        ("rest", 1, 200),
    ]
    rows = [
        (each.paths, each.phase, each.after, each.rule, each.lifted_before) for each in said.folds
    ]
    assert rows == [
        ("config.json", "core", (), "rule 4", "model.safetensors"),
        ("model.safetensors", "core", ("config.json",), "rule 1", ""),
        ("optimizer.pt", "rest", (), "rule 2", ""),
    ]
    assert said.idle_rules == ("rule 3",)
    assert found.files.assignment.unresolved == ("vocab (rule 4)",)


def test_what_is_recognised_is_shown_and_does_not_count(root: Root) -> None:
    said = said_of(outlook(root))
    assert [each.name for each in said.phases] == ["all"]
    assert said.proposal is not None
    assert (said.proposal.format, said.proposal.is_counted) == ("Hugging Face", False)
    assert [each.name for each in said.proposal.phases] == ["core", "rest"]
    counted = said_of(outlook(root, recognises=True))
    assert counted.idle_rules == ()  # nobody wrote those that find nothing here
    assert [each.name for each in counted.phases] == ["core", "rest"]
    assert counted.proposal == manifests.ProposalView(format="Hugging Face", is_counted=True)


def test_what_is_recognised_and_contradicts_the_rules_is_shown_with_why(root: Root) -> None:
    config_last = Policy((), (Rule(("config*",), after=("model*", "optim*"), origin="mine"),))
    found = outlook(root, config_last)
    said = said_of(found)
    assert said.proposal is not None
    if said.proposal.problem:
        assert said.proposal.phases == ()


def test_units_come_in_pages(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said_rows, "UNITS_IN_ANSWER_MAX", 2)
    pages = list(unit_pages(outlook(root, POLICY).files))
    assert [[unit.path for unit in page.units] for page in pages] == [
        ["config.json", "model.safetensors"],
        ["optimizer.pt"],
    ]
    assert pages[0].units[1].after == ("config.json",)
    assert pages[1].units[0].is_optional


def test_a_unit_of_a_manifest_is_shown_with_its_digest(root: Root) -> None:
    hashed = publish(root, "v1", checkpoint="a/shard-0-of-2", policies=(POLICY,))
    space = AddressSpace(hashed.manifest)
    row = unit_row(space, space.manifest.units[1])
    assert (row.path, row.after, row.phase) == ("model.safetensors", ("config.json",), "core")
    assert len(row.digest) == 64

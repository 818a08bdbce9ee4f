"""Rules, alerts, runbooks and the table of metrics agree with each other and with the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ckptd.cli.ctl.arguments import parse
from tests.support.promtool import PROJECT, promtool
from tests.unit.daemon.measure.test_measuring import FULL, families

PROMETHEUS = PROJECT / "deploy/prometheus"
RULES = (PROMETHEUS / "rules.yml").read_text()
CASES = (PROMETHEUS / "rules_test.yml").read_text()
RUNBOOKS = sorted((PROJECT / "deploy/runbooks").glob("*.md"))
ALERTS = sorted(set(re.findall(r"alert: (\w+)", RULES)))


def documented() -> dict[str, tuple[str, ...]]:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \|$",
        (PROJECT / "deploy/METRICS.md").read_text(),
        re.MULTILINE,
    )
    return {name: tuple(facts) for name, *facts in rows}


def shown() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, family in families(FULL).items():
        if name.startswith("ckptd_"):
            labels = sorted({label for each in family.samples for label in each.labels} - {"le"})
            suffix = "_total" if family.type == "counter" else ""
            facts = (family.type, ", ".join(labels) or "none", family.documentation)
            found[name + suffix] = facts
    return found


def test_every_metric_is_documented_and_every_documented_one_is_there() -> None:
    assert documented() == shown()


def test_prometheus_understands_the_rules() -> None:
    result = promtool("check", "rules", str(PROMETHEUS / "rules.yml"))
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    result = promtool("test", "rules", str(PROMETHEUS / "rules_test.yml"))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(alert: str) -> None:
    cases = re.findall(rf"alertname: {alert}\n(\s+exp_alerts)?", CASES)
    assert "" in cases
    assert any(cases)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_names_its_runbook(alert: str) -> None:
    (body, *_) = re.findall(rf"alert: {alert}\n(.*?)(?=\n *- alert|\Z)", RULES, re.DOTALL)
    assert f"/runbooks/{alert}.md" in body
    assert (PROJECT / f"deploy/runbooks/{alert}.md").is_file()


def test_there_is_a_runbook_for_each_alert_and_none_beside_them() -> None:
    assert len(ALERTS) == 22
    assert [page.stem for page in RUNBOOKS] == ALERTS


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_every_command_in_a_runbook_exists(page: Path) -> None:
    text = page.read_text()
    commands = re.findall(r"(?:^\$ |`)ckptctl ([^`\n]+)", text, re.MULTILINE)
    for command in commands:
        parse(command.split())  # ends the process if it is none
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "What it means",
        "How to look",
        "What to do",
    ]


def test_every_metric_in_the_rules_exists() -> None:
    known = shown()
    for name in re.findall(r"(?<![:\w])ckptd_[a-z0-9_]+", re.sub(r"record: .*", "", RULES)):
        assert name in known or name.removesuffix("_bucket") in known, name


def test_a_broken_rule_is_caught(tmp_path: Path) -> None:
    head, first, _ = re.split(r"^  (?=- name: )", CASES, maxsplit=2, flags=re.MULTILINE)
    (tmp_path / "rules_test.yml").write_text(f"{head}  {first}")
    for rules, is_right in ((RULES, True), (RULES.replace("== 0", "== 1", 1), False)):
        (tmp_path / "rules.yml").write_text(rules)
        result = promtool("test", "rules", str(tmp_path / "rules_test.yml"))
        assert (result.returncode == 0) is is_right, result.stdout + result.stderr

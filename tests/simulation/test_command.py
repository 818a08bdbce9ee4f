"""``python -m ckptd.cli.sim``, which is what ``make sim`` runs."""

import pytest

from ckptd.cli.sim import main


def test_seeds_are_run_on_all_cores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "4", "--jobs", "2"]) == 0
    assert "4 of 4 seeds, 0 failed" in capsys.readouterr().out


def test_a_seed_is_replayed_with_its_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7", "--story", "5", "--node", "n02"]) == 0
    lines = capsys.readouterr().out.splitlines()
    story = [line for line in lines if " n02 " in line and line[0].isdigit()]
    assert len(story) == 5
    assert lines[-1] == "nothing failed"


def test_seeds_of_chaos_are_run_and_replayed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--seeds", "2", "--jobs", "1", "--profile", "chaos"]) == 0
    assert "2 of 2 seeds, 0 failed" in capsys.readouterr().out
    assert main(["--seed", "1", "--profile", "chaos"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "nothing failed"
    assert not any("close call" in line for line in lines)

    monkeypatch.setattr("ckptd.sim.check.outcomes.DUPLICATE_SHARE_MAX", -1.0)
    assert main(["--seeds", "1", "--jobs", "1", "--profile", "chaos"]) == 1
    assert "make sim SEED=0 PROFILE=chaos" in capsys.readouterr().out


def test_a_named_scenario_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", "healthy"]) == 0
    assert "ok  received / needed: 1 (to reach: 1.005)" in capsys.readouterr().out


def test_a_failure_names_the_seed_and_how_to_replay_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.sim.check.outcomes.DUPLICATE_SHARE_MAX", -1.0)
    assert main(["--seed", "7"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("seed 7, commit ")
    assert lines[-1].startswith("CheckFailed: ")

    assert main(["--seeds", "1", "--first", "7", "--jobs", "1"]) == 1
    assert "make sim SEED=7" in capsys.readouterr().out

"""The file, conf.d beside it, and variables: which wins, and whose error it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.config import load_config, load_stated
from ckptd.errors import ConfigurationError
from ckptd.model.rate_limits import LimitKey
from ckptd.model.words import Direction, Urgency
from tests.support.configurations import toml, write_config, write_drop_in


def test_the_file_then_conf_d_by_name_then_variables(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml(recovery='redundancy = 2\nbuffers = "64MiB"'))
    second = write_drop_in(tmp_path, "20.toml", '[recovery]\nbuffers = "128MiB"\n')
    write_drop_in(tmp_path, "10.toml", '[recovery]\nbuffers = "96MiB"\ndrop_written = true\n')
    config, stated = load_stated(path, {})
    assert config.recovery.redundancy == 2
    assert config.recovery.drop_written
    assert config.recovery.buffers_bytes == 128 * 2**20
    assert (stated["recovery.redundancy"], stated["recovery.buffers"]) == (path, second)
    config, stated = load_stated(path, {"CKPTD_RECOVERY__BUFFERS": "256MiB"})
    assert config.recovery.buffers_bytes == 256 * 2**20
    assert stated["recovery.buffers"] == "variable CKPTD_RECOVERY__BUFFERS"


def test_tables_are_put_together_and_lists_are_not(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml(discovery='peers = ["a:1", "b:1"]'))
    write_drop_in(tmp_path, "a.toml", '[roots]\nfast = "/fast"\n[discovery]\npeers = ["c:1"]\n')
    config = load_config(path, {})
    assert config.roots == {"main": "/data/checkpoints", "fast": "/fast"}
    assert config.discovery.peers == ("c:1",)


def test_variables_are_text_unless_they_are_another_value_of_toml(tmp_path: Path) -> None:
    environ = {
        "CKPTD_LISTEN__METRICS": "",
        "CKPTD_LISTEN__CONNECTIONS": "100",
        "CKPTD_LISTEN__DATA": "10.0.0.1:7421",
        "CKPTD_DISCOVERY__PEERS": '["a:1"]',
        "CKPTD_SCRUB__REPAIR": "true",
        "CKPTD_LIMITS__BACKGROUND__EGRESS": "100MiB/s",
        "CKPTD_ROOTS__FAST": "/fast",
        "CKPTD_NODE__ID": '"7"',
        "CKPTD_SOCKET": "/not/a/key",
        "HOME": "/root",
    }
    config = load_config(write_config(tmp_path, toml()), environ)
    assert config.listen.metrics is None
    assert config.listen.connections == 100
    assert str(config.listen.data) == "10.0.0.1:7421"
    assert config.discovery.peers == ("a:1",)
    assert config.scrub.repair
    rates = {LimitKey(Direction.EGRESS, Urgency.BACKGROUND): 100 * 2**20}
    assert config.limits.rates == rates
    assert config.roots["fast"] == "/fast"
    assert config.node.id == "7"


@pytest.mark.parametrize(
    ("name", "value", "subject", "words"),
    [
        ("CKPTD_NOED__ID", "a", "variable CKPTD_NOED__ID: noed", "Did you mean node"),
        ("CKPTD_NODE__IDD", "a", "variable CKPTD_NODE__IDD: node.idd", "Did you mean node.id"),
        ("CKPTD_NODE__ID", "7", "variable CKPTD_NODE__ID: node.id", "Put the value in quotes"),
        ("CKPTD_NODE__", "a", "variable CKPTD_NODE__", "is no name of a key"),
        ("CKPTD___ID", "a", "variable CKPTD___ID", "is no name of a key"),
        ("CKPTD_NODE__ID__X", "a", "variable CKPTD_NODE__ID: node.id", "is a table"),
        ("CKPTD_DISCOVERY__PEERS", "[" * 20_000, "variable CKPTD_DISCOVERY__PEERS", "not TOML"),
        ("CKPTD_DISCOVERY__PEERS", '["a:1"', "variable CKPTD_DISCOVERY__PEERS", "is not TOML"),
        ("CKPTD_LOG__LEVEL", '1\n[x]\ny = "z"', "variable CKPTD_LOG__LEVEL: log.level", "not one"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    name: str, value: str, subject: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_config(write_config(tmp_path, toml()), {name: value})
    assert refused.value.subject.startswith(subject.partition(":")[0])
    assert words in str(refused.value)


def test_an_error_of_a_drop_in_names_that_file(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml())
    drop_in = write_drop_in(tmp_path, "10.toml", '[log]\nlevel = "loud"\n')
    with pytest.raises(ConfigurationError) as refused:
        load_config(path, {})
    assert refused.value.subject == f"{drop_in}: log.level"


def test_only_toml_files_of_conf_d_count(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml())
    for name in (".10.toml", "10.toml~", "10.toml.rpmsave", "README"):
        write_drop_in(tmp_path, name, "is not TOML")
    assert load_config(path, {}).node.id == "node-a"


def test_more_files_than_anybody_writes_are_refused(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml())
    for number in range(257):
        write_drop_in(tmp_path, f"{number}.toml", "")
    with pytest.raises(ConfigurationError, match="257 files"):
        load_config(path, {})

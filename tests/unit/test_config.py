from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from ckptd.config import (
    Address,
    Config,
    default_socket_path,
    document,
    load_config,
    parse_address,
    parse_peer,
    sections,
)
from ckptd.config.copies import zone_of
from ckptd.config.copy_values import CheckpointCopies
from ckptd.config.recover_tables import RecoverTable
from ckptd.copies.counts import CopyCounts, CopyRule
from ckptd.errors import ConfigurationError, ExitCode, UsageError
from ckptd.limits import GIB, MIB, PEERS_MAX
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.rate_limits import LimitKey
from ckptd.model.retention import FreeRoom
from ckptd.model.timetable import Span
from ckptd.model.words import Direction, PlaceMode, RecoverAt, RemovableKind, Urgency
from tests.support.configurations import BAD, TLS, Bad, toml, write_config, write_drop_in

CONFIGS = Path(__file__).parents[2] / "configs"


def load(directory: Path, text: str) -> Config:
    return load_config(write_config(directory, text), {})


def refusal(directory: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load(directory, text)
    return str(refused.value)


def test_the_minimal_file_has_every_default() -> None:
    config = load_config(str(CONFIGS / "minimal.toml"), {})
    assert config == Config(
        node=sections.NodeSection(id=NodeId("node-a"), state_dir="/var/lib/ckptd"),
        roots={"main": "/data/checkpoints"},
        listen=sections.ListenSection(
            data=Address("0.0.0.0", 7421),
            metrics=Address("127.0.0.1", 7422),
            control="/run/ckptd/ckptd.sock",
        ),
        control=sections.ControlSection(
            admin_users=(),
            admin_groups=(),
            operator_users=(),
            operator_groups=(),
            viewer_users=(),
            viewer_groups=(),
        ),
        discovery=sections.DiscoverySection(peers=()),
        transport=sections.TransportSection(insecure=True),
        recovery=sections.RecoverySection(buffers_bytes=256 * 2**20, redundancy=1),
        limits=sections.LimitsSection(
            rates={}, schedule=(), yield_to=None, yield_rate_bytes_per_s=None
        ),
        log=sections.LogSection(level="info", format="auto"),
        environment={},
    )


def test_every_key_can_be_set(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        [node]
        id = "node-7"
        state_dir = "/state/../state//x/"
        [roots]
        slow = "/slow"
        fast = "/slower"
        [listen]
        data = "[::]:0"
        metrics = ""
        control = "/tmp/c.sock"
        [control]
        admin_users = ["alice", 1001]
        admin_groups = ["wheel"]
        operator_users = ["0"]
        operator_groups = ["ops", "DOMAIN\\\\ops", "ops@example.org"]
        viewer_users = ["monitor$"]
        viewer_groups = [4294967294]
        [discovery]
        peers = ["Node-B.example:7421", "[2001:DB8::1]:7421"]
        [transport]
        insecure = true
        [recovery]
        buffers = "1.5GiB"
        redundancy = 2
        [jobs.llama]
        shards = "7,3-4/8"
        [jobs."team/gpt"]
        shards = "all"
        [limits]
        ingress = "400MiB/s"
        yield_to = "eth0"
        yield_rate = "10Gbit/s"
        [limits.background]
        disk_write = "1MiB/s"
        [limits.peers."node.b"]
        egress = "8Mbit/s"
        [[limits.schedule]]
        from = "22:00"
        until = "24:00"
        ingress = "unlimited"
        [[limits.schedule]]
        from = "8:00"
        until = "18:30"
        days = ["mon", "fri"]
        [limits.schedule.deferred]
        egress = "1GiB/s"
        [log]
        level = "debug"
        format = "json"
        """,
    )
    assert config == Config(
        node=sections.NodeSection(id=NodeId("node-7"), state_dir="/state/x"),
        roots={"slow": "/slow", "fast": "/slower"},
        listen=sections.ListenSection(data=Address("::", 0), metrics=None, control="/tmp/c.sock"),
        control=sections.ControlSection(
            admin_users=("alice", "1001"),
            admin_groups=("wheel",),
            operator_users=("0",),
            operator_groups=("ops", "DOMAIN\\ops", "ops@example.org"),
            viewer_users=("monitor$",),
            viewer_groups=("4294967294",),
        ),
        discovery=sections.DiscoverySection(peers=("node-b.example:7421", "[2001:db8::1]:7421")),
        transport=sections.TransportSection(insecure=True),
        recovery=sections.RecoverySection(buffers_bytes=1536 * 2**20, redundancy=2),
        jobs={
            "llama": sections.JobSection(shards="3-4,7/8"),
            "team/gpt": sections.JobSection(shards="all"),
        },
        limits=sections.LimitsSection(
            rates={
                LimitKey(Direction.INGRESS): 400 * MIB,
                LimitKey(Direction.DISK_WRITE, Urgency.BACKGROUND): MIB,
                LimitKey(Direction.EGRESS, peer="node.b"): 1_000_000,
            },
            schedule=(
                sections.LimitSpan(
                    span=Span(22 * 60, 0), rates={LimitKey(Direction.INGRESS): None}
                ),
                sections.LimitSpan(
                    span=Span(8 * 60, 18 * 60 + 30, frozenset({0, 4})),
                    rates={LimitKey(Direction.EGRESS, Urgency.DEFERRED): GIB},
                ),
            ),
            yield_to="eth0",
            yield_rate_bytes_per_s=1_250_000_000,
        ),
        log=sections.LogSection(level="debug", format="json"),
    )


def test_there_are_many_ways_to_get_it_wrong() -> None:
    assert len(BAD) >= 60


def test_keys_nested_without_end_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml(recovery=f"redundancy{'.a' * 500_000} = 1"))
    with pytest.raises(ConfigurationError, match="has 500000 dots in one word"):
        load_config(path, {})


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_an_error_names_file_and_key(bad: Bad, tmp_path: Path) -> None:
    path = write_config(tmp_path, bad.text)
    with pytest.raises(ConfigurationError) as refused:
        load_config(path, {})
    assert refused.value.subject == f"{path}: {bad.key}"
    assert bad.words in str(refused.value)


@pytest.mark.parametrize("data", ["127.0.0.1:0", "127.8.9.1:1", "[::1]:0", "localhost:0"])
def test_on_loopback_plaintext_needs_no_word(data: str, tmp_path: Path) -> None:
    config = load(tmp_path, toml(transport="", listen=f'data = "{data}"'))
    assert (config.transport.insecure, config.tls) == (False, None)


def test_certificates_need_no_word_about_plaintext(tmp_path: Path) -> None:
    config = load(tmp_path, toml(transport="", tls=TLS + '\nrevoked = "/r"'))
    assert config.tls == sections.TlsSection(
        ca="/ca.crt", certificate="/n.crt", key="/n.key", revoked="/r"
    )


def test_a_credential_is_where_systemd_put_it(tmp_path: Path) -> None:
    path = write_config(
        tmp_path, toml(transport="", tls=TLS.replace("/n.key", "credential:node.key"))
    )
    config = load_config(path, {"CREDENTIALS_DIRECTORY": "/run/credentials/ckptd.service"})
    assert config.tls is not None
    assert config.tls.key == "/run/credentials/ckptd.service/node.key"


def test_a_peer_may_be_pinned_to_a_node(tmp_path: Path) -> None:
    config = load(tmp_path, toml(discovery='peers = ["Node-1@Host:1", "other:2"]'))
    assert config.discovery.peers == ("Node-1@host:1", "other:2")
    assert parse_peer("Node-1@host:1") == (NodeId("Node-1"), Address("host", 1))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="does not exist") as refused:
        load_config(path)
    assert refused.value.subject == path
    assert refused.value.exit_code == ExitCode.CONFIGURATION


def test_a_directory_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_config(str(tmp_path))


def test_a_path_with_a_nul_cannot_be_read() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: embedded null byte"):
        load_config("a\0b")


def test_what_is_not_toml_is_reported_with_its_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, toml() + "[log]\nlevel = info\n")
    assert re.search(r"is not TOML: .*at line 9\b", message)


def test_what_is_not_utf_8_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "ckptd.toml"
    path.write_bytes(b"[node]\nid = '\xff'\n")
    with pytest.raises(ConfigurationError, match=r"is not UTF-8 \(at line 2\)"):
        load_config(str(path))


@pytest.mark.parametrize("text", ["x = " + "[" * 20_000, "x = 1" + "0" * 5000])
def test_toml_that_python_gives_up_on_is_refused(text: str, tmp_path: Path) -> None:
    assert "is not TOML" in refusal(tmp_path, text)


def test_a_file_of_any_length_is_not_read_into_memory(tmp_path: Path) -> None:
    assert "longer than 1 MiB" in refusal(tmp_path, "#" * (document.CONFIG_BYTES_MAX + 1))


def test_more_peers_than_a_cluster_has_are_refused(tmp_path: Path) -> None:
    peers = ",".join(f'"n{number}:1"' for number in range(PEERS_MAX + 1))
    assert "4097 peers" in refusal(tmp_path, toml(discovery=f"peers = [{peers}]"))


def test_roots_with_a_common_beginning_do_not_overlap(tmp_path: Path) -> None:
    config = load(tmp_path, toml(roots='a = "/data"\nb = "/data-2"\nc = "/dat"'))
    assert list(config.roots) == ["a", "b", "c"]


def test_only_what_the_daemon_uses_is_taken_from_the_environment(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml())
    config = load_config(path, {"NOTIFY_SOCKET": "/n", "HOME": "/root", "NO_COLOR": "1"})
    assert config.environment == {"NOTIFY_SOCKET": "/n", "NO_COLOR": "1"}


def test_the_environment_of_the_process_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/from/systemd")
    monkeypatch.setenv("CKPTD_SOCKET", "/from/shell")
    assert load_config(write_config(tmp_path, toml())).environment["NOTIFY_SOCKET"]
    assert default_socket_path() == "/from/shell"


@pytest.mark.parametrize("environ", [{}, {"CKPTD_SOCKET": ""}])
def test_the_socket_is_where_the_daemon_puts_it(environ: dict[str, str]) -> None:
    assert default_socket_path(environ) == sections.ListenSection().control


@pytest.mark.parametrize("text", ["127.0.0.1:7421", "[::1]:0", "node-a.example:65535", "a_b:1"])
def test_an_address_reads_as_it_was_written(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["", ":", "a", "a:", "a:+1", "a:1 ", "a:٣", "a b:1", "[::1]", "-a:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_address(text)


def uncommented_defaults() -> list[tuple[str, str]]:
    """Return (key, file with this default written out) for each ``# key = value`` line."""
    lines = (CONFIGS / "ckptd.toml").read_text().splitlines()
    section = ""
    found = []
    for index, line in enumerate(lines):
        if line.startswith("["):
            section = line.strip("[]")
        if match := re.fullmatch(r"# (([a-z_]+) = .+)", line):
            changed = [*lines[:index], match[1], *lines[index + 1 :]]
            found.append((f"{section}.{match[2]}", "\n".join(changed)))
    return found


@pytest.mark.parametrize(("key", "text"), uncommented_defaults())
def test_a_commented_value_of_the_example_is_the_default(
    key: str, text: str, tmp_path: Path
) -> None:
    assert load(tmp_path, text) == load_config(str(CONFIGS / "ckptd.toml"), {}), key


def test_the_example_shows_every_key_of_the_schema() -> None:
    structs = {
        section.name: kind
        for section in msgspec.structs.fields(Config)
        for kind in (section.type, *get_args(section.type))
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    schema = {
        f"{section}.{field.encode_name}": field.required
        for section, struct in structs.items()
        for field in msgspec.structs.fields(struct)
    }
    del schema["limits.rates"]
    del schema["recovery.roots"]
    del schema["jobs.shards"]  # below a name
    del schema["retention.checkpoints"]
    del schema["copies.checkpoints"]
    del schema["copies.zones"]
    schema |= {f"limits.{direction.value}": False for direction in Direction}
    required = {key for key, is_required in schema.items() if is_required}
    optional = {key for key, _ in uncommented_defaults()}
    assert optional == schema.keys() - required
    text = (CONFIGS / "ckptd.toml").read_text()
    for key in (
        *msgspec.structs.fields(sections.RootRecovery),
        *msgspec.structs.fields(sections.JobSection),
    ):
        assert re.search(rf"^#   {key.name} = ", text, re.MULTILINE), key.name
    for each in dataclasses.fields(RecoverTable):
        assert re.search(rf"^#   {each.name.removesuffix('_s')} = ", text, re.MULTILINE), each.name
    for key in msgspec.structs.fields(sections.CheckpointRetention):
        name = key.name.removesuffix("_s")
        assert re.search(rf"^#   {name} = ", text, re.MULTILINE), name
    for key in msgspec.structs.fields(CheckpointCopies):
        assert re.search(rf"^#   {key.name} = ", text, re.MULTILINE), key.name
    assert all(re.search(rf"^{key.partition('.')[2]} = ", text, re.MULTILINE) for key in required)


def test_policies_are_read_in_order_with_their_origin(tmp_path: Path) -> None:
    text = (
        toml()
        + """
        [[policy]]
        checkpoint = "llama*"
        place = "progressive"
        phases = ["core", "rest"]
        [[policy.rule]]
        paths = ["*.json"]
        phase = "core"
        [[policy]]
        checkpoint = "*"
        [[policy.rule]]
        paths = ["*"]
        optional = false
    """
    )
    first, second = load(tmp_path, text).policy
    assert (first.checkpoint, first.place) == ("llama*", PlaceMode.PROGRESSIVE)
    assert first.policy.phases == ("core", "rest")
    assert first.policy.rules[0].origin == "configuration policy[0].rule[0]"
    assert (second.checkpoint, second.place) == ("*", None)
    assert second.policy.rules[0].origin == "configuration policy[1].rule[0]"


def test_policies_in_a_file_of_conf_d_take_the_place_of_all(tmp_path: Path) -> None:
    policy = '[[policy]]\ncheckpoint = "{}"\nplace = "{}"\n'
    write_drop_in(tmp_path, "10.toml", policy.format("b", "atomic"))
    (only,) = load(tmp_path, toml() + policy.format("a", "progressive")).policy
    assert only.checkpoint == "b"
    drop_in = write_drop_in(tmp_path, "10.toml", policy.format("b", "slowly"))
    assert refusal(tmp_path, toml()).startswith(f"{drop_in}: policy[0].place: 'slowly' is not")


def test_the_command_line_tools_do_not_pay_for_the_daemon() -> None:
    heavy = ["asyncio", "aiohttp", "structlog", "prometheus_client", "rich"]
    code = f"import sys, ckptd.config; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    ("store", "scrub", "expected"),
    [
        ('check_every = "1s"', 'every = "1m"', (1, 60)),
        ('check_every = "1d"', 'every = "366d"', (86_400, 366 * 86_400)),
        ('check_every = "90s"', 'every = ""', (90, None)),
    ],
)
def test_how_often_things_are_looked_at_can_be_set(
    tmp_path: Path, store: str, scrub: str, expected: tuple[int, int | None]
) -> None:
    config = load(tmp_path, toml(store=store, scrub=scrub))
    assert (config.store.check_every_s, config.scrub.every_s) == expected


def test_rot_is_put_right_only_where_somebody_says_so(tmp_path: Path) -> None:
    assert load(tmp_path, toml(scrub="repair = true")).scrub.repair
    assert not load(tmp_path, toml()).scrub.repair
    with pytest.raises(ConfigurationError, match=r"scrub\.repair"):
        load(tmp_path, toml(scrub='repair = "yes"'))


def test_a_root_says_of_recoveries_into_it_what_is_other_there(tmp_path: Path) -> None:
    recovery = 'owner = "job"\nmode = "0770"\n[recovery.roots.main]\nowner = ""\ngroup = 100'
    section = load(tmp_path, toml(recovery=recovery)).recovery
    assert section.roots == {"main": sections.RootRecovery(mode="0770", owner=None, group="100")}
    assert section.owner == "job"


def test_nothing_ever_goes_unless_somebody_says_so(tmp_path: Path) -> None:
    assert not load(tmp_path, toml()).retention.is_on
    assert not load(tmp_path, toml(retention='copies = 2\nremove = "all"')).retention.is_on
    for line in ("newest = 3", 'every = "24h"', 'min_free = "10%"'):
        assert load(tmp_path, toml(retention=line)).retention.is_on
    rule = '[retention.checkpoints."llama*"]\nnewest = 3'
    assert load(tmp_path, toml(retention=rule)).retention.is_on


def test_some_checkpoints_have_a_rule_of_their_own(tmp_path: Path) -> None:
    text = """newest = 3
        every = "24h"
        min_free = "12.5%"
        [retention.checkpoints."llama/*"]
        newest = 0
        copies = 2
        remove = "all"
    """
    section = load(tmp_path, toml(retention=text)).retention
    assert (section.newest, section.every_s, section.min_free) == (3, 86_400, FreeRoom(12.5))
    assert section.checkpoints == {
        "llama/*": sections.CheckpointRetention(
            newest=None, every_s=86_400, copies=2, remove=RemovableKind.ALL
        )
    }
    assert load(tmp_path, toml(retention='min_free = "2GiB"')).retention.min_free == FreeRoom(
        size_bytes=2 * GIB
    )


TWO_ROOTS = 'main = "/data/checkpoints"\ncopies = "/data/copies"'
COPIES = 'names = ["llama*"]\nroot = "copies"\nquota = "2TiB"\n'


def test_copies_are_asked_for_by_name_and_zones_are_this_nodes_own_word(tmp_path: Path) -> None:
    text = f"""{COPIES}
        critical = 4
        grace = "90s"
        pair = "+n/2"
        [copies.checkpoints."llama/eval*"]
        critical = 2
        keep = 1
        [copies.zones]
        "row-1/rack-7" = ["node-a", "node-b*"]
        "row-2" = ["node-b2", "node-c"]
    """
    node = 'id = "node-a"\nstate_dir = "/var/lib/ckptd"\nzone = "row-9"'
    config = load(tmp_path, toml(node=node, roots=TWO_ROOTS, copies=text))
    section = config.copies
    assert (section.quota_bytes, section.grace_ns, section.pair) == (2 << 40, 90 * 10**9, "+n/2")
    assert section.rule_of(CheckpointName("llama")) == CopyRule(CopyCounts(4, 2, 1), 2)
    assert section.rule_of(CheckpointName("llama/eval-7")) == CopyRule(CopyCounts(2, 2, 1), 1)
    assert section.rule_of(CheckpointName("qwen")) is None
    assert [section.lists(CheckpointName(each)) for each in ("llama/a", "a/llama")] == [True, False]
    zones = {node: zone_of(config, NodeId(f"node-{node}")) for node in ("a", "b2", "c", "d")}
    assert zones == {"a": ("row-9",), "b2": ("row-1", "rack-7"), "c": ("row-2",), "d": None}
    assert not load(tmp_path, toml()).copies.is_on


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('names = "llama"', "copies.names.* is text, not a list"),
        (f"names = {['a'] * 33}", "copies.names.* is more than 32 patterns"),
        (f"names = ['{'a' * 201}']", "copies.names.* is more than 32 patterns of 200"),
        ('names = ["llama"]\nquota = "1TiB"', "copies.root.* is missing"),
        ('names = ["llama"]\nroot = "copies"', "copies.quota.* is missing"),
        ('names = ["llama"]\nroot = "main"\nquota = "1TiB"', "main is the first root, into"),
        ('names = ["llama"]\nroot = "other"\nquota = "1TiB"', "copies.root.* is no root. Known"),
        (f"{COPIES}critical = 0", "copies.critical.* is not 1 to 16"),
        (f"{COPIES}deferred = true", "copies.deferred.* is not 0 to 16"),
        (f"{COPIES}normal = 4", "copies: critical 3, normal 4, deferred 1 have more copies of"),
        (f"{COPIES}keep = 0", "copies.keep.* is not 1 to 1000"),
        (f'{COPIES}grace = "0.5s"', "copies.grace.* is not 1 s to 7 d"),
        (f'{COPIES}grace = "8d"', "copies.grace.* is not 1 s to 7 d"),
        (f'{COPIES}pair = "n/2"', r"copies.pair.* is no step. Write \+n/2"),
        (f'{COPIES}[copies.checkpoints."x*"]\nnormal = 4', r"copies.checkpoints.x\*: critical 3"),
        (f'{COPIES}[copies.checkpoints."x*"]\ngrace = "1m"', "copies.checkpoints.*not a key"),
        (f"{COPIES}[copies.checkpoints]\nx = 2", "copies.checkpoints.x.* not a table"),
        (f'{COPIES}[copies.zones]\n"a//b" = ["node-a"]', "copies.zones.a//b.* is not 1 to 4"),
        (f'{COPIES}[copies.zones]\n"" = ["node-a"]', "copies.zones.* has no name"),
        (f'{COPIES}[copies.zones]\na = "node-a"', "copies.zones.a.* is text, not a list"),
    ],
)
def test_copies_that_cannot_be_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert re.search(problem, refusal(tmp_path, toml(roots=TWO_ROOTS, copies=text)))


def test_copies_go_into_no_root_in_which_jobs_save(tmp_path: Path) -> None:
    watch = WATCH.replace("/data/checkpoints/run", "/data/copies/run") + 'preset = "huggingface"\n'
    problem = refusal(tmp_path, toml(roots=TWO_ROOTS, copies=COPIES) + watch)
    assert "copies.root: copies is watched: /data/copies/run" in problem


def test_a_zone_that_is_none_is_refused(tmp_path: Path) -> None:
    node = 'id = "node-a"\nstate_dir = "/var/lib/ckptd"\nzone = "row 1"'
    assert "node.zone: zone 'row 1' is not 1 to 4 names" in refusal(tmp_path, toml(node=node))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"store": 'check_every = "0.9s"'}, "store.check_every.* is not 1 s to 1 d"),
        ({"store": 'check_every = "25h"'}, "store.check_every.* is not 1 s to 1 d"),
        ({"store": 'check_every = ""'}, "store.check_every.* is not a number and a unit"),
        ({"store": 'check_rate = "1023KiB/s"'}, "store.check_rate.* is less than 1 MiB/s"),
        ({"scrub": 'every = "59s"'}, "scrub.every.* is not 60 s to 366 d"),
        ({"scrub": 'every = "367d"'}, "scrub.every.* is not 60 s to 366 d"),
        ({"recovery": 'mode = "640"'}, "recovery.mode.* is no mode that lets its owner"),
        ({"recovery": 'mode = "0440"'}, "recovery.mode.* is no mode that lets its owner"),
        ({"recovery": 'mode = "02770"'}, "recovery.mode.* is no mode that lets its owner"),
        ({"publish": 'file_max = "0B"'}, "publish.file_max.* is not 1 B to 16 TiB"),
        ({"publish": 'file_max = "17TiB"'}, "publish.file_max.* is not 1 B to 16 TiB"),
        ({"recovery": 'version_max = "0B"'}, "recovery.version_max.* is not 1 B to 32 TiB"),
        ({"recovery": 'keep_warm = "much"'}, "recovery.keep_warm.* is not a number and a unit"),
        ({"recovery": 'current = "current"'}, "does not have {checkpoint} once"),
        ({"recovery": 'current = "{checkpoint}/a/{checkpoint}"'}, "does not have {checkpoint} on"),
        ({"recovery": 'current = "/{checkpoint}/current"'}, "is no plain path below a root"),
        ({"recovery": 'current = "{checkpoint}/../current"'}, "is no plain path below a root"),
        ({"recovery": 'current = "{checkpoint}/current/"'}, "is no plain path below a root"),
        ({"recovery": 'current = "{checkpoint}/.ckptd-x"'}, "names what is ckptd's own: .ckptd"),
        ({"recovery": 'current = "{checkpoint}/1200"'}, "is the directory of a version, usually"),
        ({"recovery": f'current = "{{checkpoint}}/{"a" * 190}"'}, "or more than 200 bytes"),
        ({"recovery": 'current = ""'}, "does not have {checkpoint} once"),
        ({"recovery": 'version_max = "33TiB"'}, "recovery.version_max.* is not 1 B to 32 TiB"),
        ({"retention": "newest = -1"}, "retention.newest.* is not 0 to 100000"),
        ({"retention": "newest = true"}, "retention.newest.* is not 0 to 100000"),
        ({"retention": "copies = 0"}, "retention.copies.* is not 1 to 1024"),
        ({"retention": 'every = "59s"'}, "retention.every.* is not 60 s to 3660 d"),
        ({"retention": 'min_free = "100%"'}, "retention.min_free.* is no share of a disk"),
        ({"retention": 'min_free = "0%"'}, "retention.min_free.* is no share of a disk"),
        ({"retention": 'min_free = "0B"'}, "retention.min_free.* is no share of a disk"),
        ({"retention": 'remove = "every"'}, "retention.remove.* is not one of recovered, own, all"),
        ({"scrub": 'rate = "1"'}, "scrub.rate.* is not a number and a unit"),
    ],
)
def test_intervals_and_rates_out_of_bounds_are_refused(
    tmp_path: Path, change: dict[str, str], problem: str
) -> None:
    assert re.search(problem, refusal(tmp_path, toml(**change)))


WATCH = """
[[watch]]
directory = "/data/checkpoints/run"
checkpoint = "llama"
"""


def test_a_watched_directory_has_a_preset_or_a_pattern(tmp_path: Path) -> None:
    text = (
        toml() + f'{WATCH}preset = "huggingface"\nshard = "3/8"\n{WATCH}pattern = "v{{version}}"\n'
    )
    first, second = load(tmp_path, text).watch
    assert first.checkpoint == "llama/shard-3-of-8"
    assert first.version_of("checkpoint-7") == second.version_of("v7") == 7
    assert (first.require, second.require) == (("trainer_state.json",), ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (WATCH, "watch[0]: needs a preset or a pattern"),
        (f'{WATCH}preset = "orbax"\npattern = "v(.)"\n', "watch[0]: needs a preset or a pattern"),
        (f'{WATCH}preset = "orb"\n', "watch[0].preset: 'orb' is not one of"),
        (f'{WATCH}pattern = "("\n', "watch[0].pattern: '(' is no regular expression"),
        (f'{WATCH}preset = "orbax"\nnewest = 0\n', "watch[0].newest: is 0"),
        (f'{WATCH}preset = "orbax"\nshard = "8/8"\n', "watch[0].shard: shard '8/8' is not"),
        (f'{WATCH}preset = "orbax"\n' * 2, "watch[1].directory: /data/checkpoints/run is watched"),
        ('[[watch]]\ndirectory = "/data/x"\ncheckpoint = "a"\npreset = "orbax"\n', "is in no root"),
        ('[[watch]]\ndirectory = "/data"\npreset = "orbax"\n', "watch[0].checkpoint: is missing"),
        ("watch = 1\n", "watch: is a whole number, not a list"),
    ],
)
def test_what_cannot_be_watched_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    begin, end = ("", toml()) if text.startswith("watch =") else (toml(), "")
    assert problem in refusal(tmp_path, begin + end + text if begin else text + end)


def test_tables_recover_say_what_comes_by_itself(tmp_path: Path) -> None:
    text = (
        toml()
        + """
        [[recover]]
        checkpoint = "llama"
        at = "start"
        shards = "3/8"
        place = "progressive"
        activate = true
        patience = "90s"
        [[recover]]
        checkpoint = "qwen/rank-3"
        at = "missing"
        shards = "mine"
    """
    )
    first, second = load(tmp_path, text).recover
    assert first == RecoverTable(
        CheckpointName("llama"),
        RecoverAt.START,
        "3/8",
        PlaceMode.PROGRESSIVE,
        activate=True,
        patience_s=90.0,
    )
    assert second == RecoverTable(CheckpointName("qwen/rank-3"), RecoverAt.MISSING, "mine")


@pytest.mark.parametrize(
    ("lines", "key", "words"),
    [
        ('at = "start"', "recover[0].checkpoint", "is missing"),
        ('checkpoint = "a"', "recover[0].at", "is missing"),
        ('checkpoint = "a"\nat = "boot"', "recover[0].at", "is not one of start, missing"),
        ('checkpoint = "a/"\nat = "start"', "recover[0].checkpoint", "'a/'"),
        ('checkpoint = "a"\nat = "start"\nto = "/x"', "recover[0].to", "is not a key"),
        ('checkpoint = "a"\nat = "start"\nshards = "x"', "recover[0].shards", "'x'"),
        ('checkpoint = "a"\nat = "start"\nplace = "x"', "recover[0].place", "is not one of"),
        ('checkpoint = "a"\nat = "start"\nactivate = "x"', "recover[0].activate", "true or false"),
        ('checkpoint = "a"\nat = "start"\npatience = "99999d"', "recover[0].patience", "99999d"),
        (
            'checkpoint = "a"\nat = "start"\n[[recover]]\ncheckpoint = "a"\nat = "missing"',
            "recover[1].checkpoint",
            "another table",
        ),
    ],
)
def test_a_table_recover_that_cannot_be_used_is_refused(
    tmp_path: Path, lines: str, key: str, words: str
) -> None:
    said = refusal(tmp_path, f"{toml()}[[recover]]\n{lines}\n")
    assert key in said
    assert words in said


def test_recover_is_a_list_of_tables(tmp_path: Path) -> None:
    said = refusal(tmp_path, toml(recover='checkpoint = "a"'))
    assert "recover: is a table, not a list" in said

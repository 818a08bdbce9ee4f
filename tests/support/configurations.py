"""Configuration files: good ones, and one for each way to get it wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MINIMAL = {
    "node": 'id = "node-a"\nstate_dir = "/var/lib/ckptd"',
    "roots": 'main = "/data/checkpoints"',
    "transport": "insecure = true",
}

TLS = 'ca = "/ca.crt"\ncertificate = "/n.crt"\nkey = "/n.key"'


def toml(**sections: str) -> str:
    """Return the minimal configuration with these sections in place of its own."""
    return "".join(f"[{name}]\n{body}\n" for name, body in (_MINIMAL | sections).items() if body)


def write_config(directory: Path, text: str) -> str:
    path = directory / "ckptd.toml"
    path.write_text(text)
    return str(path)


def write_drop_in(directory: Path, name: str, text: str) -> str:
    """Write a file into ``conf.d`` beside the configuration."""
    path = directory / "conf.d" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


@dataclass(frozen=True)
class Bad:
    """A file that must be refused.

    Attributes:
        text: The file.
        key: Which key the error must name.
        words: What the error must say.
    """

    text: str
    key: str
    words: str


def _node(line: str) -> str:
    return toml(node=line)


BAD = {
    "unknown section": Bad(toml(lisen='data = ":1"'), "lisen", "Did you mean listen?"),
    "unknown key": Bad(toml(listen='dta = ":1"'), "listen.dta", "Did you mean listen.data?"),
    "unknown key like no other": Bad(toml(log="x = 1"), "log.x", "Known: level, format."),
    "environment is no section": Bad(toml(environment="x = 1"), "environment", "not a key"),
    "key outside its section": Bad("id = 'a'\n" + toml(), "id", "not a key"),
    "section that is no table": Bad('log = "debug"\n' + toml(), "log", "is text, not a table"),
    "list of tables": Bad("[[log]]\n" + toml(), "log", "is a list, not a table"),
    "no node": Bad(toml(node=""), "node.id", "is missing"),
    "no node id": Bad(_node('state_dir = "/s"'), "node.id", "is missing"),
    "no state directory": Bad(_node('id = "a"'), "node.state_dir", "is missing"),
    "bad node id": Bad(_node('id = "a/b"\nstate_dir = "/s"'), "node.id", "node id 'a/b'"),
    "relative state directory": Bad(
        _node('id = "a"\nstate_dir = "state"'), "node.state_dir", "'state' is not absolute"
    ),
    "control character in a path": Bad(
        _node('id = "a"\nstate_dir = "/s\\u0000"'), "node.state_dir", "control characters"
    ),
    "no roots": Bad(toml(roots=""), "roots", "names no directory"),
    "bad name of a root": Bad(toml(roots='"a b" = "/a"'), "roots.'a b'", "no name for a root"),
    "relative root": Bad(toml(roots='main = "data"'), "roots.main", "'data' is not absolute"),
    "root that is a number": Bad(toml(roots="main = 1"), "roots.main", "is a whole number"),
    "root in a root": Bad(
        toml(roots='main = "/data"\nfast = "/data/fast"'), "roots.fast", "overlaps roots.main"
    ),
    "same root twice": Bad(
        toml(roots='main = "/data"\nfast = "/data/x/../"'), "roots.fast", "overlaps roots.main"
    ),
    "root in the state directory": Bad(
        toml(roots='main = "/var/lib/ckptd/data"'), "roots.main", "overlaps node.state_dir"
    ),
    "state directory in a root": Bad(
        toml(roots='main = "/var"'), "roots.main", "overlaps node.state_dir"
    ),
    "everything is a root": Bad(toml(roots='main = "/"'), "roots.main", "overlaps node.state_dir"),
    "address that is a number": Bad(
        toml(listen="data = 7421"), "listen.data", "is a whole number, not text. Put the value in"
    ),
    "address without a port": Bad(toml(listen='data = "0.0.0.0"'), "listen.data", "HOST:PORT"),
    "port too high": Bad(toml(listen='data = "a:65536"'), "listen.data", "from 0 to 65535"),
    "host missing": Bad(toml(listen='metrics = ":7422"'), "listen.metrics", "HOST:PORT"),
    "IPv6 without brackets": Bad(toml(listen='data = "::1:7421"'), "listen.data", "[::1]:7421"),
    "no IPv6 in the brackets": Bad(toml(listen='data = "[a]:1"'), "listen.data", "HOST:PORT"),
    "no data listener": Bad(toml(listen='data = ""'), "listen.data", "HOST:PORT"),
    "too few connections": Bad(toml(listen="connections = 64"), "listen.connections", "not 65 to"),
    "connections without end": Bad(
        toml(listen="connections = 16385"), "listen.connections", "not 65 to 16384"
    ),
    "no connection for an address": Bad(
        toml(listen="connections_per_address = 0"), "listen.connections_per_address", "not 1 to"
    ),
    "connections that are true": Bad(
        toml(listen="connections = true"), "listen.connections", "not a whole number"
    ),
    "relative socket": Bad(
        toml(listen='control = "ckptd.sock"'), "listen.control", "is not absolute"
    ),
    "socket with a long path": Bad(
        toml(listen=f'control = "/{"x" * 107}"'), "listen.control", "107 bytes"
    ),
    "peers as text": Bad(
        toml(discovery='peers = "b:1"'), "discovery.peers", "is text, not a list"
    ),
    "peer that is no address": Bad(
        toml(discovery='peers = ["node-b"]'), "discovery.peers", "address 'node-b'"
    ),
    "peer that is a number": Bad(
        toml(discovery="peers = [1]"), "discovery.peers", "is a whole number"
    ),
    "peer at port 0": Bad(toml(discovery='peers = ["b:0"]'), "discovery.peers", "port 0"),
    "peer twice": Bad(
        toml(discovery='peers = ["b:1", "c:1", "B:1"]'), "discovery.peers", "'B:1' stands there"
    ),
    "TLS not mentioned": Bad(
        toml(transport=""), "transport.insecure", "0.0.0.0:7421 can be reached from elsewhere"
    ),
    "TLS wanted": Bad(toml(transport="insecure = false"), "transport.insecure", "ckptctl tls"),
    "TLS and none": Bad(toml(tls=TLS), "transport.insecure", "contradicts [tls]"),
    "TLS without a key": Bad(
        toml(transport="", tls='ca = "/c"\ncertificate = "/n"'), "tls.key", "is missing"
    ),
    "relative certificate": Bad(
        toml(transport="", tls=TLS.replace("/n.crt", "n.crt")), "tls.certificate", "not absolute"
    ),
    "credential of no service": Bad(
        toml(transport="", tls=TLS.replace("/n.key", "credential:key")), "tls.key", "LoadCredential"
    ),
    "credential that is a path": Bad(
        toml(transport="", tls=TLS.replace("/n.key", "credential:../k")), "tls.key", "no name of"
    ),
    "pinned to no node": Bad(
        toml(discovery='peers = ["@b:1"]'), "discovery.peers", "node id ''"
    ),
    "pinned to two nodes": Bad(
        toml(discovery='peers = ["a@b:1", "c@b:1"]'), "discovery.peers", "stands there twice"
    ),
    "insecure in quotes": Bad(
        toml(transport='insecure = "true"'), "transport.insecure", "is text, not true or false"
    ),
    "patterns as text": Bad(
        toml(signatures='require = "llama/*"'), "signatures.require", "is text, not a list"
    ),
    "empty pattern": Bad(
        toml(signatures='trusted = "/t"\nrequire = [""]'), "signatures.require", "pattern ''"
    ),
    "signatures required and no keys": Bad(
        toml(signatures='require = ["llama/*"]'), "signatures.require", "can never be met"
    ),
    "relative key": Bad(toml(signatures='key = "key"'), "signatures.key", "is not absolute"),
    "size without a unit": Bad(
        toml(recovery='buffers = "256"'), "recovery.buffers", "size '256' is not a number and"
    ),
    "size as a number": Bad(toml(recovery="buffers = 0.5"), "recovery.buffers", "is a number"),
    "buffers too small": Bad(
        toml(recovery='buffers = "1MiB"'), "recovery.buffers", "less than 32 MiB"
    ),
    "redundancy too high": Bad(
        toml(recovery="redundancy = 3"), "recovery.redundancy", "3 is neither 1 nor 2"
    ),
    "redundancy that is a table": Bad(
        toml(recovery="redundancy.a.a = 1"), "recovery.redundancy", "a table is neither"
    ),
    "redundancy too long to show": Bad(
        toml(recovery=f"redundancy = 0x{'f' * 5000}"), "recovery.redundancy", "neither 1 nor 2"
    ),
    "redundancy as a truth value": Bad(
        toml(recovery="redundancy = true"), "recovery.redundancy", "True is neither 1 nor 2"
    ),
    "level unknown": Bad(
        toml(log='level = "loud"'), "log.level", "'loud' is not one of debug, info"
    ),
    "format that is a date": Bad(toml(log="format = 2026-01-01"), "log.format", "a date or time"),
    "key twice in other words": Bad(toml(log='Level = "info"'), "log.Level", "Did you mean"),
    "empty node id": Bad(_node('id = ""\nstate_dir = "/s"'), "node.id", "node id ''"),
    "node id that is a number": Bad(
        _node('id = 7\nstate_dir = "/s"'), "node.id", "is a whole number, not text"
    ),
    "node id of 129 bytes": Bad(
        _node(f'id = "{"n" * 129}"\nstate_dir = "/s"'), "node.id", "node id 'nnn"
    ),
    "state directory that is a list": Bad(
        _node('id = "a"\nstate_dir = ["/s"]'), "node.state_dir", "is a list, not text"
    ),
    "root that is a table": Bad(toml(roots='main = {path = "/a"}'), "roots.main", "is a table"),
    "root without a name": Bad(toml(roots='"" = "/a"'), "roots.''", "no name for a root"),
    "root with a long path": Bad(
        toml(roots=f'main = "/{"x" * 4096}"'), "roots.main", "more than 4096 bytes"
    ),
    "port that is no number": Bad(toml(listen='data = "a:http"'), "listen.data", "HOST:PORT"),
    "port below 0": Bad(toml(listen='data = "a:-1"'), "listen.data", "from 0 to 65535"),
    "metrics that are false": Bad(toml(listen="metrics = false"), "listen.metrics", "true or"),
    "metrics where the data is": Bad(
        toml(listen='data = "a:1"\nmetrics = "a:1"'), "listen.metrics", "as listen.data"
    ),
    "socket in a root": Bad(
        toml(listen='control = "/data/checkpoints/sock"'), "listen.control", "lies in roots.main"
    ),
    "accounts as text": Bad(
        toml(control='operator_groups = "ops"'), "control.operator_groups", "is text, not a list"
    ),
    "account that is no name": Bad(
        toml(control='admin_users = ["a b"]'), "control.admin_users", "'a b' is no name"
    ),
    "account that is empty": Bad(
        toml(control='admin_users = [""]'), "control.admin_users", "'' is no name"
    ),
    "account below 0": Bad(
        toml(control="viewer_groups = [-1]"), "control.viewer_groups", "'-1' is no name"
    ),
    "account that stands for nobody": Bad(
        toml(control="viewer_groups = [4294967295]"), "control.viewer_groups", "'4294967295' is no"
    ),
    "account that is a truth": Bad(
        toml(control="viewer_users = [true]"), "control.viewer_users", "true or false in it"
    ),
    "more accounts than a list should have": Bad(
        toml(control=f"viewer_users = {list(range(257))}"), "control.viewer_users", "257 entries"
    ),
    "role that there is not": Bad(
        toml(control='owner_groups = ["a"]'), "control.owner_groups", "is not a key"
    ),
    "limit that is a number": Bad(
        toml(limits="ingress = 400"), "limits.ingress", "is a whole number, not text"
    ),
    "limit too low": Bad(toml(limits='egress = "1KiB/s"'), "limits.egress", "from 128KiB/s"),
    "limit on nothing": Bad(toml(limits='igress = "1MiB/s"'), "limits.igress", "limits.ingress?"),
    "limit of no class": Bad(
        toml(limits='[limits.backround]\negress = "1MiB/s"'),
        "limits.backround",
        "Did you mean limits.background?",
    ),
    "class that is no table": Bad(
        toml(limits='background = "1MiB/s"'), "limits.background", "is text, not a table"
    ),
    "limit of a class on nothing": Bad(
        toml(limits='[limits.background]\nin = "1MiB/s"'), "limits.background.in", "not a key"
    ),
    "limit of a peer without a name": Bad(
        toml(limits='[limits.peers.""]\negress = "1MiB/s"'), "limits.peers..egress", "not known"
    ),
    "schedule that is no list": Bad(
        toml(limits='[limits.schedule]\ningress = "1MiB/s"'),
        "limits.schedule",
        "Write [[limits.schedule]]",
    ),
    "schedule without an end": Bad(
        toml(limits='[[limits.schedule]]\nfrom = "08:00"'),
        "limits.schedule[0].until",
        "is missing",
    ),
    "time that there is not": Bad(
        toml(limits='[[limits.schedule]]\nfrom = "08:00"\nuntil = "24:01"'),
        "limits.schedule[0].until",
        "time '24:01' is not from 00:00 to 24:00",
    ),
    "day that there is not": Bad(
        toml(limits='[[limits.schedule]]\nfrom = "1:00"\nuntil = "2:00"\ndays = ["monday"]'),
        "limits.schedule[0].days",
        "something else than mon, tue",
    ),
    "day that is a list": Bad(
        toml(limits='[[limits.schedule]]\nfrom = "1:00"\nuntil = "2:00"\ndays = [["mon"]]'),
        "limits.schedule[0].days",
        "something else than mon, tue",
    ),
    "time that limits nothing": Bad(
        toml(limits='[[limits.schedule]]\nfrom = "1:00"\nuntil = "2:00"'),
        "limits.schedule[0]",
        "limits nothing",
    ),
    "congestion control that can be none": Bad(
        toml(transport='insecure = true\ncongestion_control = "bbr; rm"'),
        "transport.congestion_control",
        "'bbr; rm' is no name of a congestion control",
    ),
    "interface that is a path": Bad(
        toml(limits='yield_to = "../eth0"'), "limits.yield_to", "no name of a network interface"
    ),
    "rate of no interface": Bad(
        toml(limits='yield_rate = "1Gbit/s"'), "limits.yield_rate", "has no interface"
    ),
    "recovery into what is no root": Bad(
        toml(recovery='[recovery.roots.other]\nmode = "0770"'),
        "recovery.roots.other",
        "is no root. Known: main",
    ),
    "recovery into a root that is text": Bad(
        toml(recovery='roots.main = "0770"'), "recovery.roots.main", "is text, not a table"
    ),
    "recovery into roots that are text": Bad(
        toml(recovery='roots = "main"'), "recovery.roots", "is text, not a table"
    ),
    "mode of a root that shuts out": Bad(
        toml(recovery='[recovery.roots.main]\nmode = "0"'),
        "recovery.roots.main.mode",
        "is no mode that lets",
    ),
    "key that a root does not have": Bad(
        toml(recovery='[recovery.roots.main]\nowners = "a"'),
        "recovery.roots.main.owners",
        "Did you mean recovery.roots.main.owner?",
    ),
    "job that is no name": Bad(
        toml(**{'jobs."a b"': 'shards = "1"'}), "jobs.a b", "checkpoint name 'a b'"
    ),
    "job that is a shard": Bad(
        toml(**{'jobs."a/shard-0-of-2"': 'shards = "0"'}),
        "jobs.a/shard-0-of-2",
        "is the name of a shard",
    ),
    "job that is no table": Bad(toml(jobs='llama = "3"'), "jobs.llama", "is text, not a table"),
    "job without shards": Bad("[jobs.llama]\n" + toml(), "jobs.llama.shards", "is missing"),
    "job with another key": Bad(
        toml(**{"jobs.llama": 'shard = "3"'}), "jobs.llama.shard", "Did you mean jobs.llama.shards?"
    ),
    "shards that are none": Bad(
        toml(**{"jobs.llama": 'shards = "8/8"'}), "jobs.llama.shards", "are not 'all' or numbers"
    ),
    "policy that is a table": Bad(
        toml(policy='checkpoint = "a"'), "policy", "is a table, not a list. Begin each with"
    ),
    "policy that is text": Bad('policy = ["a"]\n' + toml(), "policy[0]", "is text, not a table"),
    "policy for no checkpoint": Bad(
        toml() + '[[policy]]\nplace = "atomic"', "policy[0].checkpoint", "is missing"
    ),
    "policy that says nothing": Bad(
        toml() + '[[policy]]\ncheckpoint = "a"', "policy[0]", "says nothing"
    ),
    "policy with a long pattern": Bad(
        toml() + f'[[policy]]\nplace = "atomic"\ncheckpoint = "{"a" * 256}"',
        "policy[0].checkpoint",
        "does not have 1 to 255 characters",
    ),
    "policy that places somehow": Bad(
        toml() + '[[policy]]\ncheckpoint = "a"\nplace = "slowly"',
        "policy[0].place",
        "'slowly' is not one of atomic, progressive",
    ),
    "key that a policy does not have": Bad(
        toml() + '[[policy]]\ncheckpoint = "a"\nphase = "core"',
        "policy[0].phase",
        "is not a key of a policy. Did you mean phases?",
    ),
    "rule that says nothing": Bad(
        toml() + '[[policy]]\ncheckpoint = "a"\n[[policy.rule]]\npaths = ["a"]',
        "policy[0].rule[0]",
        "says nothing of its units",
    ),
    "rule of the second policy": Bad(
        toml() + '[[policy]]\ncheckpoint = "a"\nplace = "atomic"\n'
        '[[policy]]\ncheckpoint = "b"\n[[policy.rule]]\npaths = "a"\nphase = "b"',
        "policy[1].rule[0].paths",
        "is text, not a list",
    ),
    "more policies than anybody writes": Bad(
        toml() + '[[policy]]\ncheckpoint = "a"\nplace = "atomic"\n' * 257,
        "policy",
        "has 257 policies, more than 256",
    ),
    "policy inside that is text": Bad(
        toml(publish='policy_inside = "yes"'), "publish.policy_inside", "not true or false"
    ),
    "retention of a checkpoint that is text": Bad(
        toml(retention='checkpoints.llama = "3"'), "retention.checkpoints.llama", "is text, not"
    ),
    "retention of checkpoints that are text": Bad(
        toml(retention='checkpoints = "llama"'), "retention.checkpoints", "is text, not a table"
    ),
    "retention that a checkpoint cannot have": Bad(
        toml(retention='[retention.checkpoints.llama]\nmin_free = "10%"'),
        "retention.checkpoints.llama.min_free",
        "is not a key",
    ),
    "size below 0": Bad(
        toml(recovery='buffers = "-1GiB"'), "recovery.buffers", "size '-1GiB' is not a number"
    ),
    "level in capitals": Bad(
        toml(log='level = "INFO"'), "log.level", "'INFO' is not one of debug, info"
    ),
}  # fmt: skip

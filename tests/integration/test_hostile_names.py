"""Every way a name comes in, with 500 names that were chosen to do harm."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import CkptdError, InvalidManifest, OutsideRoots, UsageError
from ckptd.model.blocks import BlockSet
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.manifest import encode_manifest
from tests.support.cluster import Cluster, Node
from tests.support.hostile_names import HOSTILE_NAMES, is_plain
from tests.support.manifests import make_manifest
from tests.support.stagings import Site
from tests.support.stores import write_files

pytestmark = pytest.mark.integration

DEPTH_MAX = 64  # components; deeper ones are tried elsewhere without being made


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """The directory around the root; afterwards nothing in it but the root has changed."""
    write_files(tmp_path, {"outside/secret": b"s", "etc/passwd": b"p"})
    (tmp_path / "root").mkdir()
    before = facts_outside(tmp_path)
    yield tmp_path
    assert facts_outside(tmp_path) == before


def facts_outside(base: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for inner, directories, names in os.walk(base):
        if inner == str(base):
            directories[:] = [name for name in directories if name not in {"root", "node"}]
        for name in (*directories, *names):
            facts = os.lstat(os.path.join(inner, name))
            found[os.path.join(inner, name)] = (facts.st_ino, facts.st_mode, facts.st_ctime_ns)
    return found


def test_there_are_500_of_them() -> None:
    assert len(set(HOSTILE_NAMES)) == 500
    assert 100 < sum(map(is_plain, HOSTILE_NAMES)) < 400, "both kinds are worth trying"


def test_a_manifest_with_a_hostile_path_is_refused_or_lands_inside(outside: Path) -> None:
    content = b"content"
    refusals: list[InvalidManifest] = []
    for name in HOSTILE_NAMES:
        try:
            manifest = decode_manifest(encode_manifest(make_manifest({name: content})))
        except UnicodeEncodeError:  # cannot travel at all
            continue
        except InvalidManifest as error:
            refusals.append(error)
            continue
        assert is_plain(name)
        site = Site(outside / "root", {name: content}, manifest=manifest)
        staging = site.staging()
        staging.prepare(BlockSet())
        site.deliver(staging, site.everything)
        staging.place(BlockSet())
        assert site.files() == site.version(name)
        site.root.remove_tree("llama")
        site.close()
    assert len(refusals) > 100
    assert all(str(error).isprintable() for error in refusals)


def test_a_hostile_target_is_refused_or_lands_inside(outside: Path) -> None:
    site = Site(outside / "root", {"file": b"content"})
    refused: set[str] = set()
    names = [name for name in HOSTILE_NAMES if name.count("/") <= DEPTH_MAX and len(name) < 3000]
    names.remove("")  # the root itself, which is there already
    for name in names:
        staging = site.staging(target=name)
        try:
            staging.prepare(BlockSet())
            site.deliver(staging, site.everything)
            staging.place(BlockSet())
        except (OutsideRoots, UsageError):
            refused.add(name)
            staging.discard()
        else:
            assert site.files() == {f"{name}/file": b"content"}
            site.root.remove_tree(name.split("/")[0])
        assert os.listdir(site.path) == []
    site.close()
    reserved = {name for name in names if name.split("/")[0] == ".ckptd"}
    assert refused == reserved | {name for name in names if not is_plain(name)}


class Asked:
    """Questions to a daemon, in JSON as it travels: a client of ours would refuse to ask some."""

    def __init__(self, node: Node) -> None:
        self._connection = http.client.HTTPConnection("localhost")
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.connect(node.client.socket_path)

    def post(self, path: str, **body: object) -> tuple[int, str]:
        self._connection.request("POST", path, json.dumps(body).encode())
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()

    def close(self) -> None:
        self._connection.close()


def test_a_daemon_refuses_hostile_names_in_its_own_words(outside: Path) -> None:
    with Cluster(outside) as cluster:
        node = cluster.add("node", root=outside / "root")
        node.path("empty").mkdir()
        node.wait_ready()
        asked = Asked(node)
        words = {"checkpoint": "a", "version": 1}
        for name in HOSTILE_NAMES:
            to = f"{node.root}/{name}"
            bodies: list[dict[str, object]] = [
                words | {"directory": to},
                words | {"directory": name},
                words | {"directory": f"{node.root}/empty", "critical": [name]},
                {"directory": f"{node.root}/empty", "checkpoint": name, "version": 1},
            ]
            for body in bodies:
                _, answer = asked.post("/v1/publications", **body)
                assert '"error"' in answer, f"published {body}"
            bodies = [words | {"to": name}]
            if not os.path.normpath(to).startswith(node.root):
                bodies.append(words | {"to": to})
            for body in bodies:
                status, answer = asked.post("/v1/recoveries", **body)
                assert 400 <= status < 500, answer
            asked.post("/v1/recoveries", checkpoint=name, version=1, patience_s=0.001)
        asked.close()
        for name in HOSTILE_NAMES:
            for ask in (node.client.recovery, node.client.cancel, node.client.peer):
                with contextlib.suppress(CkptdError, UnicodeEncodeError):
                    ask(name)
        assert node.is_running
        log = Path(node.log_path).read_bytes()
        assert b"control request failed" not in log, "a name met code that did not expect it"
        assert not set(log) & ({*range(32), 127} - {ord("\n")})


@pytest.mark.parametrize("name", ["/etc", "a\nb"])
def test_a_root_locates_only_what_can_be_written_down(outside: Path, name: str) -> None:
    with Cluster(outside) as cluster:
        node = cluster.add("node", root=outside / "root")
        node.wait_ready()
        with pytest.raises((OutsideRoots, UsageError)) as caught:
            node.begin(to=name if name.startswith("/") else f"{node.root}/{name}")
        assert str(caught.value).isprintable()

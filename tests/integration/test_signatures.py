"""Signed manifests, no way back to old versions, and what a hostile peer cannot do about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.plans import PlanRequest
from ckptd.errors import ExitCode
from ckptd.limits import KIB, MANIFEST_BYTES_MAX, MIB
from ckptd.model.manifest import Manifest, encode_manifest
from ckptd.model.words import FailureCause, PeerState, Result
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.keys import SigningKey
from ckptd.wire.signature_lines import encode_signatures
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest
from tests.support.configurations import toml
from tests.support.hostile_peers import HostilePeer, Reply, canary, claims, hostile_peer
from tests.support.manifests import make_manifest

pytestmark = pytest.mark.integration

OURS, THEIRS = SigningKey.draw(), SigningKey.draw()
HUGE_COUNT = b"\xdd\xff\xff\xff\xff"
"""MessagePack for a list of 2³² - 1 elements."""


class Section:
    """Writes key files and the section that names them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(
        self, *, key: SigningKey | None = None, trusted: tuple[SigningKey, ...] = (OURS,)
    ) -> str:
        lines = ["[signatures]"]
        if key is not None:
            path = self._directory / f"{key.public.id}.pem"
            path.write_bytes(key.pem())
            path.chmod(0o600)
            lines.append(f'key = "{path}"')
        if trusted:
            path = self._directory / "-".join(each.public.id for each in trusted)
            path.write_text("".join(f"{each.public.text}\n" for each in trusted))
            path.chmod(0o644)
            lines += [f'trusted = "{path}"', 'require = ["llama/*"]']
        return "\n".join([*lines, ""])


@pytest.fixture
def section(tmp_path: Path) -> Section:
    return Section(tmp_path)


def test_a_signature_travels_with_its_version_from_node_to_node(
    cluster: Cluster, section: Section
) -> None:
    source = cluster.node("a", sections=section(key=OURS, trusted=()))
    source.publish(make_checkpoint(source.path("100")))
    first = cluster.node("b", peers=[source.address], sections=section())
    assert first.recover().result is Result.COMPLETE
    source.kill()
    first.restart()
    second = cluster.node("c", peers=[first.address], sections=section())
    result = second.recover(version=None)
    assert (result.result, result.message) == (Result.COMPLETE, "")
    assert tree_digest(result.target) == tree_digest(source.path("100"))


def test_a_recovery_ends_when_no_source_has_a_trusted_signature(
    cluster: Cluster, section: Section, capsys: pytest.CaptureFixture[str]
) -> None:
    unsigned = cluster.node("a")
    unsigned.publish(make_checkpoint(unsigned.path("100")))
    unsigned.publish(unsigned.path("100"), "qwen/rank-0")
    foreign = cluster.node("b", sections=section(key=THEIRS, trusted=()))
    foreign.publish(make_checkpoint(foreign.path("200"), seed=2), version=200)
    peers = [unsigned.address, foreign.address]
    receiver = cluster.node("r", peers=peers, sections=section())

    eventually(
        lambda: {peer.state for peer in receiver.client.peers()} == {PeerState.LIVE},
        "both peers answer",
    )
    plan = receiver.client.plan(PlanRequest(checkpoint=NAME))
    assert (plan.version, "nobody here trusts" in plan.manifest_problem) == (200, True)
    assert ckptctl(["--socket", receiver.client.socket_path, "recover", NAME, "--wait"]) == (
        ExitCode.VERIFICATION
    )
    assert "is unsigned, and signatures.require asks for a" in capsys.readouterr().err
    result = receiver.recover(version=200)
    assert (result.result, result.cause) == (Result.FAILED, FailureCause.VERIFICATION)
    assert "signed only by keys that nobody here trusts" in result.message
    assert receiver.client.peer("b").trust < 0 == receiver.client.peer("a").trust
    assert [each.name for each in receiver.path().iterdir()] == []
    # What requires no signature is recovered as ever.
    assert receiver.recover("qwen/rank-0").result is Result.COMPLETE


def test_a_version_comes_from_an_unsigned_source_once_another_has_shown_the_signature(
    cluster: Cluster, section: Section
) -> None:
    unsigned, signed = cluster.node("a"), cluster.node("b", sections=section(key=OURS, trusted=()))
    for node in (unsigned, signed):
        node.publish(make_checkpoint(node.path("100")))
    peers = [unsigned.address, signed.address]
    receiver = cluster.node("r", peers=peers, sections=section())
    result = receiver.recover()
    assert result.result is Result.COMPLETE
    assert {share.node for share in result.sources} == {"a", "b"}


def honest_manifest() -> Manifest:
    return make_manifest({"a": b"a" * 1000}, checkpoint=NAME, version=10**6)


def with_paths(*paths: str) -> bytes:
    """Encode a manifest whose units have these paths, whatever the rules say."""
    manifest = honest_manifest()
    (unit,) = manifest.units
    units = tuple(msgspec.structs.replace(unit, path=path) for path in paths)
    return encode_manifest(msgspec.structs.replace(manifest, units=units))


def signed(encoded: bytes) -> bytes:
    return encode_signatures([OURS.sign(encoded)])


def peak_memory_bytes(node: Node) -> int:
    assert node._process is not None
    memory = Path(f"/proc/{node._process.pid}/status").read_text()
    (peak_kib,) = [int(row.split()[1]) for row in memory.splitlines() if "VmHWM" in row]
    return peak_kib * KIB


GOOD = encode_manifest(honest_manifest())
FLIPPED = GOOD[:-3] + bytes([GOOD[-3] ^ 1]) + GOOD[-2:]
BOMB = GOOD.replace(b"\xa5units\x91", b"\xa5units" + HUGE_COUNT)


@pytest.mark.parametrize(
    ("manifest", "signatures", "words"),
    [
        (FLIPPED, signed(GOOD), "never made"),
        (GOOD, signed(GOOD)[:-1], "signatures that are none"),
        (GOOD, signed(GOOD) * 9, "signatures that are none"),
        (GOOD, b"0" * 2**20, "signatures that are none"),
        (GOOD, encode_signatures([THEIRS.sign(GOOD)]), "nobody here trusts"),
        (BOMB, b"", "is unsigned"),
        (b"\x00" * MANIFEST_BYTES_MAX, encode_signatures([THEIRS.sign(b"")]), "nobody here trusts"),
        # Even a trusted key cannot sign its way out of the rules.
        (BOMB, signed(BOMB), "has 4294967295 units"),
        (with_paths("../a"), signed(with_paths("../a")), "leads out"),
        (with_paths("a", "a"), signed(with_paths("a", "a")), "twice"),
    ],
    ids=[
        "flipped bit", "cut short", "over-long", "no document", "foreign key", "huge count",
        "64 MiB of nothing", "huge count signed", "path that leads out", "unit twice",
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused_and_nothing_is_fetched_for_it(
    cluster: Cluster, section: Section, manifest: bytes, signatures: bytes, words: str
) -> None:
    digest = hexdigest_of(manifest)
    replies = {
        "/v1/holdings": claims("evil", honest_manifest(), digest),
        f"/v1/manifests/{digest}": Reply(manifest),
        f"/v1/signatures/{digest}": Reply(signatures),
    }
    with hostile_peer(replies) as evil:
        receiver = cluster.node("r", peers=[evil.address], sections=section())
        before = peak_memory_bytes(receiver)
        result = receiver.recover(version=None, patience_s=0)
        assert (result.result, result.cause) == (Result.FAILED, FailureCause.VERIFICATION)
        assert words in result.message
        assert f"/v1/checkpoints/{digest}" not in evil.requests
        assert [each.name for each in receiver.path().iterdir()] == []
        assert peak_memory_bytes(receiver) - before < 64 * MIB + 3 * len(manifest)


def test_an_old_version_is_refused_after_a_kill_until_it_is_named(cluster: Cluster) -> None:
    old, new = cluster.node("a"), cluster.node("b")
    old.publish(make_checkpoint(old.path("5")), version=5)
    new.publish(make_checkpoint(new.path("10"), seed=2), version=10)
    receiver = cluster.node("r", peers=[old.address, new.address])
    recovered = receiver.recover(version=None)
    assert recovered.version == 10
    new.kill()
    shutil.rmtree(recovered.target)  # what is whole here is not recovered at all
    receiver.restart()

    result = receiver.recover(version=None)
    assert (result.result, result.cause) == (Result.FAILED, FailureCause.VERIFICATION)
    assert f"version 10 of {NAME} was on this node before" in result.message
    assert f"ckptctl recover {NAME}@5" in result.message
    plan = receiver.client.plan(PlanRequest(checkpoint=NAME))
    assert (plan.version, plan.why) == (None, result.message)

    assert receiver.recover(version=5).result is Result.COMPLETE
    assert receiver.recover(version=None).result is Result.FAILED
    new.start()
    new.wait_ready()
    receiver.restart()
    assert receiver.recover(version=None, to=receiver.path("again")).version == 10


def test_what_was_published_here_counts_too(cluster: Cluster) -> None:
    source = cluster.node("a")
    source.publish(make_checkpoint(source.path("5")), version=5)
    receiver = cluster.node("r", peers=[source.address])
    receiver.publish(make_checkpoint(receiver.path("10"), seed=2), version=10)
    shutil.rmtree(receiver.path("10"))
    receiver.restart()
    assert "version 10" in receiver.recover(version=None).message


WAYS = [
    (what, status)
    for what in ("holdings", "manifests", "signatures", "attributes", "checkpoints")
    for status in (None, 301, 302, 303, 305, 307, 308)
]


def pointing(elsewhere: str, what: str, status: int | None) -> dict[str, Reply]:
    """Point at an address in one answer, in every way there is to do so."""
    url = f"http://{elsewhere}/v1/{what}"
    fields = {
        "Location": url, "Content-Location": url, "Alt-Svc": f'h2="{elsewhere}"',
        "Link": f'<{url}>; rel="alternate"', "Refresh": f"0; url={url}",
        "Ckptd-Node": elsewhere, "Ckptd-Addresses": elsewhere, "X-Forwarded-Host": elsewhere,
    }  # fmt: skip
    node = f"{what}-{status}"
    manifest = make_manifest({"a": b"a" * 1000}, checkpoint=node)
    encoded = encode_manifest(manifest)
    digest = hexdigest_of(encoded)
    more = {"address": elsewhere, "url": url, "peers": [elsewhere], "sources": [url]}
    replies = {
        "/v1/holdings": claims(node, manifest, digest, **more),
        f"/v1/manifests/{digest}": Reply(encoded),
        f"/v1/signatures/{digest}": Reply(status=404),
        f"/v1/attributes/{digest}": Reply(status=404),
        f"/v1/checkpoints/{digest}": Reply(b"a" * 1000, status=206),
    }
    (target,) = [target for target in replies if target.startswith(f"/v1/{what}")]
    honest = replies[target]
    changed = honest._replace(fields={**fields, **honest.fields})
    replies[target] = changed if status is None else changed._replace(status=status)
    return replies


def test_no_address_that_a_peer_names_is_ever_dialled(cluster: Cluster, section: Section) -> None:
    with ExitStack() as stack:
        elsewhere = stack.enter_context(canary())
        peers = [
            stack.enter_context(hostile_peer(pointing(elsewhere.address, what, status)))
            for what, status in WAYS
        ]
        addresses = [peer.address for peer in peers]
        receiver = cluster.node("r", peers=addresses, sections=section())
        for what, status in WAYS:
            receiver.begin(f"{what}-{status}", None)
        for (what, status), peer in zip(WAYS, peers, strict=True):

            def was_asked(what: str = what, peer: HostilePeer = peer) -> bool:
                return any(target.startswith(f"/v1/{what}") for target in peer.requests)

            eventually(was_asked, f"{what} asked for, answered with {status}")
        assert {row.address for row in receiver.client.peers()} == set(addresses)
        receiver.stop()  # nothing more is dialled from here on
        assert elsewhere.is_untouched()


def test_a_key_that_others_can_read_keeps_the_daemon_from_starting(
    tmp_path: Path, section: Section
) -> None:
    lines = section(key=OURS, trusted=())
    (tmp_path / f"{OURS.public.id}.pem").chmod(0o640)
    config = tmp_path / "ckptd.toml"
    (tmp_path / "root").mkdir()
    config.write_text(
        toml(
            node=f'id = "a"\nstate_dir = "{tmp_path}/state"',
            roots=f'main = "{tmp_path}/root"',
            listen=f'control = "{tmp_path}/sock"\ndata = "127.0.0.1:0"\nmetrics = ""',
        )
        + lines
    )
    ended = subprocess.run(
        [sys.executable, "-m", "ckptd.cli.daemon", "run", "--config", str(config)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == ExitCode.CONFIGURATION
    assert "mode 0640" in ended.stderr
    assert not (tmp_path / "state").exists()

"""What the daemon notices of its own certificate while it runs."""

import asyncio
import os
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ckptd.config import Config
from ckptd.config.copy_values import CopiesSection
from ckptd.config.sections import NodeSection, TlsSection
from ckptd.copies.zones import Zone
from ckptd.core.events import IdentityJudged
from ckptd.daemon.settings import own_identity
from ckptd.daemon.settings.own_identity import look_again, watch_validity
from ckptd.errors import ConfigurationError
from ckptd.net.connection.identity import Files, Identity
from tests.support.certificates import A, B, C, Certificates
from tests.support.serving import until


async def test_a_clock_that_is_set_is_noticed_and_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_identity, "_VALIDITY_LOOK_S", 0.001)
    reported: list[str] = []
    now_s, looks = time.time(), 0

    def wall_clock() -> float:
        nonlocal looks
        looks += 1
        return now_s

    identity = Identity(A, Certificates(tmp_path).files(A), wall_clock=wall_clock)

    def report(event: IdentityJudged) -> None:
        reported.append(event.trouble)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watch_validity(identity, report))
        await until(lambda: looks > 5)
        assert reported == []
        now_s -= 7200
        await until(lambda: bool(reported))
        looks = 0
        await until(lambda: looks > 5)
        now_s += 7200
        await until(lambda: len(reported) > 1)
        task.cancel()
    assert reported == ["this node's certificate is not valid yet (is the clock right?)", ""]


async def test_files_are_looked_at_and_read_off_the_loop_and_only_if_they_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates(tmp_path)
    identity = certificates.identity(A)
    reads: list[int] = []
    looks: list[int] = []
    read, refresh, stat = identity.reload, identity.refresh, os.stat
    tries: list[int] = []

    def reload() -> None:
        reads.append(threading.get_ident())
        read()

    def noted_stat(*args: int | str, **options: bool) -> os.stat_result:
        looks.append(threading.get_ident())
        return stat(*args, **options)

    def note_refresh() -> None:
        tries.append(threading.get_ident())
        refresh()

    monkeypatch.setattr(identity, "reload", reload)
    monkeypatch.setattr(identity, "refresh", note_refresh)
    before = identity.client_context
    await look_again(identity)
    assert (reads, tries, identity.client_context) == ([], [], before)
    certificates.revoked.write_text("1f\n")
    with monkeypatch.context() as noted:
        noted.setattr(os, "stat", noted_stat)
        await look_again(identity)
    assert len(reads) == 1
    assert threading.get_ident() not in {*reads, *looks}
    assert identity.client_context is not before


async def test_a_file_that_is_gone_is_complained_of_and_what_was_read_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(tmp_path)
    identity = certificates.identity(A)
    before = identity.client_context
    certificates.revoked.unlink()
    for _ in range(2):
        await look_again(identity)
    assert identity.client_context is before
    assert len([line for line in caplog.messages if "stay what they were" in line]) == 1


async def test_expiry_is_warned_of_though_no_file_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = time.time()
    files = Certificates(tmp_path).files(A)
    identity = Identity(A, files, wall_clock=lambda: now_s)
    until_s = min(identity.not_after_s.values())
    caplog.clear()
    now_s = until_s - 3600
    await look_again(identity)
    assert "expires in 0.0 days" in caplog.text


def configured(files: Files, zone: str | None, **zones: tuple[str, ...]) -> Config:
    node = NodeSection(id=A, state_dir="/s", zone=zone)
    tls = TlsSection(ca=files.ca, certificate=files.certificate, key=files.key)
    return Config(node=node, roots={}, tls=tls, copies=CopiesSection(zones=zones))


def test_a_zone_is_what_is_configured_else_what_the_certificate_says(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    files = certificates.files(A, zone=("r1",))
    other = Identity(B, certificates.files(B, zone=("r2",)), wall_clock=time.time)

    def zones(config: Config) -> tuple[Zone, ...]:
        identity = own_identity.open_identity(config)
        assert identity is not None
        shake_hands(identity, other)
        return tuple(own_identity.known_zone(config, identity, node) for node in (A, B, C))

    assert zones(configured(files, None)) == (("r1",), ("r2",), ())
    assert zones(configured(files, "r1")) == (("r1",), ("r2",), ())
    assert zones(configured(files, None, r3=("node-*",))) == (("r3",),) * 3
    with pytest.raises(ConfigurationError, match=r"says zone r1, and node\.zone is r4"):
        zones(configured(files, "r4"))


def test_without_certificates_a_zone_is_what_is_configured(tmp_path: Path) -> None:
    config = configured(Certificates(tmp_path).files(A), "r1", r2=(B,))
    zones = [own_identity.known_zone(config, None, node) for node in (A, B, C)]
    assert zones == [("r1",), ("r2",), ()]


def shake_hands(host: Identity, guest: Identity) -> None:
    """Let one dial the other, in memory, and let it see who answers."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = guest._loaded.server.wrap_bio(there, back, server_side=True)
    client = host.client_context.wrap_bio(back, there)
    for _ in range(4):
        for end in (client, server):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    host.check(client)

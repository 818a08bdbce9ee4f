from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import pytest

from ckptd.config import Config
from ckptd.config.sections import (
    ControlSection,
    DiscoverySection,
    ListenSection,
    LogSection,
    NodeSection,
    RecoverySection,
)
from ckptd.control.messages.daemon_status import ReloadResult
from ckptd.daemon.settings.reloading import LivePart, Reloading, ReloadState, Switch
from ckptd.errors import CkptdError, ConfigurationError, ExitCode
from ckptd.model.ids import NodeId

START = Config(node=NodeSection(id=NodeId("a"), state_dir="/s"), roots={"main": "/data"})
BROKEN = ConfigurationError("/c.toml: log.levl", "is not a key", "Did you mean log.level?")


class Stage:
    """A file, two parts that follow it, and what they were told."""

    def __init__(self) -> None:
        self.file: Config | CkptdError = START
        self.refusal: CkptdError | None = None
        self.story: list[str] = []
        self.seconds = 100.0
        self.reloading = Reloading(
            START,
            load=self._load,
            parts=[
                LivePart(("log",), lambda old, new: self._prepare("log", old.log, new.log)),
                LivePart(("discovery.peers",), self._peers),
            ],
            wall_clock=lambda: self.seconds,
            while_reloading=self._while_reloading,
        )

    def write(self, **sections: object) -> None:
        self.file = msgspec.structs.replace(START, **sections)

    def _load(self) -> Config:
        if isinstance(self.file, CkptdError):
            raise self.file
        return self.file

    def _prepare(self, name: str, old: object, new: object) -> Switch:
        self.story.append(f"prepare {name}")
        return lambda: self.story.append(f"{name}: {old} → {new}")

    def _peers(self, old: Config, new: Config) -> Switch:
        if self.refusal:
            raise self.refusal
        return self._prepare("peers", old.discovery.peers, new.discovery.peers)

    @contextlib.contextmanager
    def _while_reloading(self) -> Iterator[None]:
        self.story.append("reloading")
        try:
            yield
        finally:
            self.story.append("ready")


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_every_part_prepares_before_one_switches(stage: Stage) -> None:
    stage.write(discovery=DiscoverySection(peers=("b:1",)))
    await stage.reloading.reload()
    assert stage.story == [
        "reloading",
        "prepare log",
        "prepare peers",
        f"log: {LogSection()} → {LogSection()}",
        "peers: () → ('b:1',)",
        "ready",
    ]


async def test_keys_that_changed_are_named_live_or_not(stage: Stage) -> None:
    stage.write(
        roots={"main": "/data", "fast": "/fast"},
        listen=ListenSection(metrics=None),
        discovery=DiscoverySection(peers=("b:1",)),
        recovery=RecoverySection(buffers_bytes=2**26),
        log=LogSection(level="debug"),
    )
    assert await stage.reloading.reload() == ReloadResult(
        applied=("discovery.peers", "log.level"),
        needs_restart=("listen.metrics", "recovery.buffers", "roots.fast"),
    )


async def test_what_needs_a_restart_is_named_until_it_was_taken_back(stage: Stage) -> None:
    stage.write(roots={"other": "/data"}, control=ControlSection(admin_users=("a",)))
    waiting = ("control.admin_users", "roots.main", "roots.other")
    for _ in range(2):
        assert (await stage.reloading.reload()).needs_restart == waiting
    stage.write()
    assert await stage.reloading.reload() == ReloadResult(applied=(), needs_restart=())


async def test_parts_are_told_what_they_follow_now_as_the_old(stage: Stage) -> None:
    for peers in (("b:1",), ("c:1",)):
        stage.write(discovery=DiscoverySection(peers=peers))
        await stage.reloading.reload()
    assert "peers: ('b:1',) → ('c:1',)" in stage.story


@pytest.mark.parametrize("who", ["file", "part"])
async def test_what_cannot_be_used_changes_nothing(stage: Stage, who: str) -> None:
    if who == "file":
        stage.file = BROKEN
    else:
        stage.write(log=LogSection(level="debug"))
        stage.refusal = BROKEN
    with pytest.raises(CkptdError) as refused:
        await stage.reloading.reload()
    assert str(refused.value) == (
        "/c.toml: log.levl: is not a key. Did you mean log.level? The old configuration stays."
    )
    assert refused.value.exit_code is ExitCode.FAILED
    assert (stage.story[0], stage.story[-1]) == ("reloading", "ready")
    assert not [line for line in stage.story if "→" in line]

    stage.refusal = None
    stage.write(log=LogSection(level="debug"))
    assert (await stage.reloading.reload()).applied == ("log.level",)


async def test_the_last_reload_is_remembered(stage: Stage) -> None:
    assert stage.reloading.state == ReloadState(is_successful=True, succeeded_at_s=100)
    stage.seconds, stage.file = 200, BROKEN
    with pytest.raises(CkptdError):
        await stage.reloading.reload()
    assert stage.reloading.state == ReloadState(is_successful=False, succeeded_at_s=100)
    stage.seconds = 300
    stage.write()
    await stage.reloading.reload()
    assert stage.reloading.state == ReloadState(is_successful=True, succeeded_at_s=300)


async def test_that_there_are_more_errors_is_said(stage: Stage) -> None:
    broken = ConfigurationError("/c.toml: log.levl", "is not a key")
    stage.file = ConfigurationError.of([broken, ConfigurationError("/c.toml: node", "is missing")])
    with pytest.raises(CkptdError, match=r"'ckptd check-config' lists 1 more\. The old"):
        await stage.reloading.reload()

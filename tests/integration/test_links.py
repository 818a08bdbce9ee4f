"""A cache made of links comes back as one, and is kept as one, from save to removal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ckptd.control.messages.checkpoints import PlaceRow, PublishRequest, PublishResult
from ckptd.control.messages.life_cycle import RemoveRequest, RemoveResult
from ckptd.control.messages.verifications import BadUnit, VerifyRequest
from ckptd.errors import Conflict
from ckptd.model.words import PlaceState, Result
from tests.support.cluster import Cluster, Node, eventually

pytestmark = pytest.mark.integration

LINKS = {
    "snapshots/c0ffee/config.json": "../../blobs/1",
    "snapshots/c0ffee/model.safetensors": "../../blobs/2",
    "snapshots/latest": "c0ffee",
}


def make_cache(directory: Path) -> Path:
    """Make what the Hugging Face hub makes of a model, and a link to its latest revision."""
    for path, content in {
        "blobs/1": b"{}",
        "blobs/2": bytes(range(256)) * 4096,
        "refs/main": b"c0ffee",
        ".no_exist/c0ffee/adapter.json": b"",
    }.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    for path, target in LINKS.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).symlink_to(target)
    (directory / "logs/old").mkdir(parents=True)
    (directory / "logs/old").chmod(0o711)
    return directory


def shape(directory: Path | str) -> dict[str, str | bytes | int]:
    """Return what is in a directory: targets of links, contents of files, modes of directories."""
    found: dict[str, str | bytes | int] = {}
    for path in Path(directory).rglob("*"):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = path.stat().st_mode if path.is_dir() else path.read_bytes()
    return found


def publish(node: Node, directory: Path, *, is_dry_run: bool = False) -> PublishResult:
    request = PublishRequest(
        directory=str(directory),
        checkpoint="hub/tiny",
        version=1,
        keeps_links=True,
        is_dry_run=is_dry_run,
    )
    result = list(node.client.publish(request))[-1]
    assert isinstance(result, PublishResult)
    return result


def place_of(node: Node, directory: str) -> PlaceRow | None:
    rows = (place for row in node.client.checkpoints() for place in row.places)
    return next((place for place in rows if place.directory == directory), None)


def await_state(node: Node, directory: str, state: PlaceState) -> PlaceRow:
    def look() -> PlaceRow | None:
        place = place_of(node, directory)
        return place if place and place.state is state else None

    return eventually(look, f"{directory} to be {state.value}")


def test_a_cache_of_links_comes_back_is_kept_and_removed(cluster: Cluster) -> None:
    source = cluster.node("a")
    cache = make_cache(source.path("cache"))
    dry = publish(source, cache, is_dry_run=True)
    first = publish(source, cache)
    assert (dry.units, dry.links, dry.empty_directories) == (4, 3, 1)
    assert (first.units, first.links, first.empty_directories) == (4, 3, 1)
    twin = publish(source, Path(shutil.copytree(cache, source.path("twin"), symlinks=True)))
    assert (twin.digest, twin.is_new) == (first.digest, False)

    receiver = cluster.node("r", peers=[source.address])
    result = receiver.recover("hub/tiny", 1)
    assert (result.result, result.bytes_received) == (Result.COMPLETE, first.size_bytes)
    target = Path(result.target)
    assert shape(target) == shape(cache)
    source.stop()  # else it may bring what the disk is slow to give
    copied = receiver.recover("hub/tiny", 1, to=receiver.path("copy"))
    assert (copied.bytes_received, shape(copied.target)) == (0, shape(cache))
    (row,) = receiver.client.checkpoints()
    assert (row.units, row.links, row.empty_directories) == (4, 3, 1)

    _check_keeping(receiver, cache, target)
    _check_removing(receiver, target)


def _check_keeping(receiver: Node, cache: Path, target: Path) -> None:
    """What is gone is noticed, and made again."""
    (target / "snapshots/latest").unlink()
    stale = await_state(receiver, str(target), PlaceState.STALE)
    assert (stale.wrong_names, stale.changed_units) == (1, 0)
    assert "snapshots/latest: was removed" in stale.reason
    receiver.recover("hub/tiny", 1, to=target)
    assert shape(target) == shape(cache)
    assert await_state(receiver, str(target), PlaceState.HERE).wrong_names == 0


def _check_removing(receiver: Node, target: Path) -> None:
    """What somebody changed is his, until he says otherwise; a restart does not forget it."""
    (target / "snapshots/latest").unlink()
    (target / "snapshots/latest").symlink_to("../blobs")
    await_state(receiver, str(target), PlaceState.STALE)
    receiver.stop()
    receiver.restart()
    await_state(receiver, str(target), PlaceState.STALE)
    seen = list(receiver.client.verify(VerifyRequest(checkpoint="hub/tiny", version=1)))
    assert [bad.path for bad in seen if isinstance(bad, BadUnit)] == ["snapshots/latest"]
    asked = RemoveRequest(checkpoint="hub/tiny", version=1, place=str(target))
    with pytest.raises(Conflict, match=r"leads to '\.\./blobs'"):
        list(receiver.client.remove(asked))
    (target / "snapshots/latest").unlink()
    (target / "snapshots/latest").symlink_to("c0ffee")
    await_state(receiver, str(target), PlaceState.HERE)
    removed = list(receiver.client.remove(asked))[-1]
    assert isinstance(removed, RemoveResult)
    assert [(each.files, each.is_directory_gone) for each in removed.places] == [(7, True)]
    assert not target.exists()

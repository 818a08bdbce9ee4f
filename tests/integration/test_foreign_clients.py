"""curl and aria2c as receivers: the peer protocol is plain HTTP."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.manifest import Manifest
from tests.support.cluster import Node

pytestmark = pytest.mark.integration


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def run(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def address_space(source: Node, manifest: Manifest) -> bytes:
    """Put the files end to end as the manifest orders them."""
    return b"".join(source.path("100", unit.path).read_bytes() for unit in manifest.units)


@pytest.fixture
def url(sources: list[Node]) -> str:
    (row,) = (row for row in sources[0].client.checkpoints() if row.version == 100)
    return f"http://{sources[0].address}/v1/checkpoints/{row.digest}"


@pytest.fixture
def content(sources: list[Node], url: str) -> bytes:
    encoded = run("curl", "-fsS", url.replace("/checkpoints/", "/manifests/"))
    return address_space(sources[0], decode_manifest(encoded))


@needs("curl")
def test_curl_fetches_a_whole_version(url: str, content: bytes) -> None:
    assert run("curl", "-fsS", url) == content


@needs("curl")
def test_curl_fetches_a_range(url: str, content: bytes) -> None:
    for first, last in ((0, 0), (1000, 5_000_000), (len(content) - 7, len(content) - 1)):
        assert run("curl", "-fsS", "-r", f"{first}-{last}", url) == content[first : last + 1]


@needs("curl")
@needs("aria2c")
def test_aria2c_fetches_a_version_over_four_connections(
    url: str, content: bytes, tmp_path: Path
) -> None:
    run("aria2c", "-q", "-x4", "-s4", "-k1M", "--no-conf", "-d", str(tmp_path), "-o", "out", url)
    assert (tmp_path / "out").read_bytes() == content

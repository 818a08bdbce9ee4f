import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import ProtocolViolation
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Digest
from ckptd.wire.targets import (
    AttributesTarget,
    CodedTarget,
    HoldingsTarget,
    ManifestTarget,
    SignaturesTarget,
    Target,
    VersionTarget,
    parse_target,
)

DIGEST = Digest("0123456789abcdef" * 4)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/holdings", HoldingsTarget()),
        (f"/v1/manifests/{DIGEST}", ManifestTarget(DIGEST)),
        (f"/v1/signatures/{DIGEST}", SignaturesTarget(DIGEST)),
        (f"/v1/attributes/{DIGEST}", AttributesTarget(DIGEST)),
        (f"/v1/checkpoints/{DIGEST}", VersionTarget(DIGEST)),
        (f"/v1/coded/{DIGEST}?blocks=0-0", CodedTarget(DIGEST, BlockRun(0, 1))),
        (f"/v1/coded/{DIGEST}?blocks=7-1234", CodedTarget(DIGEST, BlockRun(7, 1235))),
    ],
)
def test_a_target_is_read_as_it_is_written(path: str, target: Target) -> None:
    assert target.path == path
    assert parse_target(path) == target


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404), ("", 404), ("*", 404), ("/v1", 404), ("/v1/holdings/", 404),
        ("/v2/holdings", 404), ("//v1/holdings", 404), ("/v1/holdings%20", 404),
        ("/V1/HOLDINGS", 404), ("http://host/v1/holdings", 404), (f"/v1/manifests/{DIGEST}/", 404),
        (f"/v1/manifests/{DIGEST[:-1]}", 404), (f"/v1/manifests/{DIGEST.upper()}", 404),
        ("/v1/checkpoints/", 404), ("/v1/checkpoints/../../etc/passwd", 404),
        (f"/v1/checkpoints/{DIGEST}\n", 404), (f"/v1/checkpoints/{DIGEST}#x", 404),
        ("/v1/holdings?", 400), ("/v1/holdings?a=b", 400), (f"/v1/checkpoints/{DIGEST}?x", 400),
        (f"/v1/coded/{DIGEST}", 400), (f"/v1/coded/{DIGEST}?blocks=2-1", 400),
        (f"/v1/coded/{DIGEST}?blocks=1", 400), ("/v1/coded/ab?blocks=0-1", 400),
        (f"/v1/coded/{DIGEST}?blocks=0-1&x", 400),
        (f"/v1/coded/{DIGEST}?blocks=0-12345678901", 400),
    ],
)  # fmt: skip
def test_other_targets_do_not_exist(path: str, status: int) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        parse_target(path)
    assert refused.value.status == status


@given(st.text(max_size=100))
def test_arbitrary_text_is_a_target_or_a_violation(text: str) -> None:
    try:
        target = parse_target(text)
    except ProtocolViolation:
        return
    assert target.path == text

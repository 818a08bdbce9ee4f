import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import ProtocolViolation
from ckptd.limits import SIGNATURE_DOCUMENT_BYTES_MAX, SIGNATURES_MAX
from ckptd.model.signatures import KeyId, Signature
from ckptd.wire.signature_lines import decode_signatures, encode_signatures

ONE = Signature(KeyId("0123456789abcdef"), bytes(range(64)))
MANY = tuple(Signature(KeyId(f"{number:016x}"), bytes([number]) * 64) for number in range(9))


def test_signatures_come_back_as_they_were() -> None:
    for count in range(SIGNATURES_MAX + 1):
        assert decode_signatures(encode_signatures(MANY[:count])) == MANY[:count]
    assert len(encode_signatures(MANY[:SIGNATURES_MAX])) == SIGNATURE_DOCUMENT_BYTES_MAX


@pytest.mark.parametrize(
    "document",
    [
        encode_signatures(MANY),  # one too many
        encode_signatures([ONE, ONE]),
        encode_signatures([ONE])[:-1],
        encode_signatures([ONE])[1:],
        encode_signatures([ONE]) + b"\n",
        encode_signatures([ONE]).upper(),
        encode_signatures([ONE]).replace(b"\n", b"\r"),
        encode_signatures([ONE]).replace(b" ", b"\t"),
        b"\n" * SIGNATURE_DOCUMENT_BYTES_MAX,
        b"0" * 2**20,
        "٣".encode() * 73,  # a digit, but not one of ours
    ],
)
def test_anything_else_is_refused(document: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode_signatures(document)


def test_a_document_that_ends_within_a_line_says_how_long_it_is() -> None:
    document = encode_signatures([ONE])[:-1]
    with pytest.raises(ProtocolViolation, match=f"has {len(document)} bytes"):
        decode_signatures(document)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_document_or_a_violation(data: bytes) -> None:
    try:
        signatures = decode_signatures(data)
    except ProtocolViolation:
        return
    assert encode_signatures(signatures) == data

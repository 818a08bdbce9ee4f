"""Which signatures count, by the section ``[signatures]`` and its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ckptd.config.sections import SignaturesSection
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import ConfigurationError, NotSigned, ProtocolViolation
from ckptd.model.ids import CheckpointName
from ckptd.model.manifest import encode_manifest
from ckptd.model.signatures import KeyId, SignableManifest, Signature
from ckptd.store.files.keys import SigningKey
from ckptd.wire.signature_lines import decode_signatures, encode_signatures
from tests.support.manifests import make_manifest

signable = SignableManifest.of
NAME = CheckpointName("llama/rank-0")
MANIFEST = encode_manifest(make_manifest({"a": b"a"}))
OURS, THEIRS, NEXT = SigningKey.draw(), SigningKey.draw(), SigningKey.draw()


def section(
    directory: Path, *lines: str, require: Sequence[str] = ("llama/*",)
) -> SignaturesSection:
    path = directory / "trusted"
    path.write_text("\n".join(lines))
    path.chmod(0o644)
    return SignaturesSection(trusted=str(path), require=tuple(require))


@pytest.fixture
def policy(tmp_path: Path) -> SignaturePolicy:
    return SignaturePolicy(section(tmp_path, OURS.public.text))


def is_accepted(policy: SignaturePolicy, manifest: bytes, document: bytes) -> bool:
    """Tell whether a manifest with this document is let in."""
    try:
        policy.verify(signable(manifest), decode_signatures(document), NAME)
    except (ProtocolViolation, NotSigned):
        return False
    return True


def test_a_manifest_signed_by_a_trusted_key_is_accepted(policy: SignaturePolicy) -> None:
    signature = OURS.sign(MANIFEST)
    assert policy.verify(signable(MANIFEST), (signature,), NAME) == (signature,)


def test_attributes_must_be_signed_where_manifests_must_be(policy: SignaturePolicy) -> None:
    document = b"document"
    ours, theirs = OURS.sign_attributes(document), THEIRS.sign_attributes(document)
    assert policy.verify_attributes(document, (theirs, ours), NAME) == (ours,)
    for signatures in ((), (theirs,), (OURS.sign(document),)):
        with pytest.raises(NotSigned, match=f"attributes for {NAME}"):
            policy.verify_attributes(document, signatures, NAME)
    with pytest.raises(NotSigned):
        policy.verify_attributes(b"another", (ours,), NAME)
    assert policy.verify_attributes(document, (), CheckpointName("free/rank-0")) == ()


def test_a_signature_of_attributes_is_none_of_a_manifest(policy: SignaturePolicy) -> None:
    with pytest.raises(NotSigned):
        policy.verify(signable(MANIFEST), (OURS.sign_attributes(MANIFEST),), NAME)


def test_with_any_bit_of_the_manifest_flipped_it_is_refused(policy: SignaturePolicy) -> None:
    document = encode_signatures([OURS.sign(MANIFEST)])
    assert is_accepted(policy, MANIFEST, document)
    for bit in range(8 * len(MANIFEST)):
        assert not is_accepted(policy, flipped(MANIFEST, bit), document), bit


def test_with_any_bit_of_the_signatures_flipped_it_is_refused(policy: SignaturePolicy) -> None:
    document = encode_signatures([OURS.sign(MANIFEST)])
    for bit in range(8 * len(document)):
        assert not is_accepted(policy, MANIFEST, flipped(document, bit)), bit


def test_cut_short_or_made_longer_it_is_refused(policy: SignaturePolicy) -> None:
    document = encode_signatures([OURS.sign(MANIFEST)])
    for length in range(len(document)):
        assert not is_accepted(policy, MANIFEST, document[:length])
    for length in range(len(MANIFEST)):
        assert not is_accepted(policy, MANIFEST[:length], document)
    assert not is_accepted(policy, MANIFEST + b"\0", document)
    assert not is_accepted(policy, MANIFEST, document + document)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_foreign_key_does_not_count_whatever_it_calls_itself(policy: SignaturePolicy) -> None:
    theirs = THEIRS.sign(MANIFEST)
    assert not is_accepted(policy, MANIFEST, encode_signatures([theirs]))
    disguised = Signature(OURS.public.id, theirs.value)
    assert not is_accepted(policy, MANIFEST, encode_signatures([disguised]))
    # One that counts is enough; those that nobody knows are not passed on.
    assert policy.verify(signable(MANIFEST), (theirs, OURS.sign(MANIFEST)), NAME) == (
        OURS.sign(MANIFEST),
    )


def test_a_forgery_is_refused_though_another_signature_counts(tmp_path: Path) -> None:
    policy = SignaturePolicy(section(tmp_path, OURS.public.text, NEXT.public.text))
    forged = Signature(NEXT.public.id, bytes(64))
    assert not is_accepted(policy, MANIFEST, encode_signatures([OURS.sign(MANIFEST), forged]))


def test_an_unsigned_manifest_is_refused_and_is_no_lie(policy: SignaturePolicy) -> None:
    with pytest.raises(NotSigned, match="is unsigned") as refused:
        policy.verify(signable(MANIFEST), (), NAME)
    assert not refused.value.is_lie


def test_what_requires_no_signature_may_have_none_but_no_forged_one(
    policy: SignaturePolicy,
) -> None:
    other = CheckpointName("qwen/rank-0")
    assert policy.verify(signable(MANIFEST), (), other) == ()
    assert policy.verify(signable(MANIFEST), (THEIRS.sign(MANIFEST),), other) == ()
    with pytest.raises(NotSigned) as refused:
        policy.verify(signable(MANIFEST), (Signature(OURS.public.id, bytes(64)),), other)
    assert refused.value.is_lie


def test_a_key_counts_only_for_the_checkpoints_it_may_sign(tmp_path: Path) -> None:
    policy = SignaturePolicy(
        section(tmp_path, f"{OURS.public.text} llama/*", f"{NEXT.public.text} qwen/*", require="*")
    )
    assert is_accepted(policy, MANIFEST, encode_signatures([OURS.sign(MANIFEST)]))
    assert not is_accepted(policy, MANIFEST, encode_signatures([NEXT.sign(MANIFEST)]))
    with pytest.raises(NotSigned, match="may not sign this checkpoint"):
        policy.verify(signable(MANIFEST), (OURS.sign(MANIFEST),), CheckpointName("qwen/rank-0"))


def test_keys_change_without_a_gap(tmp_path: Path) -> None:
    policy = SignaturePolicy(section(tmp_path, OURS.public.text))
    old, new = (encode_signatures([key.sign(MANIFEST)]) for key in (OURS, NEXT))
    assert [is_accepted(policy, MANIFEST, each) for each in (old, new)] == [True, False]
    switch = policy.prepare(section(tmp_path, OURS.public.text, NEXT.public.text))
    assert not is_accepted(policy, MANIFEST, new)
    switch()
    assert [is_accepted(policy, MANIFEST, each) for each in (old, new)] == [True, True]
    policy.prepare(section(tmp_path, NEXT.public.text))()
    assert [is_accepted(policy, MANIFEST, each) for each in (old, new)] == [False, True]


def test_files_that_cannot_be_used_leave_the_policy_as_it_is(tmp_path: Path) -> None:
    policy = SignaturePolicy(section(tmp_path, OURS.public.text))
    with pytest.raises(ConfigurationError, match="line 1"):
        policy.prepare(section(tmp_path, "nonsense"))
    assert is_accepted(policy, MANIFEST, encode_signatures([OURS.sign(MANIFEST)]))


def test_a_requirement_that_nobody_can_meet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names no key"):
        SignaturePolicy(section(tmp_path, "# nobody"))


def test_a_node_signs_with_the_key_of_its_configuration(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(OURS.pem())
    key.chmod(0o600)
    policy = SignaturePolicy(SignaturesSection(key=str(key)))
    assert policy.sign(MANIFEST) == (OURS.sign(MANIFEST),)
    assert not policy.has_trusted_keys
    assert SignaturePolicy(SignaturesSection()).sign(MANIFEST) == ()
    key.chmod(0o640)
    with pytest.raises(ConfigurationError, match="0640"):
        SignaturePolicy(SignaturesSection(key=str(key)))


def test_only_what_counts_here_counts_for_the_newest_version(policy: SignaturePolicy) -> None:
    assert policy.counts((OURS.sign(MANIFEST),), NAME)
    assert not policy.counts((), NAME)
    assert not policy.counts((Signature(KeyId("0" * 16), b""),), NAME)
    assert policy.counts((), CheckpointName("qwen/rank-0"))

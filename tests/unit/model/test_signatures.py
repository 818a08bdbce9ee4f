from __future__ import annotations

from ckptd.limits import MIB
from ckptd.model.signatures import SignableManifest


def test_what_is_signed_is_the_manifest_behind_the_words_that_say_so() -> None:
    signable = SignableManifest.of(b"manifest")
    assert signable.signed == b"ckptd-manifest-v1\0manifest"
    assert bytes(signable.manifest) == b"manifest"
    assert signable.manifest.obj is signable.signed


def test_a_long_manifest_is_copied_whole() -> None:
    manifest = bytes(range(256)) * (10 * MIB // 1024)
    assert bytes(SignableManifest.of(memoryview(manifest)).manifest) == manifest

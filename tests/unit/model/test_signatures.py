from __future__ import annotations

from ckptd.model.signatures import signed_bytes


def test_what_is_signed_is_the_manifest_behind_the_words_that_say_so() -> None:
    assert signed_bytes(b"manifest") == b"ckptd-manifest-v1\0manifest"

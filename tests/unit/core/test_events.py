from __future__ import annotations

import pytest

from ckptd.core.events import Refusal
from ckptd.errors import CkptdError, NotFound, OutOfSpace, StagingLost, VerificationFailed


@pytest.mark.parametrize(
    ("error", "retryable", "verification", "staging_lost"),
    [
        (OutOfSpace("root /data", "no room"), True, False, False),
        (StagingLost("/data/.ckptd/r-1", "was removed"), False, False, True),
        (VerificationFailed("manifest", "is another"), False, True, False),
        (NotFound("root", "is gone"), False, False, False),
    ],
)
def test_a_refusal_says_what_an_error_means_for_a_recovery(
    error: CkptdError, retryable: bool, verification: bool, staging_lost: bool
) -> None:
    refusal = Refusal.of(error)
    assert (refusal.code, refusal.message) == (error.code, str(error))
    assert (refusal.is_retryable, refusal.is_verification, refusal.is_staging_lost) == (
        retryable, verification, staging_lost,
    )  # fmt: skip

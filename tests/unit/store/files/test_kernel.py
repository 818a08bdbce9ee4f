import errno
import os

import pytest

from ckptd.errors import CkptdError, NotFound, OutOfSpace, StorageError
from ckptd.store.files.kernel import mapping_os_errors, storage_error


def test_a_full_disk_is_out_of_space() -> None:
    with (
        pytest.raises(OutOfSpace, match="target: there is no room left"),
        mapping_os_errors("target"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EDQUOT, OutOfSpace),
        (errno.ENOENT, NotFound),
        (errno.EROFS, StorageError),
        (errno.EIO, StorageError),
        (errno.ENAMETOOLONG, StorageError),
    ],
)
def test_each_refusal_has_its_error(code: int, kind: type[CkptdError]) -> None:
    error = storage_error("file /a", OSError(code, os.strerror(code)))
    assert type(error) is kind
    assert str(error).startswith("file /a: ")

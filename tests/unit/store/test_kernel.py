import ctypes
import errno
import os
from pathlib import Path

import pytest

from ckptd.errors import CkptdError, NotFound, OutOfSpace, StorageError
from ckptd.store import kernel
from ckptd.store.kernel import mapping_os_errors, rename_noreplace, storage_error


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


class _OldFileSystem:
    """A C library on a file system that knows no rename flags, as NFS."""

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1


def test_without_rename_flags_nothing_is_replaced_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_libc", _OldFileSystem())
    (tmp_path / "staging").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_bytes(b"")
    parent = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            rename_noreplace(parent, "staging", parent, "taken")
        with pytest.raises(OSError, match="Invalid argument"):
            rename_noreplace(parent, "file", parent, "final")
        rename_noreplace(parent, "staging", parent, "final")
    finally:
        os.close(parent)
    assert sorted(os.listdir(tmp_path)) == ["file", "final", "taken"]

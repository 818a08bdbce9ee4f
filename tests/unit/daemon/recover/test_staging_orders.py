"""What is said to who finds no room."""

from __future__ import annotations

from ckptd.daemon.recover.staging_orders import with_room
from ckptd.errors import OutOfSpace, StorageError
from ckptd.store.files.roots import Root


def test_no_room_is_reported_with_what_retention_would_free(root: Root) -> None:
    error = OutOfSpace("root /data", "needs 2 GiB and has 1 GiB free", "Make room.")
    said = with_room(error, lambda _: " Retention frees up to 3 GiB by itself.", root)
    assert str(said) == (
        "root /data: needs 2 GiB and has 1 GiB free. Make room."
        " Retention frees up to 3 GiB by itself."
    )
    assert said.is_retryable
    assert with_room(error, lambda _: "", root) is error


def test_another_error_says_nothing_of_room(root: Root) -> None:
    error = StorageError("root /data", "is read-only")
    assert with_room(error, lambda _: " Retention frees all of it.", root) is error

"""What cannot be loaded is not used, and nothing else ends because of it."""

import sys

import pytest

from ckptd.net.loaded_coding import can_code


def test_what_could_not_be_loaded_once_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    can_code.cache_clear()
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "ckptd.coding.block_coding", None)
        assert not can_code()
    assert not can_code()
    can_code.cache_clear()
    assert can_code()

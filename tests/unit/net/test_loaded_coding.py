"""What cannot be loaded is not used, and nothing else ends because of it."""

import importlib

import pytest

from ckptd.net.loaded_coding import can_code


@pytest.mark.parametrize("error", [ImportError("no descriptor"), OSError(24, "too many")])
def test_what_could_not_be_loaded_once_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    can_code.cache_clear()

    def fail(name: str) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(importlib, "import_module", fail)
        assert not can_code()
    assert not can_code()
    can_code.cache_clear()
    assert can_code()

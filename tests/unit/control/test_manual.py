from pathlib import Path

from ckptd.control.manual import manual
from ckptd.control.routes import ROUTES

WRITTEN = Path(__file__).parents[3] / "docs" / "control-api.md"


def test_the_manual_is_what_the_table_says() -> None:
    assert WRITTEN.read_text() == manual(), "run: make manual"


def test_the_manual_has_every_verb_and_says_what_each_field_is() -> None:
    text = manual()
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in text
    assert "| `missing_units` | array of string | Paths of units with such blocks," in text
    assert "| `verdict` | `ok` or `warn` or `fail` | The result. |" in text
    assert "`None`" not in text

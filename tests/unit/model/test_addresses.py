import pytest

from ckptd.model.addresses import format_address


@pytest.mark.parametrize(
    ("host", "written"),
    [("10.0.0.1", "10.0.0.1:7"), ("node-a", "node-a:7"), ("fd00::3", "[fd00::3]:7")],
)
def test_an_address_is_written_as_people_write_it(host: str, written: str) -> None:
    assert format_address(host, 7) == written

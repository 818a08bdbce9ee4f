"""What is said of units that are to be hashed again and cannot be read."""

from __future__ import annotations

from pathlib import Path

from ckptd.daemon.doctor.readable import look_at_reading
from ckptd.model.words import CheckResult
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from tests.support.somebody import somebody
from tests.support.stores import publish, write_files


async def test_a_file_that_was_closed_is_named_with_what_opens_it(
    catalog: Catalog, root: Root, tmp_path: Path
) -> None:
    inside = Path(root.path)
    write_files(inside / "v1", {"a": b"1", "b": b"2"})
    held = await catalog.add(publish(root, "v1"))
    rows = [row async for row in look_at_reading(catalog, Roots([root]))]
    assert rows == [], "nothing looks different"
    (inside / "v1/a").chmod(0)
    catalog.mark_suspect(held.places[0].number, [0, 1], "has other metadata")
    with somebody() as user:
        (row,) = [row async for row in look_at_reading(catalog, Roots([root]))]
    assert (row.verdict, row.subject) == (CheckResult.FAIL, f"file {inside}/v1/a")
    assert row.finding.startswith(f"user {user} may not read it")
    assert f"setfacl -R -m u:{user}:rX {inside}/v1" in row.remedy
    (inside / "v1/a").chmod(0o644)
    with somebody():
        assert [row async for row in look_at_reading(catalog, Roots([root]))] == []

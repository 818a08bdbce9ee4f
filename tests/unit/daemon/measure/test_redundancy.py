from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ckptd.daemon.measure.redundancy import Redundancy
from ckptd.model.blocks import BlockSet
from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.catalog import Catalog
from tests.support.stores import publish, write_files


def critical(root: Root) -> HashedDirectory:
    """Two critical blocks and one that is not."""
    write_files(Path(root.path, "v100"))
    return publish(root, "v100", critical=("weights.bin",))


async def test_nodes_with_all_critical_units_are_counted(catalog: Catalog, root: Root) -> None:
    hashed = critical(root)
    redundancy = Redundancy(catalog)
    await redundancy.refresh()
    assert redundancy.sources_min([]) is None
    await catalog.add(hashed)
    await redundancy.refresh()
    (holding,) = catalog.holdings()
    without = replace(holding, blocks=BlockSet())
    assert redundancy.sources_min([]) == 1
    assert redundancy.sources_min([(holding,), (without,), ()]) == 2


async def test_a_version_that_is_stale_here_counts_no_more(catalog: Catalog, root: Root) -> None:
    hashed = critical(root)
    redundancy = Redundancy(catalog)
    await catalog.add(hashed)
    (holding,) = catalog.holdings()
    await redundancy.refresh()
    catalog.mark_stale(holding.digest, "a test says so")
    assert redundancy.sources_min([]) == 0
    await redundancy.refresh()
    assert redundancy.sources_min([(holding,)]) is None

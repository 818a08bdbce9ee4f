from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ckptd.store.records.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(str(tmp_path / "ckptd.db"))
    await opened.open()
    yield opened
    await opened.close()

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import Shortage
from ckptd.store.files.open_files import OpenFiles


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class Opener:
    """Opens files of a directory by number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[tuple[int, int]] = []

    def __call__(self, number: int) -> int:
        fd = os.open(self.path / str(number), os.O_CREAT | os.O_RDWR)
        self.opened.append((number, fd))
        return fd


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(tmp_path)


@pytest.fixture
def files(opener: Opener) -> Iterator[OpenFiles]:
    made = OpenFiles(opener, files_max=2)
    yield made
    made.close()


def use(files: OpenFiles, number: int) -> int:
    with files.borrow(number) as fd:
        return fd


def test_a_file_is_opened_once(files: OpenFiles, opener: Opener) -> None:
    with files.borrow(1) as first, files.borrow(1) as second:
        assert first == second
    use(files, 1)
    assert opener.opened == [(1, first)]


def test_the_file_used_longest_ago_makes_room(files: OpenFiles) -> None:
    fds = {number: use(files, number) for number in (1, 2)}
    use(files, 1)
    use(files, 3)
    assert is_open(fds[1])
    assert files.has_all([1, 3])
    assert not files.has_all([1, 2])


def test_a_file_in_use_is_not_closed(files: OpenFiles) -> None:
    with files.borrow(1) as oldest:
        use(files, 2)
        use(files, 3)
        assert files.has_all([1, 3])
        os.pwrite(oldest, b"x", 0)


def test_more_files_than_the_maximum_may_be_in_use(files: OpenFiles) -> None:
    with files.borrow(1), files.borrow(2), files.borrow(3):
        assert files.has_all([1, 2, 3])


def test_threads_that_open_one_file_at_once_share_one_descriptor(tmp_path: Path) -> None:
    both_opened = threading.Barrier(2)
    both_borrowed = threading.Barrier(2)
    opener = Opener(tmp_path)
    used: list[int] = []

    def open_file(number: int) -> int:
        fd = opener(number)
        both_opened.wait(60)
        return fd

    files = OpenFiles(open_file, files_max=2)

    def lane() -> None:
        with files.borrow(1) as fd:
            both_borrowed.wait(60)
            used.append(fd)

    threads = [threading.Thread(target=lane, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(opener.opened) == 2
    assert len(set(used)) == 1
    assert [is_open(fd) for _, fd in opener.opened].count(True) == 1
    files.close()


def test_all_files_are_closed_in_the_end(opener: Opener) -> None:
    files = OpenFiles(opener, files_max=2)
    fds = [use(files, number) for number in (1, 2)]
    files.close()
    assert not any(map(is_open, fds))


def test_a_failing_user_gives_its_file_back(files: OpenFiles) -> None:
    with pytest.raises(ValueError, match="mine"), files.borrow(1):
        raise ValueError("mine")
    files.close()


class ShortOpener(Opener):
    """Has no descriptor left when so many files are open."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self.most = most

    def __call__(self, number: int) -> int:
        if sum(is_open(fd) for _, fd in self.opened) >= self.most:
            raise Shortage("file", "no descriptor is left")
        return super().__call__(number)


def test_without_a_descriptor_those_that_nobody_uses_give_theirs(tmp_path: Path) -> None:
    opener = ShortOpener(tmp_path, most=2)
    files = OpenFiles(opener, files_max=8)
    with files.borrow(1) as first:
        use(files, 2)
        with files.borrow(3) as third:
            assert is_open(first)
            assert is_open(third)
            assert not files.has_all([2])
    files.close()


def test_if_all_are_in_use_the_shortage_is_reported(tmp_path: Path) -> None:
    opener = ShortOpener(tmp_path, most=1)
    files = OpenFiles(opener, files_max=8)
    with files.borrow(1), pytest.raises(Shortage), files.borrow(2):
        pass
    files.close()


def test_some_are_closed_but_for_those_in_use(files: OpenFiles, opener: Opener) -> None:
    use(files, 1)
    with files.borrow(2) as second:
        files.let_go([1, 2, 3])
        assert is_open(second)
        assert not files.has_all([1])
        assert files.has_all([2])
    assert sum(is_open(fd) for _, fd in opener.opened) == 1
    files.close()

"""Names that were chosen to do harm: a list that is kept, and more made by rule."""

from __future__ import annotations

import itertools
import random
from typing import Final

_KEPT: Final = (
    # Leading out, as in CVE-2024-12087 (rsync), CVE-2023-39141 (aria2), zip slip and others.
    "", "/", "//", ".", "..", "../", "/..", "./", "a/", "a//b", "a/.", "a/..", "/etc/passwd",
    "//etc/passwd", "/proc/self/root/etc/passwd", "/proc/self/fd/0", "/dev/null", "/dev/stdin",
    "../../../../../../etc/passwd", "a/../../outside/secret", "a/b/../../../outside/secret",
    "./../outside/secret", "../outside/secret", "../root/../outside/secret", "a/./b", "a/../b",
    ".../../..", "..\\..\\outside", "..\\", "\\\\server\\share", "C:\\Windows", "C:", "NUL", "CON",
    "aux.txt", "COM1", "file:///etc/passwd", "http://169.254.169.254/", "~", "~root/.ssh", "$HOME",
    "`id`", "$(id)", ";id", "|id", "&", "-rf", "--help", "-", "*", "?", "[a-z]", "{a,b}", "!", "#",
    "%2e%2e%2f", "%2e%2e/secret", "..%2foutside", "..%00/", "%00", "%n%s", "..%c0%af", "..;/",
    # What ckptd and others keep for themselves.
    ".ckptd", ".ckptd/r-1", ".ckptd/../outside", "a/.ckptd", "lock", "ckptd.db", "ckptd.db-wal",
    ".git/config", ".ssh/authorized_keys", "lost+found", ".nfs0001", ".fuse_hidden1",
    # NUL, line ends, terminal and log injection (CVE-2026-53788).
    "\0", "a\0", "\0a", "a\0/../b", "a\nb", "\n", "a\rb", "\r\n", "a\tb", "\x1b[2J", "\x1b]0;x\x07",
    "\x08", "\x7f", "\x85", "\u2028", "\u2029", "a\n{\"event\":\"x\"}", "a\nERROR fake",
    # Unicode that looks like something else, or like nothing.
    "\uff0e\uff0e/secret", "\u2024\u2024/secret", "\u2025", "\u2026", "a\u2044b", "a\u2215b",
    "\uff0fetc", "\u202egnp.exe", "\u200b", "\ufeff", "a\u0301", "\xe1", "\u212a", "\u0130",
    "I\u0307", "\xdf", "\ufb01", "\u00a0", "\u3000", " ", " a", "a ", "a.", "...", "....",
    ". .", ".\u200b.", "\u115f", "\U0001f4a9", "\U000e0001", "\ud800", "\udfff", "a\udcff",
    "\udcc0\udcaf", "\udc2e\udc2e", "..\udc2f", "\udc80", "\ufffe", "\uffff",
    "\ufffd", "\u0600", "\u202a..\u202c",
)  # fmt: skip

_COUNT: Final = 500


def _ruled() -> list[str]:
    """Lengths around every boundary, depth, and every control character in each position."""
    lengths = (254, 255, 256, 257, 1023, 4095, 4096, 4097, 8192, 8193)
    names = ["x" * length for length in lengths]
    names += ["\xe9" * (length // 2) for length in lengths]
    names += ["\U0001f4a9" * count for count in (63, 64)]
    names += ["a/" * depth + "x" for depth in (15, 16, 63, 64, 65, 1000, 2047, 4096)]
    names += ["../" * depth + "outside/secret" for depth in range(1, 17)]
    names += ["a/" * depth + "../" * (depth + 1) + "outside" for depth in range(1, 9)]
    names += [f"{'x' * 255}/" * 16 + "y", f"{'x' * 255}/" * 15 + "y"]
    for code in (*range(32), 0x7F):
        names += [chr(code), f"a{chr(code)}b", f"a/{chr(code)}"]
    names += [f"a{chr(0xDC00 + byte)}" for byte in range(0x80, 0xA0)]  # no UTF-8
    return names


def _drawn(count: int) -> list[str]:
    """Pieces that mean something, put together at random; the same ones each time."""
    rng = random.Random(1)
    pieces = ["..", ".", "", "/", "a", "outside", "secret", "\0", "\n", "\x1b", " ", "\udcff"]
    return ["/".join(rng.choices(pieces, k=rng.randint(1, 7))) for _ in range(count)]


HOSTILE_NAMES: Final = tuple(
    itertools.islice(dict.fromkeys((*_KEPT, *_ruled(), *_drawn(2000))), _COUNT)
)


def is_plain(name: str) -> bool:
    """Tell whether a name consists of components that the kernel keeps below a directory.

    Told another way than in ckptd: from the bytes.
    """
    try:
        encoded = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    parts = encoded.split(b"/")
    is_short = len(encoded) <= 8192 and all(0 < len(part) <= 255 for part in parts)
    return is_short and b"\0" not in encoded and not {b".", b".."} & set(parts)

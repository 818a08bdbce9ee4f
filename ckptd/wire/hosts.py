"""Which requests come from a web page that an operator looks at, and are refused.

A page can point a name of its own at any address (DNS rebinding), and post to any address. So
a request has to name us by a name that is known to be ours, and come from no page.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from typing import Final

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::\d{1,5})?", re.ASCII)
"""``host [":" port]``: RFC 9110, section 7.2."""

PAGE_FIELDS: Final = ("Origin", "Referer")
"""Sent by browsers for a page, and by nothing else."""


def is_from_page(fields: Collection[str]) -> bool:
    """Tell whether a request with these fields comes from a web page."""
    return any(field in fields for field in PAGE_FIELDS)


def are_ours(hosts: Iterable[str], names: Collection[str], *, is_tcp: bool) -> bool:
    """Tell whether every ``Host`` field names this listener.

    Args:
        hosts: The fields; a client of HTTP/1.0 sends none.
        names: Names of the listener, in lower case.
        is_tcp: Any IP address is a name too: nobody can rebind one.
    """
    return all(_is_ours(host, names, is_tcp=is_tcp) for host in hosts)


def _is_ours(host: str, names: Collection[str], *, is_tcp: bool) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].lower()
    if name in names:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return is_tcp

"""Network namespaces joined by a switch, each link with a rate of its own. Needs root.

Every namespace has one interface ``eth0``; its other end is a port of the switch, in a namespace
too. A rate is kept by ``tbf`` at both ends, so each way has it. What a port has carried is read
from its counters, without the headers.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

HEAD_BYTES = 14 + 20 + 32
"""Ethernet, IPv4, and TCP with time stamps; once for each packet that a counter has."""

PAYLOAD_SHARE = 1448 / 1514
"""Of what a shaped link carries: ``tbf`` counts every segment with its headers."""

SAMPLE_S = 0.005


class Host(NamedTuple):
    """A namespace.

    Attributes:
        name: Of the host.
        address: Of its interface.
        enter: Words in front of a command that runs there.
    """

    name: str
    address: str
    enter: tuple[str, ...]


class Switch:
    """Some hosts that reach each other; at the end they are gone."""

    def __init__(self) -> None:
        self._name = f"ckptd-{os.getpid()}"
        self.hosts: list[Host] = []
        self._networks: set[int] = set()
        self._add_namespace(self._name)
        _ip("-n", self._name, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._name, "link", "set", "br0", "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in (self._name, *(self._namespace(host.name) for host in self.hosts)):
            _ip("netns", "delete", name)

    def add(self, name: str, *, rate_mbit: int | None = None) -> Host:
        """Connect a host, at this rate each way."""
        namespace = self._namespace(name)
        host = Host(name, f"10.77.0.{len(self.hosts) + 1}", ("ip", "netns", "exec", namespace))
        self._add_namespace(namespace)
        self.hosts.append(host)
        port = f"p-{name}"
        _ip(
            "-n",
            self._name,
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "eth0",
            "netns",
            namespace,
        )
        _ip("-n", self._name, "link", "set", port, "master", "br0", "up")
        _ip("-n", namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        if rate_mbit is not None:
            for place, device in ((namespace, "eth0"), (self._name, port)):
                self._shape(place, device, rate_mbit)
        return host

    def _shape(self, place: str, device: str, rate_mbit: int) -> None:
        _run(
            *("tc", "-n", place, "qdisc", "add", "dev", device, "root", "tbf"),
            *("rate", f"{rate_mbit}mbit", "burst", "128kb", "latency", "20ms"),
        )

    def join(self, host: Host, network: int, *, rate_mbit: int) -> str:
        """Give a host another interface on a network of its own; return its address there."""
        namespace, interface = self._namespace(host.name), f"eth{network}"
        bridge, port = f"br{network}", f"p{network}-{host.name}"
        if network not in self._networks:
            self._networks.add(network)
            _ip("-n", self._name, "link", "add", bridge, "type", "bridge")
            _ip("-n", self._name, "link", "set", bridge, "up")
        ends = (port, "type", "veth", "peer", interface, "netns", namespace)
        _ip("-n", self._name, "link", "add", *ends)
        _ip("-n", self._name, "link", "set", port, "master", bridge, "up")
        address = f"10.77.{network}.{self.hosts.index(host) + 1}"
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", interface)
        _ip("-n", namespace, "link", "set", interface, "up")
        for place, device in ((namespace, interface), (self._name, port)):
            self._shape(place, device, rate_mbit)
        return address

    def cut(self, host: Host, interface: str) -> None:
        """Take an interface of a host down: what is sent to it is lost without a word."""
        _ip("-n", self._namespace(host.name), "link", "set", interface, "down")

    @contextlib.contextmanager
    def watching(self, directory: Path) -> Iterator[Counters]:
        """Record what every port carries; read it when the context is over."""
        path = directory / f"counters-{time.monotonic_ns()}"
        command = (*("ip", "netns", "exec", self._name), sys.executable, __file__, str(path))
        counters = Counters()
        recorder = subprocess.Popen(command, stdin=subprocess.PIPE)
        try:
            while not path.exists():
                time.sleep(SAMPLE_S)
            yield counters
        finally:
            recorder.communicate()  # the end of its input ends it
        counters.load(path)

    def _namespace(self, name: str) -> str:
        return f"{self._name}-{name}"

    def _add_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")


class Counters:
    """What each host has sent and received, at many moments of ``time.monotonic``."""

    def __init__(self) -> None:
        self.moments: list[float] = []
        self._bytes: dict[tuple[str, str], list[int]] = {}

    def load(self, path: Path) -> None:
        for line in path.read_text().splitlines():
            at_s, ports = json.loads(line)
            self.moments.append(at_s)
            for port, (sent, received) in ports.items():
                name = port.removeprefix("p-")
                self._bytes.setdefault((name, "sent"), []).append(sent)
                self._bytes.setdefault((name, "received"), []).append(received)

    def between(self, host: str, way: str, start_s: float, end_s: float) -> int:
        """Return how much a host has ``sent`` or ``received`` in a time."""
        counted = self._bytes[host, way]
        start, end = (
            min(bisect_left(self.moments, moment), len(counted) - 1) for moment in (start_s, end_s)
        )
        return counted[end] - counted[start]

    def rate(self, host: str, way: str, start_s: float, end_s: float) -> float:
        """Return bytes per second in a time, by the moments that were recorded."""
        last = len(self.moments) - 1
        start, end = (min(bisect_left(self.moments, moment), last) for moment in (start_s, end_s))
        counted = self._bytes[host, way]
        return (counted[end] - counted[start]) / (self.moments[end] - self.moments[start])

    def first_s(self, host: str, way: str, *, after_s: float, size_bytes: int) -> float:
        """Return when a host had moved so much after a moment."""
        counted = self._bytes[host, way]
        start = bisect_left(self.moments, after_s)
        wanted = counted[start] + size_bytes
        return self.moments[min(bisect_left(counted, wanted), len(counted) - 1)]

    def last_s(self, host: str, way: str) -> float:
        """Return when a host moved something for the last time."""
        counted = self._bytes[host, way]
        return self.moments[bisect_left(counted, counted[-1] - 64 * 1024)]


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _record(path: str) -> None:
    """Write down the counters of all ports until the input ends."""
    import select  # noqa: PLC0415

    with open(path, "w", encoding="ascii") as file:
        while not select.select([sys.stdin], [], [], SAMPLE_S)[0]:
            ports = {}
            with open("/proc/net/dev", encoding="ascii") as devices:
                at_s = time.monotonic()
                for line in devices.readlines()[2:]:
                    name, _, numbers = line.partition(":")
                    count = [int(number) for number in numbers.split()]
                    if name.strip().startswith("p-"):
                        ports[name.strip()] = (
                            count[0] - HEAD_BYTES * count[1],
                            count[8] - HEAD_BYTES * count[9],
                        )
            file.write(json.dumps([at_s, ports]) + "\n")


if __name__ == "__main__":
    _record(sys.argv[1])

"""Machines of a test's own, each with its file system over this one's, and a network. Needs root.

What is typed there changes nothing here: it is written to memory, and is gone at the end. So the
commands of documents run as they stand, with the paths and accounts that they name.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.cluster import WAIT_S
from tests.support.mounts import mount, unmount
from tests.support.namespaces import Host, Switch

PROJECT = Path(__file__).parents[2]
UNIT = "etc/systemd/system/ckptd.service"
HOME = "/srv/admin"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
TOOLS = ("ip", "tc", "chroot", "setpriv", "install", "make")


class Machine:
    """One of them.

    Args:
        host: Its network.
        root: What is ``/`` there.
        disk: What is ``/data`` there: on a disk, for what is recovered.
    """

    def __init__(self, host: Host, root: Path, disk: Path) -> None:
        self.host, self.root = host, root
        self._service: subprocess.Popen[bytes] | None = None
        layers = root.with_name(f"{root.name}-own")
        for directory in (root, layers, disk):
            directory.mkdir(parents=True)
        try:
            mount("-t", "tmpfs", "-o", "size=256m,mode=0755", "tmpfs", str(layers))
            (layers / "upper").mkdir()
            (layers / "work").mkdir()
            options = f"lowerdir=/,upperdir={layers}/upper,workdir={layers}/work"
            mount("-t", "overlay", "-o", options, "overlay", str(root))
        except subprocess.CalledProcessError as refused:  # root in a container
            pytest.skip(f"no file system over this one: {refused.stderr.decode().strip()}")
        for path in (HOME, "data", "dev", "proc", "var/lib/ckptd"):
            self.at(path).mkdir(parents=True, exist_ok=True)
        self._mount("/dev", "--rbind")
        self._mount("/proc", "--rbind")
        for tree in {str(PROJECT), sys.prefix, sys.base_prefix}:
            if not Path(tree).is_relative_to("/usr"):
                self.at(tree).mkdir(parents=True, exist_ok=True)
                self._mount(tree, "--bind")
                for above in Path(tree).parents[:-1]:  # what a test runs with may be root's alone
                    self.at(str(above)).chmod(0o755)
        mount("--bind", str(disk), str(self.at("data")))

    def at(self, path: str) -> Path:
        """Return where a path of the machine is here."""
        return self.root / path.lstrip("/")

    def _mount(self, path: str, how: str) -> None:
        mount(how, path, str(self.at(path)))

    def entering(self, *command: str) -> list[str]:
        """Return the words that run a command there."""
        return [*self.host.enter, "chroot", str(self.root), *command]

    def type(self, line: str, *, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run what a person types, as root in an empty directory or as somebody else."""
        become = [
            "setpriv",
            f"--reuid={user}",
            f"--regid={user}",
            "--init-groups",
            "--inh-caps=-all",
        ]
        return subprocess.run(
            self.entering(*(become if user else ()), "sh", "-c", f"cd {HOME} && {line}"),
            env=ENVIRONMENT,
            capture_output=True, text=True, errors="replace", check=False, timeout=4 * WAIT_S,
        )  # fmt: skip

    def install(self) -> None:
        """Put the service there, as the README says."""
        made = self.type(
            f"make -C {PROJECT} --silent install-service DEPENDENCIES=no PYTHON={sys.executable} "
            "&& systemd-sysusers && systemd-tmpfiles --create ckptd.conf"
        )
        assert made.returncode == 0, made.stderr

    def start_service(self) -> None:
        """Do what ``systemctl start`` does, as the unit and its drop-ins there say.

        Users, directories and capabilities are as they say; what else it locks is not.
        """
        drop_ins = sorted(self.at(f"{UNIT}.d").glob("*.conf"))
        unit = "\n".join(path.read_text() for path in (self.at(UNIT), *drop_ins))
        said = dict(re.findall(r"^(\w+)=(.+)$", unit, re.MULTILINE))
        user, group = said["User"], said["Group"]
        given = said.get("AmbientCapabilities", "").lower().split()
        kept = ",".join(("-all", *(f"+{each.removeprefix('cap_')}" for each in given)))
        assert said["Type"] == "notify"
        for kind, place in (("Runtime", "run"), ("State", "var/lib")):
            directory, mode = said[f"{kind}Directory"], said[f"{kind}DirectoryMode"]
            made = self.type(f"install -d -o {user} -g {group} -m {mode} /{place}/{directory}")
            assert made.returncode == 0, made.stderr
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            self.at("srv/notify").unlink(missing_ok=True)
            directory_fd = os.open(self.at("srv"), os.O_PATH)
            listener.bind(f"/proc/self/fd/{directory_fd}/notify")  # the whole path may be too long
            os.close(directory_fd)
            self.at("srv/notify").chmod(0o666)
            listener.settimeout(WAIT_S)
            with self.at("srv/ckptd.log").open("wb") as log:
                self._service = subprocess.Popen(
                    self.entering(
                        "setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups",
                        f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}",
                        "--no-new-privs",
                        "sh", "-c", f"umask {said['UMask']} && cd / && exec {said['ExecStart']}",
                    ),
                    env={**ENVIRONMENT, "NOTIFY_SOCKET": "/srv/notify"},
                    stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip
            try:
                while b"READY=1" not in listener.recv(4096):
                    pass
            except TimeoutError:
                pytest.fail(f"{self.host.name} is not ready\n{self.log_text()}")

    def log_text(self) -> str:
        """Return what its daemon has written."""
        return self.at("srv/ckptd.log").read_text(errors="replace")

    def stop_service(self) -> None:
        """Do what ``systemctl stop`` does."""
        if self._service is not None:
            self._service.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._service.wait(WAIT_S)
            self._service.kill()
            self._service.wait()
            self._service = None

    def close(self) -> None:
        """End its daemon, and forget the machine."""
        self.stop_service()
        unmount(self.root)
        unmount(self.root.with_name(f"{self.root.name}-own"))


class Machines:
    """Some machines that know each other's names; call it in a mount namespace of its own.

    Args:
        directory: On a disk, empty, and nobody else's.
        names: Of the machines.
    """

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self._switch = Switch()
        self._ends = contextlib.ExitStack()
        self._ends.enter_context(self._switch)
        self.machines: dict[str, Machine] = {}
        hosts = [self._switch.add(name) for name in names]
        for host in hosts:
            machine = Machine(host, directory / host.name, directory / f"{host.name}-disk")
            self._ends.callback(machine.close)
            self.machines[host.name] = machine
            lines = ["127.0.0.1 localhost", *(f"{each.address} {each.name}" for each in hosts)]
            machine.at("/etc/hosts").write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.close()

    def copy(self, source: str, names: Sequence[str], target: str) -> None:
        """Do what ``scp`` does, from home to home."""
        for name in names:
            there = self.machines[target].at(HOME)
            shutil.copy(self.machines[source].at(HOME) / name, there)

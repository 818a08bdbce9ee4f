"""A daemon that cannot be what it was told to be does not begin to be anything else."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptd.errors import ExitCode
from tests.support.cluster import STOP_S, Cluster, Node

pytestmark = pytest.mark.integration


def an_unknown_key(node: Node) -> None:
    node.sections = "[lisen]\n"


def a_value_that_is_none(node: Node) -> None:
    node.sections = '[control]\nadmin_users = "root"\n'


def a_group_that_is_not_known(node: Node) -> None:
    node.sections = '[control]\nadmin_groups = ["no-such-group"]\n'


def a_congestion_control_that_nobody_has(node: Node) -> None:
    node.sections = '[transport]\ncongestion_control = "nobody-has-it"\n'


def a_root_that_links_to_the_state_directory(node: Node) -> None:
    os.rmdir(node.root)
    os.symlink(node.state_dir, node.root)


def a_socket_where_everybody_can_write(node: Node) -> None:
    directory = Path(node.client.socket_path).parent
    directory.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (an_unknown_key, "lisen: is not a key of the configuration. Did you mean listen?"),
        (a_value_that_is_none, "control.admin_users: is text, not a list"),
        (a_group_that_is_not_known, "control.admin_groups: group 'no-such-group' is not known"),
        (a_congestion_control_that_nobody_has, "loaded its module; it may set"),
        (a_root_that_links_to_the_state_directory, "which overlaps node.state_dir"),
        (a_socket_where_everybody_can_write, "its directory: has mode 0777"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_ends_with_78_says_why_and_nobody_listens(
    cluster: Cluster, spoil: Callable[[Node], None], words: str
) -> None:
    node = cluster.prepare("a")
    spoil(node)
    node.start()
    assert node.wait_ended(STOP_S) == ExitCode.CONFIGURATION
    assert words in node.log_text()
    assert "Traceback" not in node.log_text()
    assert not os.path.lexists(node.client.socket_path)
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", node.data_port)) != 0


def test_a_port_that_is_taken_is_one_line_with_the_key(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = cluster.prepare("a", metrics=f"127.0.0.1:{taken.getsockname()[1]}")
        node.start()
        assert node.wait_ended(STOP_S) == ExitCode.FAILED
    assert "cannot listen" in node.log_text()
    assert "Choose another listen.metrics" in node.log_text()
    assert "Traceback" not in node.log_text()

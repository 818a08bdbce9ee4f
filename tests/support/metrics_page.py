"""What a running daemon shows on its page of metrics."""

from __future__ import annotations

import subprocess
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.support.cluster import Node


def page_of(node: Node, path: str = "/metrics") -> str:
    url = f"http://{node.client.status().listen.metrics}{path}"
    if node.prefix:  # on a host of its own
        command = [*node.prefix, "curl", "-sS", "--max-time", "60", url]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def samples(node: Node, name: str) -> dict[str, float]:
    """Return the samples of a metric by the value of its label, ``""`` if it has none."""
    families = text_string_to_metric_families(page_of(node))
    return {
        "".join(sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"ckptd_{name}"
    }

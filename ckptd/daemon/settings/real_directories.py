"""Where the configured directories really are, once links on the way to them are followed."""

from __future__ import annotations

import os

from ckptd.config import Config, is_within
from ckptd.errors import ConfigurationError


def check_places(config: Config) -> None:
    """Refuse a directory that is another one, or in it, by way of symbolic links.

    The file was checked for what stands there; here it is about what is on the disk.

    Raises:
        ConfigurationError: A root overlaps the state directory or another root.
    """
    taken = {"node.state_dir": os.path.realpath(config.node.state_dir)}
    for name, path in config.roots.items():
        real = os.path.realpath(path)
        for other, place in taken.items():
            if is_within(real, place) or is_within(place, real):
                raise ConfigurationError(
                    f"roots.{name}",
                    f"{path} is {real}, which overlaps {other} = {place}",
                    "Give each a directory of its own, none inside another.",
                )
        taken[f"roots.{name}"] = real

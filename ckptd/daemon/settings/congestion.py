"""The congestion control that the configuration names: whether this user may set it."""

from __future__ import annotations

from ckptd.config import Config
from ckptd.errors import ConfigurationError
from ckptd.net.source.congestion import obstacle_to

_HINT = (
    "Choose one of those, 'auto' or 'system'; or let root load its module and add its name to"
    " net.ipv4.tcp_allowed_congestion_control."
)


def check_congestion(config: Config) -> None:
    """Check that bodies can be sent as the configuration says.

    Raises:
        ConfigurationError: This user cannot set that.
    """
    control = config.transport.congestion_control
    if obstacle := obstacle_to(control):
        raise ConfigurationError(f"transport.congestion_control {control}", obstacle, _HINT)

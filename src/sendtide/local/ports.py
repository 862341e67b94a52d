"""Ports of loopback: a free one, a refusal for a taken one, and whether somebody listens."""

from __future__ import annotations

import socket
from typing import Final

from sendtide.events.errors import ConfigurationError

__all__ = ["free_port", "listens", "refuse_busy_port"]

_PATIENCE_S: Final = 0.5


def free_port() -> int:
    """A port on loopback that nothing listens on now; somebody else may take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """True if something accepts connections on `port` of loopback."""
    with socket.socket() as probe:
        probe.settimeout(_PATIENCE_S)
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return False
        # Linux may give a probe the very port it asks for and connect it to itself.
        own: tuple[str, int] = probe.getsockname()
        other: tuple[str, int] = probe.getpeername()
        return own != other


def refuse_busy_port(port: int, what: str) -> None:
    """Raise `ConfigurationError` if `what` cannot listen on `port` of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            msg = f"port {port} for {what} is reserved for the administrator; choose one above 1023"
            raise ConfigurationError(msg) from error
        except (OSError, OverflowError) as error:
            msg = (
                f"port {port} for {what} is in use ({error}); stop what listens there "
                f"(`ss -ltnp 'sport = :{port}'` names it) or choose another port"
            )
            raise ConfigurationError(msg) from error

"""Ports: the one that the API listens on, and one for the embedded Temporal server."""

import errno
import random
import socket
from pathlib import Path

from engine.errors import Conflict

#: Where Linux takes the ports of outgoing connections from.
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15_000
_BACKLOG = 2_048


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, for one process to hold and another to serve.

    Args:
        host: the address to listen on.
        port: 0 takes a free one.

    Raises:
        Conflict: another process has the port.
        OSError: the address is not one of this machine, or the port is not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"port {port} is taken; set SIGNALBOX_PORT") from error
        raise
    return listener


def free_port() -> int:
    """A loopback port that nobody has, and that no outgoing connection will be given.

    A server that is to come back on the same port needs the second half: clients that try again
    while it is down could be given that very port, and then hold it by talking to themselves.
    """
    try:
        highest = int(_EPHEMERAL.read_text().split()[0]) - 1
    except (OSError, ValueError, IndexError):
        highest = 32_767
    for _ in range(50 if highest > _LOWEST else 0):
        port = random.randint(_LOWEST, highest)
        try:
            listen("127.0.0.1", port).close()
        except (Conflict, OSError):
            continue
        return port
    with listen("127.0.0.1", 0) as listener:
        found: int = listener.getsockname()[1]
        return found

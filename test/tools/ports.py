"""Ports of loopback for servers that cannot choose one themselves, or must keep it over a
restart."""

import random
import socket

_kept = []  # bound, so that nobody else takes them, and not listening, so that a server can


def free_port():
    """One that is this process's own until it ends, below those that outgoing connections use."""
    while True:
        keeper = socket.socket()
        try:
            keeper.bind(("127.0.0.1", random.SystemRandom().randrange(15000, 32000)))
        except OSError:
            keeper.close()
            continue
        # Only after bind(): it failed where another process keeps the port.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _kept.append(keeper)
        return keeper.getsockname()[1]

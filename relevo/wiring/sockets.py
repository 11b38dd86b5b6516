"""Listening sockets of the HTTP door."""

import socket

from relevo.errors import ConfigurationError
from relevo.settings import Listen


def bind(listen: Listen) -> socket.socket:
    """A listening socket. Raises :class:`ConfigurationError` that says what to do."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((listen.host, listen.port))
        # At once: until one listens, the system lets a second socket have the same port.
        sock.listen(2_048)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigurationError(
            f"HTTP cannot listen on {listen}: {error.strerror or error}; "
            "another program has the port, or choose one with --http HOST:PORT"
        ) from error
    return sock

"""
The process that keeps a private network namespace alive and hands out sockets made in it.

Its standard input is one end of a socket pair.  The first message out says that the namespace exists; then each message
in names an address family and a socket type and is answered with such a socket.  When the other end is closed, by will
or by death, the process ends, and the namespace with it.
"""

from __future__ import annotations

import socket
import struct
import sys

REQUEST = struct.Struct("ii")


def main() -> None:
    """Serve until the other end is closed."""
    with socket.socket(fileno=sys.stdin.fileno()) as channel:
        channel.send(b"ready")
        while request := channel.recv(REQUEST.size):
            with socket.socket(*REQUEST.unpack(request)) as made:
                socket.send_fds(channel, [b"made"], [made.fileno()])


if __name__ == "__main__":
    main()

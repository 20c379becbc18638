"""
Plays systemd with a socket unit: holds a datagram socket and runs a service that it passes the socket to.

``python activator.py PATH PID-FILE COMMAND...`` binds PATH, starts the command with the socket as descriptor 3 and
LISTEN_FDS=1, writes its process id to the file, and starts it again whenever it ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

MOST_STARTS = 10


def main(path: str, pid_file: str, command: list[str]) -> None:
    """Hold the socket and keep the service running."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        held.bind(path)
        os.dup2(held.fileno(), 3)  # and inheritable from now on, wherever it was
        os.set_inheritable(3, True)
        for _ in range(MOST_STARTS):
            # the number of the process is known to itself alone before the command begins
            words = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command]
            with subprocess.Popen(words, env={**os.environ, "LISTEN_FDS": "1"}, close_fds=False) as service:
                Path(pid_file).write_text(str(service.pid))
                service.wait()
            time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

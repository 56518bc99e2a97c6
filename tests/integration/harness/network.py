# SPDX-License-Identifier: BSD-2-Clause
"""Ports."""
import random
import socket


def free_port():
    """Not one of those that the kernel gives to clients: tests under load leave thousands of these
    behind, and a client may take the port before the server does."""
    while True:
        port = random.randrange(10000, 32768)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

# SPDX-License-Identifier: BSD-2-Clause
"""A private Redis on a Unix socket, and what it was asked."""
import inspect
import os
import signal
import socket
import threading

import redis

from .network import free_port
from .process import Process
from .wait import wait_until


# Newer ones tell the server their name and version by commands of their own, which a test that
# counts commands would see.
SAY_NOTHING = {name: None for name in ("lib_name", "lib_version")
               if name in inspect.signature(redis.Redis.__init__).parameters}


class Redis:
    def __init__(self, folder):
        self.folder = str(folder)
        self.socket = os.path.join(self.folder, "redis.sock")
        self.process = None
        self.start()

    def start(self, *options, environment=None, check=True):
        """`check` false: it may refuse whoever does not log in."""
        self.process = Process(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
             "--dir", self.folder, *options],
            os.path.join(self.folder, "redis.log"), env=environment)
        wait_until(self.answers if check else lambda: os.path.exists(self.socket), "Redis answers")

    def listen(self):
        """On a port of the loopback device, too; which."""
        port = free_port()
        self.client().config_set("port", port)
        return port

    def client(self):
        return redis.Redis(unix_socket_path=self.socket, decode_responses=True, **SAY_NOTHING)

    def answers(self):
        try:
            return self.client().ping()
        except redis.exceptions.RedisError:
            return False

    def stop(self):
        self.process.stop(signal.SIGKILL)

    def monitor(self):
        return Monitor(self)


class Monitor:
    """`with redis.monitor() as seen:` ... then seen.commands("GET") and the like."""

    def __init__(self, server):
        self.server = server
        self.lines = []

    def __enter__(self):
        self.client = self.server.client()
        self.monitor = self.client.monitor()
        self.monitor.__enter__()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()
        return self

    def listen(self):
        try:
            for command in self.monitor.listen():
                self.lines.append(command["command"])
        except Exception:  # pylint: disable=broad-except
            pass  # the connection was closed under it: that is its end

    def settle(self):
        """All that was sent before is seen once this marker is."""
        marker = f"settle-{len(self.lines)}"
        self.server.client().echo(marker)
        wait_until(lambda: any(marker in line for line in self.lines), "MONITOR caught up")

    def __exit__(self, *exception):
        self.settle()
        # ends the listening thread, which then drops the connection itself
        self.monitor.connection._sock.shutdown(socket.SHUT_RDWR)  # pylint: disable=protected-access
        self.thread.join(5)

    def commands(self, *names):
        """Commands with one of `names`, in order; what a script calls is left out of neither."""
        return [line for line in self.lines if line.split(" ")[0].upper() in names]

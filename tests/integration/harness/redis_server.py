# SPDX-License-Identifier: BSD-2-Clause
"""A private Redis, and what it was asked."""
import inspect
import os
import signal
import socket
import threading

import redis

from .certificates import Certificates
from .network import free_port
from .process import Process
from .wait import wait_until


# Newer ones tell the server their name and version by commands of their own, which a test that
# counts commands would see.
SAY_NOTHING = {name: None for name in ("lib_name", "lib_version")
               if name in inspect.signature(redis.Redis.__init__).parameters}


# How leeway reaches it, "unix", "tcp" or "tls", and what it is.
TRANSPORT = os.environ.get("LEEWAY_TEST_REDIS", "unix")
PROGRAM = os.environ.get("LEEWAY_TEST_REDIS_SERVER", "redis-server")


class Redis:
    """Always on a Unix socket, for the test, and on what leeway is to reach it by."""

    def __init__(self, folder, transport=TRANSPORT):
        self.folder = str(folder)
        self.socket = os.path.join(self.folder, "redis.sock")
        self.process = None
        self.certificates = None
        self.transport = transport
        self.listening = ["--port", "0"]
        self.address, self.settings = f"unix:{self.socket}", ""
        getattr(self, "listen_by_" + transport)()
        self.start()

    def listen_by_unix(self):
        pass

    def listen_by_tcp(self):
        port = free_port()
        self.listening = ["--port", str(port), "--bind", "127.0.0.1"]
        self.address = f"tcp:localhost:{port}"

    def listen_by_tls(self):
        port = free_port()
        self.certificates = Certificates(os.path.join(self.folder, "tls"))
        server, server_key = self.certificates.make("server")
        client, client_key = self.certificates.make("client")
        self.listening = [
            "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1",
            "--tls-ca-cert-file", self.certificates.ca, "--tls-cert-file", server,
            "--tls-key-file", server_key, "--tls-auth-clients", "yes"]
        self.address = f"tls:localhost:{port}"
        self.settings = (f'tls_ca = "{self.certificates.ca}"  tls_cert = "{client}"  '
                         f'tls_key = "{client_key}"')

    def start(self, *options, environment=None, check=True):
        """`check` false: it may refuse whoever does not log in."""
        self.process = Process(
            [PROGRAM, *self.listening, "--unixsocket", self.socket, "--save", "",
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

    def bytes_client(self):
        return redis.Redis(unix_socket_path=self.socket, **SAY_NOTHING)

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
    """`with redis.monitor() as seen:` ... then seen.commands("GET") and the like. What processes say
    of themselves each second is left out."""

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
                if ":{peers." not in command["command"]:
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

# SPDX-License-Identifier: BSD-2-Clause
"""A test in systemd's place: it keeps a listening socket from one run of a service to the next,
and hears what the service tells it (sd_listen_fds(3), sd_notify(3))."""
import os
import socket
import sys
import threading
import uuid

from .stack import program
from .wait import wait_until

# LISTEN_PID is the service's own, which nobody knows before the fork.
ACTIVATE = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="leeway")
os.execv(sys.argv[2], sys.argv[2:])"""


class Manager:
    """`said` is every message so far, in order, as a dictionary."""

    def __init__(self, stack, abstract=False):
        self.stack = stack
        self.name = "@leeway-" + uuid.uuid4().hex if abstract else stack.path("notify")
        self.said = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.name[1:] if abstract else self.name)
        self.thread = threading.Thread(target=self.hear, daemon=True)
        self.thread.start()
        self.listener = None

    def hear(self):
        while True:
            message = self.socket.recv(4096).decode()
            if not message:
                return
            self.said.append(dict(line.split("=", 1) for line in message.splitlines()))

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()
        if not self.name.startswith("@"):
            os.unlink(self.name)
        if self.listener:
            self.listener.close()

    def listen(self):
        """What leeway-worker.socket is for."""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.stack.socket)
        self.listener.listen(1024)

    def environment(self):
        return {**(self.stack.environment or os.environ), "NOTIFY_SOCKET": self.name}

    def start_worker(self, name="worker"):
        """Does not wait."""
        number = self.listener.fileno()
        return self.start(name, [sys.executable, "-c", ACTIVATE, number, program("leeway-worker"),
                                 "-c", self.stack.config], pass_fds=(number,))

    def start_refresher(self, name="refresher"):
        """Does not wait."""
        return self.start(name, [program("leeway-refresher"), "-c", self.stack.config])

    def start(self, name, argv, **options):
        before, self.stack.environment = self.stack.environment, self.environment()
        try:
            return self.stack.start_process(name, argv, **options)
        finally:
            self.stack.environment = before

    def states(self):
        """What was said but for the words meant for people."""
        return [key for message in list(self.said) for key in message
                if key in ("READY", "RELOADING", "STOPPING")]

    def status(self):
        found = [message["STATUS"] for message in list(self.said) if "STATUS" in message]
        return found[-1] if found else None

    def await_states(self, *wanted):
        wait_until(lambda: len(self.states()) >= len(wanted), f"{wanted} was said")
        assert self.states() == list(wanted)

    def await_status(self, wanted):
        wait_until(lambda: self.status() == wanted, f"the status is {wanted!r}")

# SPDX-License-Identifier: BSD-2-Clause
"""Between leeway and a server: passes on what both say, until it is told to do so badly."""
import contextlib
import socket
import threading
import time


class Proxy:
    """Listens at `path`, of a Unix socket or a host and port. `cut_after` and `drip` hold for the
    connections there are; those that are made once it has done its harm are left alone."""

    def __init__(self, path, target):
        self.path = path
        self.target = target
        self.left = None  # bytes of replies to pass on before the connection is cut
        self.pause_s = None  # before each byte of a reply
        self.dripped = 0
        self.passing = threading.Event()
        self.passing.set()
        self.holds = 0  # replies that are held back
        self.accepted = 0
        self.living = set()  # connections that pass anything on
        self.subscribed = set()  # those on which a client has subscribed
        self.dead = set()
        self.listener = socket.socket(socket.AF_INET if isinstance(path, tuple) else socket.AF_UNIX)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.listener.close()

    def cut_after(self, size):
        self.left = size

    def drip(self, pause_s):
        self.pause_s = pause_s

    def go_dead(self, which=None):
        """The connections that there are, without a word to either side."""
        self.dead |= self.living if which is None else which

    @contextlib.contextmanager
    def held(self):
        """Replies are held back meanwhile, of all connections."""
        self.passing.clear()
        try:
            yield
        finally:
            self.passing.set()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.target)
            except OSError:  # the test is over, or the server is not there
                client.close()
                continue
            self.living.add(client)
            self.accepted += 1
            for pump in (self.ask, self.reply):
                threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def ask(self, client, server):
        self.pump(client, server, client, server.sendall)

    def reply(self, client, server):
        self.pump(server, client, client, lambda data: self.pass_on(client, data))

    def pump(self, source, other, client, pass_on):
        try:
            while data := source.recv(65536):
                if source is client and b"SUBSCRIBE" in data:
                    self.subscribed.add(client)
                if client not in self.dead:
                    pass_on(data)
        except OSError:
            pass
        self.living.discard(client)
        for end in (source, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def pass_on(self, client, data):
        if not self.passing.is_set():
            self.holds += 1
            self.passing.wait()
            self.holds -= 1
        pause_s = self.pause_s
        if pause_s is not None:
            self.pass_on_slowly(client, data, pause_s)
            return
        if self.left is None:
            client.sendall(data)
            return
        client.sendall(data[:self.left])
        self.left -= len(data)
        if self.left <= 0:
            self.left = None
            raise ConnectionAbortedError

    def pass_on_slowly(self, client, data, pause_s):
        for at in range(len(data)):
            time.sleep(pause_s)  # slowness is what this is for
            try:
                client.sendall(data[at:at + 1])
            except OSError:
                self.pause_s = None
                raise
            self.dripped += 1

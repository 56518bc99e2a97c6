# SPDX-License-Identifier: BSD-2-Clause
"""Between leeway and Postgres: passes on what both say, is away, ends each session as an operator
would, while it is set up, loses requests to cancel, lets connections go dead, or is far away."""
import os
import socket
import struct
import threading
import time

CANCEL = struct.pack(">II", 16, 80877102)
PIECE = 65536
TERMINATED = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"


class PostgresProxy:
    """Listens in `folder`, under the name that libpq looks for."""

    def __init__(self, folder, server_folder):
        self.folder = folder
        self.path = os.path.join(folder, ".s.PGSQL.5432")
        self.target = os.path.join(server_folder, ".s.PGSQL.5432")
        self.ending = False  # each new session at its first question
        self.ended = 0
        self.asked = 0  # packets of clients
        self.rewritten = None  # in what clients say, and by what of the same length
        self.rewrites = 0
        self.keeps_cancels = False  # they get no answer, and the server does not hear of them
        self.drops_cancels = False  # they get an answer, and the server does not hear of them
        self.kept = []
        self.dead = set()  # connections on which nothing comes through any more
        self.left = None  # bytes that the server may say before all connections are dead
        self.far = False  # what the server says arrives piece by piece, once it pauses
        self.told = set()  # clients that were told that their session ends,
        self.unread = b""  # and what they said after that
        self.cut = set()  # clients whose connection was ended on their side alone
        self.connections = []
        self.listener = None
        os.makedirs(folder, exist_ok=True)
        self.listen()

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def go_away(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)
        for connection in self.connections:
            self.end(connection)
        self.connections = []

    def cut_clients(self):
        """Those that there are, on their side alone: the server does not hear of it."""
        cut = {c for c in self.connections if c.getsockname() == self.path}
        self.cut |= cut
        for client in cut:
            self.end(client)

    def tell_end(self):
        """To those that there are, as a server that is about to end their sessions; what they say
        after that is read by nobody."""
        self.told = {c for c in self.connections if c.getsockname() == self.path}
        for client in self.told:
            self.send_end(client)

    @staticmethod
    def send_end(client):
        client.sendall(b"E" + struct.pack(">I", len(TERMINATED) + 4) + TERMINATED)

    def go_dead(self):
        """Those that there are, without a word to either side."""
        self.dead.update(self.connections)

    def rewrite(self, data):
        if self.rewritten is None or self.rewritten[0] not in data:
            return data
        self.rewrites += 1
        return data.replace(*self.rewritten)

    def is_dead(self, source, size):
        if self.left is not None and source not in self.dead:
            self.left -= size
            if self.left < 0:
                self.left = None
                self.go_dead()
        return source in self.dead

    def pieces(self, source, data):
        if not self.far or source.getsockname() == self.path:
            yield data
            return
        source.settimeout(0.1)
        try:
            while more := source.recv(PIECE):
                data += more
        except socket.timeout:
            pass
        source.settimeout(None)
        for at in range(0, len(data), PIECE):
            yield data[at:at + PIECE]
            time.sleep(0.01)  # a distance is what this is for

    @staticmethod
    def end(connection):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def accept(self, listener):
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            self.connections += [client, server]
            threading.Thread(target=self.pump, args=(client, server, self.ending),
                             daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()

    def pump(self, source, other, ending):
        try:
            while data := source.recv(PIECE):
                self.asked += source.getsockname() == self.path
                if self.keeps_cancels and data.startswith(CANCEL):
                    self.kept.append(source)
                    return
                if self.drops_cancels and data.startswith(CANCEL):
                    break
                if source in self.told:
                    self.unread += data
                    break
                if self.is_dead(source, 0 if source.getsockname() == self.path else len(data)):
                    continue
                if ending and data[:1] == b"P":  # Parse: what came before was the log-in
                    self.send_end(source)
                    self.ended += 1
                    break
                for piece in self.pieces(source, self.rewrite(data)):
                    other.sendall(piece)
        except OSError:
            pass
        self.end(source)
        if source not in self.cut:
            self.end(other)

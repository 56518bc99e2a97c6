# SPDX-License-Identifier: BSD-2-Clause
"""Many requests at the same moment, each over a connection of its own that is there already."""
import json
import re
import selectors
import socket
import time

PATIENCE_S = 10


class Answer:
    """Milliseconds until the first byte of the head; `asked` is what the body says of when its
    query began, seconds since 1970, or None."""

    def __init__(self, began):
        self.began = began
        self.took_ms = None
        self.received = None
        self.data = b""

    def take(self, data):
        if self.took_ms is None:
            self.took_ms = (time.perf_counter() - self.began) * 1000
            self.received = time.time()
        self.data += data

    @property
    def head(self):
        return self.data.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def status(self):
        return int(self.head.split(" ", 2)[1]) if self.data else 0

    def is_whole(self):
        head, found, body = self.data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if length:
            return len(body) >= int(length.group(1))
        return bool(found) and body.endswith(b"0\r\n\r\n")

    @property
    def age_s(self):
        """How old the body was when it came; None for an error."""
        text = self.data.partition(b"\r\n\r\n")[2]
        found = re.search(rb"\{.*\}", text, re.S)
        if self.status != 200 or not found:
            return None
        return self.received - float(json.loads(found.group())["asked"])


def burst(port, path, count):
    """Answers of `count` requests; one that does not come in time has status 0."""
    watched = selectors.DefaultSelector()
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    time.sleep(0.05)  # the servers have taken them
    answers = []
    for connection in sockets:
        answers.append(Answer(time.perf_counter()))
        connection.sendall(request)
        watched.register(connection, selectors.EVENT_READ, answers[-1])
    deadline = time.monotonic() + PATIENCE_S
    while watched.get_map() and time.monotonic() < deadline:
        for key, _ in watched.select(1):
            data = key.fileobj.recv(65536)
            key.data.take(data) if data else None
            if not data or key.data.is_whole():
                watched.unregister(key.fileobj)
    for connection in sockets:
        connection.close()
    watched.close()
    return answers

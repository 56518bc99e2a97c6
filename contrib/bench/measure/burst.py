# SPDX-License-Identifier: BSD-2-Clause
"""Many requests at the same moment, each over a connection of its own that is there already."""
import contextlib
import json
import re
import selectors
import socket
import time

PATIENCE_S = 10


class Answer:
    """`took_ms` are milliseconds until the first byte of the head."""

    def __init__(self):
        self.began = None
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
        """0 for what was cut short, whatever its head says."""
        return int(self.head.split(" ", 2)[1]) if self.is_whole() else 0

    def is_whole(self):
        """What neither says its length nor comes in chunks cannot be told to be."""
        head, found, body = self.data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length:
            return bool(found) and len(body) >= int(length.group(1))
        return bool(found) and (b"\r\n" + body).endswith(b"\r\n0\r\n\r\n")

    @property
    def age_s(self):
        """How old the body was when it came; None for an error."""
        text = self.data.partition(b"\r\n\r\n")[2]
        found = re.search(rb"\{.*\}", text, re.S)
        if self.status != 200 or not found:
            return None
        return self.received - float(json.loads(found.group())["asked"])


def connect(port):
    """None where nobody listens, or who does is overrun."""
    try:
        return socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    except OSError:
        return None


def send(connection, request, answer):
    """False if the connection is gone."""
    answer.began = time.perf_counter()
    try:
        connection.sendall(request)
    except OSError:
        return False
    return True


def receive(connection, answer):
    """Whether more is to come."""
    try:
        data = connection.recv(65536)
    except OSError:
        return False
    if data:
        answer.take(data)
    return bool(data) and not answer.is_whole()


def burst(port, path, count):
    """Answers of `count` requests; one that does not come whole, or not in time, has status 0."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    answers = [Answer() for _ in range(count)]
    with contextlib.ExitStack() as opened:
        watched = opened.enter_context(selectors.DefaultSelector())
        connections = [connect(port) for _ in answers]
        for connection in filter(None, connections):
            opened.enter_context(connection)
        time.sleep(0.05)  # the servers have taken them
        for connection, answer in zip(connections, answers):
            if connection is not None and send(connection, request, answer):
                watched.register(connection, selectors.EVENT_READ, answer)
        deadline = time.monotonic() + PATIENCE_S
        while watched.get_map() and time.monotonic() < deadline:
            for key, _ in watched.select(1):
                if not receive(key.fileobj, key.data):
                    watched.unregister(key.fileobj)
    return answers

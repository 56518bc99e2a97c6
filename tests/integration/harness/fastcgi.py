# SPDX-License-Identifier: BSD-2-Clause
"""A FastCGI client of one connection, for what no web server would send."""
import socket
import struct

from .wait import PATIENCE_S

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT = 1, 2, 3, 4, 5, 6
GET_VALUES, GET_VALUES_RESULT = 9, 10


def record(kind, content=b"", request_id=1, padding=0):
    return struct.pack("!BBHHBB", 1, kind, request_id, len(content), padding, 0) + content + \
        b"\0" * padding


def length(number):
    return bytes([number]) if number < 128 else struct.pack("!I", number | 1 << 31)


def pairs(variables):
    out = b""
    for name, value in variables.items():
        name, value = name.encode("latin-1"), value.encode("latin-1")
        out += length(len(name)) + length(len(value)) + name + value
    return out


def variables_for(uri, method="GET", **further):
    path, _, query = uri.partition("?")
    return {"REQUEST_METHOD": method, "REQUEST_URI": uri, "QUERY_STRING": query,
            "SCRIPT_NAME": "", "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1", **further}


def begin(request_id=1, keep=False, role=1):
    return record(BEGIN_REQUEST, struct.pack("!HB5x", role, 1 if keep else 0), request_id)


def stream(kind, content, request_id=1):
    out = b""
    for at in range(0, len(content), 65535):
        out += record(kind, content[at:at + 65535], request_id)
    return out + record(kind, b"", request_id)


def request(uri, request_id=1, keep=False, method="GET", stdin=b"", **further):
    return begin(request_id, keep) + \
        stream(PARAMS, pairs(variables_for(uri, method, **further)), request_id) + \
        stream(STDIN, stdin, request_id)


class Closed(Exception):
    """The worker has closed the connection."""


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(path)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def take(self, size):
        while len(self.buffer) < size:
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                raise Closed()
            self.buffer += more
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def read_record(self):
        """Kind, request id, content."""
        _, kind, request_id, size, padding, _ = struct.unpack("!BBHHBB", self.take(8))
        content = self.take(size)
        self.take(padding)
        return kind, request_id, content

    def read_answer(self, request_id=1):
        """Status, headers (lower-case names) and body of one answer."""
        out = b""
        while True:
            kind, this_id, content = self.read_record()
            assert this_id == request_id
            if kind == STDOUT:
                out += content
            elif kind == END_REQUEST:
                break
        head, _, body = out.partition(b"\r\n\r\n")
        headers = {}
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return int(headers.pop("status").split(" ")[0]), headers, body

    def is_closed(self):
        """Waits until the worker closes the connection."""
        try:
            while True:
                self.take(1)
        except Closed:
            return True

    def ask(self, uri, **options):
        self.send(request(uri, **options))
        return self.read_answer(options.get("request_id", 1))

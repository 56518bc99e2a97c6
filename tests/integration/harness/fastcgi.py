# SPDX-License-Identifier: BSD-2-Clause
"""A FastCGI client of one connection, for what no web server would send."""
import functools
import socket
import struct

from .wait import PATIENCE_S, wait_until

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
    """`address`: the path of a Unix socket, or a host and port."""

    def __init__(self, address):
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE_S)
        self.prepare()
        self.socket.connect(address)
        self.buffer = b""

    def prepare(self):
        pass

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


SO_TIMESTAMPNS = 35  # of Linux; the socket module has no name for it


def receive_stamped(connected):
    """Bytes, and when they came in seconds of the time of day: None if the kernel does not say."""
    data, ancillary, _, _ = connected.recvmsg(65536, 256)
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("=qq", value)
            return data, seconds + nanoseconds / 1e9
    return data, None


@functools.cache
def start_stamping():
    """A kernel stamps only while somebody wants it to, and begins some time later: the connection
    that is returned, and kept, sees to both."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ends = socket.create_connection(listener.getsockname()), listener.accept()[0]
    ends[1].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def is_stamped():
        ends[0].sendall(b"x")
        return receive_stamped(ends[1])[1] is not None

    wait_until(is_stamped, "the kernel stamps what comes")
    return ends


class TimedConnection(Connection):
    """Over TCP, whose bytes the kernel stamps when they arrive, on the loopback interface when they
    are written: whether and when the reader runs plays no part."""

    def prepare(self):
        start_stamping()
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def await_first(self):
        """When the first bytes came, in seconds of the time of day; they are kept for
        read_answer()."""
        data, came = receive_stamped(self.socket)
        if not data:
            raise Closed()
        if came is None:
            raise OSError("the kernel does not say when it came")
        self.buffer += data
        return came

# SPDX-License-Identifier: BSD-2-Clause
"""What is too large is refused, and the connection on which it came serves on: alone, ahead of
others, in pieces, and behind every web server. Nothing here waits for client_timeout, an hour,
unless it says so."""
import http.client
import socket

import pytest

from harness import fastcgi
from harness.fastcgi import Connection, record
from harness.wait import PATIENCE_S
from harness.web_servers import SERVERS

ROUTES = """
context "c" { budget = 1h }
route "/hello" { context = "c"  sql = "select 'hello'::text as t"  shape = value }
"""
HELLO = (200, b'"hello"')
BODY = b"x" * 70000
LONG = "y" * 70000


def begin(keep=True):
    return fastcgi.begin(keep=keep)


def params(method="POST", **further):
    variables = fastcgi.variables_for("/hello", method, **further)
    return fastcgi.stream(fastcgi.PARAMS, fastcgi.pairs(variables))


def in_records(kind, content, size):
    return b"".join(record(kind, content[at:at + size], padding=at % 9)
                    for at in range(0, len(content), size)) + record(kind)


# what is sent, but for BEGIN_REQUEST, and the status that it gets
REFUSED = {
    "a body with GET": (params("GET") + fastcgi.stream(fastcgi.STDIN, BODY), 413),
    "a body with POST": (params() + fastcgi.stream(fastcgi.STDIN, BODY), 405),
    "a body with OPTIONS": (params("OPTIONS") + fastcgi.stream(fastcgi.STDIN, BODY), 204),
    "a body in small records": (params() + in_records(fastcgi.STDIN, BODY, 777), 405),
    "a body of many MB": (params() + fastcgi.stream(fastcgi.STDIN, BODY * 500), 405),
    "a header": (params("GET", HTTP_X=LONG) + fastcgi.stream(fastcgi.STDIN, b""), 431),
    "a header in small records": (
        in_records(fastcgi.PARAMS, fastcgi.pairs({"HTTP_X": LONG}), 777) +
        fastcgi.stream(fastcgi.STDIN, b""), 431),
    "a header and a body": (params(HTTP_X=LONG) + fastcgi.stream(fastcgi.STDIN, BODY), 431),
}


def configure(stack, **options):
    stack.configure(ROUTES, workers=1, **{"settings": "client_timeout = 1h", **options})


@pytest.fixture(name="worker")
def make_worker(stack):
    configure(stack)
    stack.worker = stack.start_worker()
    pids = stack.worker.children()
    yield stack
    assert stack.ask("/hello")[::2] == HELLO
    assert stack.worker.children() == pids


@pytest.mark.parametrize("kind", REFUSED)
def test_a_kept_connection_goes_on(worker, kind):
    sent, status = REFUSED[kind]
    with Connection(worker.socket) as connection:
        for _ in range(2):
            connection.send(begin() + sent)
            assert connection.read_answer()[0] == status
            assert connection.ask("/hello", keep=True)[::2] == HELLO


@pytest.mark.parametrize("kind", REFUSED)
def test_one_that_is_not_kept_is_closed(worker, kind):
    sent, status = REFUSED[kind]
    with Connection(worker.socket) as connection:
        connection.send(begin(keep=False) + sent)
        assert connection.read_answer()[0] == status
        assert connection.is_closed()


def test_requests_sent_ahead_behind_refused_ones(worker):
    """Each answer belongs to its request."""
    kinds = [kind for kind in REFUSED if "many MB" not in kind]
    hello = fastcgi.request("/hello", keep=True)
    with Connection(worker.socket) as connection:
        connection.send(b"".join(begin() + REFUSED[kind][0] + hello for kind in kinds))
        for kind in kinds:
            assert connection.read_answer()[0] == REFUSED[kind][1], kind
            assert connection.read_answer()[::2] == HELLO


@pytest.mark.parametrize("size", [1, 8, 4099])
def test_in_pieces(worker, size):
    """Wherever what is too much is cut: in a record's header, its content or its padding."""
    whole = begin() + params(HTTP_X=LONG) + in_records(fastcgi.STDIN, BODY, 3001)
    start = len(whole) - 2000 if size == 1 else 0
    with Connection(worker.socket) as connection:
        connection.send(whole[:start])
        for at in range(start, len(whole), size):
            connection.send(whole[at:at + size])
        assert connection.read_answer()[0] == 431
        assert connection.ask("/hello", keep=True)[::2] == HELLO


@pytest.mark.parametrize("kind,sent", [
    ("another request", fastcgi.request("/hello")), ("another request's body", record(
        fastcgi.STDIN, b"x", 2)), ("a header", record(fastcgi.PARAMS, b"\0\0")),
    ("another version", b"\2" * 8), ("an abort", record(fastcgi.ABORT_REQUEST))])
def test_what_is_no_rest_of_a_request_closes_the_connection(worker, kind, sent):
    with Connection(worker.socket) as connection:
        connection.send(begin() + params() + record(fastcgi.STDIN, BODY[:65535]) + sent)
        assert connection.is_closed(), kind


def test_the_rest_is_not_kept_in_memory(worker):
    def peak_kb():
        with open(f"/proc/{worker.worker.children()[0]}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

    def post(content):
        connection.send(begin() + params() + fastcgi.stream(fastcgi.STDIN, content))
        assert connection.read_answer()[0] == 405

    with Connection(worker.socket) as connection:
        post(BODY)
        before_kb = peak_kb()
        post(BODY * 1000)
        assert peak_kb() - before_kb < 20000


@pytest.mark.parametrize("sent,status", [
    (params() + record(fastcgi.STDIN, BODY[:65535]), 405),
    (params("GET") + record(fastcgi.STDIN, BODY[:65535])[:100], 413),
    (record(fastcgi.PARAMS, fastcgi.pairs({"HTTP_X": LONG})[:65535]), 431)],
    ids=["between records", "in a record", "in a header"])
def test_a_rest_that_never_comes_is_waited_for_as_long_as_a_request(stack, sent, status):
    """Then the answer goes out, and the connection is closed behind it, also to who reads on."""
    configure(stack, settings="client_timeout = 500ms")
    stack.start_worker()
    with Connection(stack.socket) as connection:
        connection.send(begin() + sent)
        assert connection.read_answer()[0] == status
        assert connection.is_closed()


def open_client(port):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)


def ask(port, method, headers=None, body=None):
    """Status and body. A client that is answered while it still sends reads the answer."""
    client = open_client(port)
    try:
        try:
            client.request(method, "/hello", body, headers or {})
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def large_headers():
    """None over what Apache takes, together more than leeway does."""
    return {f"X-Large-{number}": "y" * 8000 for number in range(10)}


# The others refuse on their own: nginx, HAProxy and mod_fcgid headers that do not fit into one
# record or buffer, lighttpd those over 8 kB and a body with GET, mod_fcgid a body over 128 kB.
PASSED_ON = {
    "large headers": ("Apache mod_proxy_fcgi", "Caddy"),
    "GET with a body": ("nginx", "Apache mod_proxy_fcgi", "Apache mod_fcgid", "HAProxy", "Caddy"),
    "POST of 900 kB": [name for name in SERVERS if name != "Apache mod_fcgid"],
}


@pytest.fixture(name="served")
def serve(stack):
    made = []

    def start(name, client_timeout="1h"):
        stack.configure(ROUTES, settings=f"client_timeout = {client_timeout}\nsocket_mode = 0666\n")
        stack.environment = stack.sanitizer_environment()
        if not SERVERS[name].starts_leeway:
            stack.start_worker()
        made.append(SERVERS[name](stack))
        return stack.port

    yield start
    for server in made:
        server.stop()


def check_others(port, why):
    """More of them than connections are kept."""
    for number in range(20):
        assert ask(port, "GET") == HELLO, f"{why}: client {number}"


def check_refusal(name, port, what, status, *request):
    """Several, so that every worker has had some."""
    for _ in range(4):
        seen = ask(port, *request)[0]
        if name in PASSED_ON.get(what, SERVERS):
            assert seen == status, what
        else:
            assert seen >= 400, what
        check_others(port, "behind a " + what)


@pytest.mark.parametrize("name", SERVERS)
def test_behind_a_web_server_others_are_served_on(served, name):
    port = served(name)
    check_others(port, "at first")
    check_refusal(name, port, "POST of 70 kB", 405, "POST", {}, BODY)
    check_refusal(name, port, "POST of 900 kB", 405, "POST", {}, b"x" * 900000)
    check_refusal(name, port, "GET with a body", 413, "GET", {}, BODY)
    check_refusal(name, port, "large headers", 431, "GET", large_headers())


def test_a_client_that_stops_in_its_body(served):
    """HAProxy passes a body on while it comes; the others wait for the whole of it themselves."""
    port = served("HAProxy", client_timeout="500ms")
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(b"POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n" +
                       BODY)
        assert client.recv(4096).startswith(b"HTTP/1.1 405 ")
    check_others(port, "behind it")

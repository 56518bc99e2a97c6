# SPDX-License-Identifier: BSD-2-Clause
"""Every configuration in contrib/web as it is: each web server passes on what leeway answers,
mounted at / and at /api, with connections to leeway that are kept and that are not."""
import concurrent.futures
import re
import signal

import pytest

from harness import http, report
from harness.caches import CACHES
from harness.web_servers import SERVERS

# what becomes of compressed ones is seen in test_web_compression
ROUTES = """
context "c" { budget = 1h  compress = none }
route "/hello" { context = "c"  sql = "select 'hello'::text as t"  shape = value }
route "/echo/{text}" {
  context = "c"
  param "text" { type = text }
  param "q" { type = text  default = ""  max_length = 65536 }
  param "n" { type = int  default = "1" }
  sql = "select $1::text as text, $2::text as q, $3::int as n"
  shape = object
}
route "/large" { context = "c"  sql = "select repeat('leeway-', 28572) as t"  shape = value }
"""
# 127.0.0.2 stands for the world outside: leeway would let it in, so the web server must not
OUTSIDE = "127.0.0.2"
SETTINGS = f'metrics_allow = {{"127.0.0.1", "{OUTSIDE}"}}\nsocket_mode = 0666\n'
CONTRACT = ("content-type", "etag", "cache-control", "cache-status", "allow")

# what is asked, and what leeway must answer: status, body if it is short
CASES = {
    "hit": ("GET", "/hello", {}, 200, b'"hello"'),
    "%2F in a path parameter": ("GET", "/echo/a%2Fb%20c", {}, 200,
                                b'{"text":"a/b c","q":"","n":1}'),
    "query with + and %20": ("GET", "/echo/x?q=a+b%20c%26%2B&n=7", {}, 200,
                             b'{"text":"x","q":"a b c&+","n":7}'),
    "HEAD": ("HEAD", "/hello", {}, 200, b""),
    "HEAD of 200 kB": ("HEAD", "/large", {}, 200, b""),
    "304": ("GET", "/hello", {"If-None-Match": "{etag}"}, 304, b""),
    "404": ("GET", "/nowhere", {}, 404, None),
    "405": ("DELETE", "/hello", {}, 405, None),
    "OPTIONS": ("OPTIONS", "/hello", {}, 204, b""),
    "200 kB": ("GET", "/large", {}, 200, b'"' + b"leeway-" * 28572 + b'"'),
    "7 kB of query": ("GET", "/echo/x?q=" + 7000 * "q", {}, 200,
                      b'{"text":"x","q":"%s","n":1}' % (7000 * b"q")),
    "400": ("GET", "/echo/x?n=seven", {}, 400, None),
    "health": ("GET", "/health", {}, 200, b'{"status":"ok"}\n'),
}
ALL = {**SERVERS, **{f"{name} as a cache": cache for name, cache in CACHES.items()}}
CONFIGURATIONS = [(name, kept, mount) for name, server in ALL.items()
                  for kept in ((True, False) if server.has_choice else (False,))
                  for mount in ("/", "/api")]
SEEN = {}


def label(name, kept):
    return name + (", kept" if kept else "")


@pytest.fixture(name="table", scope="module")
def write_table():
    yield SEEN
    columns = [*CASES, "9 kB of query", "metrics kept inside", "CORS", "Content-Length"]
    report.table("web_servers", ("server", "mount", *columns),
                 [(server, mount, *(seen.get(column, "-") for column in columns))
                  for (server, mount), seen in SEEN.items()])


@pytest.fixture(name="served")
def serve(stack):
    made = []

    def start(name, mount, kept):
        settings = SETTINGS + ('mount = "/api"\n' if mount == "/api" else "")
        stack.configure(ROUTES, settings=settings)
        stack.environment = stack.sanitizer_environment()
        if not ALL[name].starts_leeway:
            stack.worker = stack.start_worker()
        made.append(ALL[name](stack, mount, kept))
        return made[0]

    yield start
    for server in made:
        server.stop()


class Client:
    """Requests below the mount, from an address of choice."""

    def __init__(self, stack, mount):
        self.port = stack.port
        self.prefix = mount.rstrip("/")

    def ask(self, method, path, headers=None, source=None):
        return self.ask_exactly(method, self.prefix + path, headers, source)

    def ask_exactly(self, method, target, headers=None, source=None):
        return http.request(self.port, target, method, headers, source)


def without_numbers(headers):
    """The headers of the contract; what is left of a budget changes while it is looked at."""
    return {name: value if name == "etag" else re.sub(r"\d+", "N", value)
            for name, value in headers.items() if name in CONTRACT}


def check_case(stack, client, case):
    """Against what is wanted, and against what leeway says to one who asks it directly."""
    method, path, headers, status, body = case
    etag = client.ask("GET", "/hello").headers["etag"]
    headers = {name: value.format(etag=etag) for name, value in headers.items()}
    client.ask(method, path, headers)  # now it is cached
    answer = client.ask(method, path, headers)
    assert answer.status == status
    if body is not None:
        assert answer.body == body
    if stack.worker:
        variables = {"HTTP_" + name.upper().replace("-", "_"): value
                     for name, value in headers.items()}
        told, expected, exact = stack.ask(client.prefix + path, method=method, **variables)
        assert told == status and exact == answer.body
        if status == 304:  # RFC 9110, 15.4.5, lets a cache that makes it tell more
            answer.headers.pop("content-type", None)
        assert without_numbers(answer.headers) == without_numbers(expected)
        check_length(answer, expected, method)
    return answer


def check_length(answer, expected, method):
    length = answer.headers.get("content-length")
    if length is not None and expected.get("content-length") is not None:
        assert length == expected["content-length"], method


def check_metrics(client):
    """However the path is written, and whatever leeway itself would allow."""
    assert client.ask("GET", "/metrics").status == 200
    assert client.ask("GET", "/health", source=OUTSIDE).status == 200
    host = f"http://127.0.0.1:{client.port}"
    for target in ("/metrics", "/metrics?x=1", "/%6detrics", "/./metrics", "/x/../metrics",
                   "//metrics", "/metrics/", "/metrics;x", "/metrics#x", "/metrics%20", "/METRICS",
                   "/%2e/metrics", "/metrics%2f", "/%2fmetrics", "/metrics%00"):
        for prefix in (client.prefix, host + client.prefix):
            answer = client.ask_exactly("GET", prefix + target, source=OUTSIDE)
            assert answer.status >= 300, target
            assert b"leeway_" not in answer.body, target
    if client.prefix:
        for target in ("/%61pi/metrics", "//api/metrics", "/./api/metrics", "/api%2fmetrics"):
            answer = client.ask_exactly("GET", target, source=OUTSIDE)
            assert answer.status >= 400 and b"leeway_" not in answer.body, target
    assert client.ask("GET", "/metrics", source=OUTSIDE).status == 403


def check_cors(client):
    for method, path in (("GET", "/hello"), ("OPTIONS", "/hello"), ("GET", "/echo/x?n=y")):
        answer = client.ask(method, path, {"Origin": "https://app.example.org"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    preflight = client.ask("OPTIONS", "/hello", {
        "Origin": "https://app.example.org", "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-none-match"})
    assert preflight.status == 204
    assert "GET" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "If-None-Match"


@pytest.mark.parametrize("name,kept,mount", CONFIGURATIONS)
def test_what_leeway_answers_gets_through(stack, served, table, name, kept, mount):
    served(name, mount, kept)
    client = Client(stack, mount)
    seen = table.setdefault((label(name, kept), mount), {})
    for case, what in CASES.items():
        seen[case] = "FAILED"
        answer = check_case(stack, client, what)
        seen[case] = str(answer.status)
        if case in ("200 kB", "HEAD of 200 kB"):
            seen["Content-Length"] = answer.headers.get("content-length", "chunked")
    long = client.ask("GET", "/echo/x?q=" + 9000 * "q")
    seen["9 kB of query"] = str(long.status)
    assert long.status in (400, 414, 431)
    check_metrics(client)
    seen["metrics kept inside"] = "yes"
    check_cors(client)
    seen["CORS"] = "yes"
    get, head = client.ask("GET", "/large"), client.ask("HEAD", "/large")
    lengths = [answer.headers.get("content-length") for answer in (get, head)]
    seen["Content-Length"] = " / ".join(length or "-" for length in lengths)
    assert lengths == [str(len(get.body))] * 2


class Crowd:
    """Clients that keep their connections to the web server and ask without a break."""

    def __init__(self, stack, clients, requests, patient=False):
        self.port = stack.port
        self.requests = requests
        self.patient = patient
        self.pool = concurrent.futures.ThreadPoolExecutor(clients)
        self.futures = [self.pool.submit(self.run, number) for number in range(clients)]

    def run(self, number):
        client = http.Kept(self.port, self.patient)
        wrong = []
        for turn in range(self.requests):
            answer = client.request(f"/echo/{number}?n={turn % 5}")
            if answer.status != 200 or \
                    answer.body != b'{"text":"%d","q":"","n":%d}' % (number, turn % 5):
                wrong.append((answer.status, answer.body))
        return wrong

    def wrong(self):
        return [wrong for future in self.futures for wrong in future.result()]


@pytest.mark.parametrize("name", [name for name, server in SERVERS.items() if server.has_choice])
def test_a_crowd_through_kept_connections(stack, served, name):
    """20 clients with 20 requests each, by two workers."""
    served(name, "/", kept=True)
    wrong = Crowd(stack, 20, 20).wrong()
    assert not wrong, f"{len(wrong)} wrong, as {wrong[0]}"


@pytest.mark.parametrize("name,kept", [
    ("nginx", True), ("HAProxy", True), ("lighttpd (socket)", False),
    ("Apache mod_proxy_fcgi", False), ("Caddy", False)])
def test_a_reload_of_leeway_loses_no_request(stack, served, name, kept):
    """As the files say; Apache may lose one with kept connections, and says so in its file. HAProxy
    leaves it to the client to ask again, as browsers do, when a connection kept on both sides ends
    under a request."""
    served(name, "/", kept)
    assert not Crowd(stack, 20, 5).wrong()
    crowd = Crowd(stack, 20, 20, patient=name == "HAProxy")
    stack.worker.send(signal.SIGHUP)
    wrong = crowd.wrong()
    assert not wrong, f"{len(wrong)} wrong, as {wrong[0]}"

# SPDX-License-Identifier: BSD-2-Clause
"""Web servers and caches that compress too, by the lines in contrib/web that switch it on: nothing
is compressed twice, everybody gets a form that he accepts, and every tag is known again."""
import json
import subprocess

import pytest

from harness import http
from harness.caches import (NginxCache, Varnish, VarnishBeforeCompressingNginx,
                            VarnishWithoutGzip)
from harness.codings import decoded
from harness.promtool import parse
from harness.wait import wait_until
from harness.web_servers import SERVERS

ROWS = "select i as id, 'name ' || i as name from generate_series(1, $1) i"
CONTEXTS = {"stored": "budget = 60s", "none": "budget = 60s  compress = none",
            "edge": "budget = 60s  edge = true",
            "edge-none": "budget = 60s  edge = true  compress = none",
            "brief": "budget = 8s  refresh_at = 0.5  edge = true"}
ROUTES = "".join(f"""
context "{name}" {{ {settings} }}
route "/{name}/{{n}}" {{
  context = "{name}"
  param "n" {{ type = int }}
  sql = "{ROWS}"
  shape = array
}}
""" for name, settings in CONTEXTS.items())
SETTINGS = "socket_mode = 0666\n"
# compressed by leeway, too short for that, and not compressed by its context
PATHS = ("/stored/500", "/stored/25", "/none/500")
SHARED_PATHS = ("/edge/500", "/edge/25", "/edge-none/500", "/stored/500")  # it keeps three
BY_LEEWAY = ("/stored/500", "/edge/500")
# Accept-Encoding, and the codings that it allows; None is none
ACCEPTED = {
    None: {None},
    "": {None},
    "identity": {None},
    "gzip": {"gzip", None},
    "gzip, deflate, br, zstd": {"gzip", "br", "zstd", None},
    "br": {"br", None},
    "zstd": {"zstd", None},
    "br, zstd": {"br", "zstd", None},
    "gzip;q=0.5, br": {"gzip", "br", None},
    "gzip;q=0": {None},
    "gzip;q=0, br;q=0.0, zstd;q=0": {None},
    "deflate, gzip;q=0.000": {None, "deflate"},
}
ASKED_AGAIN = (None, "gzip", "gzip, deflate, br, zstd", "br", "zstd")
ON = {**SERVERS, "nginx as a cache": NginxCache, "Varnish": Varnish}
VARIANTS = {name: (server, server.compressing()) for name, server in ON.items()}
for name in ("nginx as a cache", "Varnish"):
    VARIANTS[name + ", off"] = (ON[name], {})
VARIANTS["Varnish without gzip"] = (VarnishWithoutGzip, {})
VARIANTS["Varnish, nginx compresses"] = (VarnishBeforeCompressingNginx, {})
for title, line in {"DEFLATE alone": "AddOutputFilterByType DEFLATE application/json",
                    "NoChange": "AddOutputFilterByType DEFLATE application/json\n"
                                "DeflateAlterETag NoChange",
                    "SetOutputFilter": "SetOutputFilter DEFLATE"}.items():
    VARIANTS["Apache, " + title] = (SERVERS["Apache mod_proxy_fcgi"], {
        "#AddOutputFilterByType BROTLI_COMPRESS;DEFLATE application/json": line})
# HAProxy 2.6 says it of a 304, and no rule of its configuration comes after that
ZERO_LENGTH = "HAProxy"


@pytest.fixture(name="served")
def serve(stack):
    made = []

    def start(server, changes):
        stack.configure(ROUTES, settings=SETTINGS)
        stack.environment = stack.sanitizer_environment()
        if not server.starts_leeway:
            stack.worker = stack.start_worker()
        made.append(server(stack, changes=changes))
        client = Client(stack.port)
        wait_until(lambda: client.ask("/none/1").status == 200, "leeway has its database")
        return client

    yield start
    for server in made:
        server.stop()


class Client:
    """Keeps its connection, upon which a wrong length would show in the next response."""

    def __init__(self, port):
        self.kept = http.Kept(port, patient=False)

    def ask(self, path, accepts=None, tag=None, method="GET"):
        headers = {"Accept-Encoding": accepts, "If-None-Match": tag}
        return self.kept.request(path, method, {name: value for name, value in headers.items()
                                                if value is not None})


def paths(variant):
    return PATHS if VARIANTS[variant][0] in SERVERS.values() else SHARED_PATHS


def compresses(variant):
    server, changes = VARIANTS[variant]
    return bool(changes) or server is VarnishBeforeCompressingNginx


def coding_of(response):
    return response.headers.get("content-encoding")


def rows(path):
    return [{"id": i, "name": f"name {i}"} for i in range(1, int(path.split("/")[-1]) + 1)]


def check_full(response, path, codings):
    assert response.status == 200, response.body
    assert coding_of(response) in codings
    assert json.loads(decoded(response)) == rows(path)
    length = response.headers.get("content-length")
    assert length is None or int(length) == len(response.body)
    if coding_of(response) or path in BY_LEEWAY:
        assert set(response.headers["vary"].lower().split(", ")) == {"accept-encoding"}


def check_head(head, full, plain):
    """What it says of the coding, tag and length is true of one response or the other."""
    assert (head.status, head.body) == (200, b"")
    like = full if coding_of(head) == coding_of(full) else plain
    assert coding_of(head) == coding_of(like)
    assert head.headers["etag"].removeprefix("W/") == like.headers["etag"].removeprefix("W/")
    assert head.headers.get("content-length") in (None, str(len(like.body)))


def check_passed_on_as_it_is(stack, client, path):
    """What leeway has compressed; those processes that a web server starts cannot be asked."""
    large = path.replace("500", "10000")
    check_full(client.ask(large), large, {None})
    for path, accepts in ((path, "gzip"), (path, "gzip, deflate, br, zstd"), (large, "gzip")):
        answer = client.ask(path, accepts)
        check_full(answer, path, {"gzip"})
        assert "content-length" in answer.headers
        if stack.worker:
            _, told, body = stack.ask(path, HTTP_ACCEPT_ENCODING="gzip")
            assert (answer.body, answer.headers["etag"]) == (body, told["etag"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_everybody_gets_a_form_that_he_accepts_coded_once(stack, served, variant):
    client = served(*VARIANTS[variant])
    for path in paths(variant):
        plain = client.ask(path)
        seen = set()
        for accepts, codings in ACCEPTED.items():
            full = client.ask(path, accepts)
            check_full(full, path, codings)
            check_head(client.ask(path, accepts, method="HEAD"), full, plain)
            seen.add(coding_of(full))
        assert ("gzip" in seen) == (path in BY_LEEWAY or compresses(variant))
        if path in BY_LEEWAY:
            check_passed_on_as_it_is(stack, client, path)


@pytest.mark.parametrize("variant", ["nginx", "lighttpd (socket)", "Caddy", "nginx as a cache", "Varnish"])
def test_a_body_that_would_become_longer_is_left_as_it_is(served, variant):
    """The others have no setting for it."""
    client = served(*VARIANTS[variant])
    for path in ("/edge/1", "/none/5"):
        for accepts in "gzip", "gzip, deflate, br, zstd":
            answer = client.ask(path, accepts)
            check_full(answer, path, {None})
            assert "content-length" in answer.headers


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_tag_that_was_given_is_known_again(served, variant):
    """Also the one that came with a HEAD, or with the 304 itself, which a client keeps instead."""
    client = served(*VARIANTS[variant])
    for path in paths(variant):
        for accepts in ASKED_AGAIN:
            full, head = client.ask(path, accepts), client.ask(path, accepts, method="HEAD")
            lengths = {None, str(len(full.body)), "0" if variant == ZERO_LENGTH else None}
            for tag in {full.headers["etag"], head.headers["etag"]}:
                for method in "GET", "HEAD":
                    check_unchanged(client, (path, accepts, tag, method), full, lengths)
            assert client.ask(path, accepts, '"another"').status == 200


def check_unchanged(client, request, full, lengths):
    path, accepts, tag, method = request
    for _ in range(2):
        answer = client.ask(path, accepts, tag, method)
        assert (answer.status, answer.body) == (304, b""), request
        assert coding_of(answer) in (None, coding_of(full)), request
        assert answer.headers.get("content-length") in lengths, request
        tag = answer.headers["etag"]


@pytest.mark.parametrize("variant", [name for name, (server, _) in VARIANTS.items()
                                     if not name.startswith(("Varnish", "Apache, ")) or server is VarnishWithoutGzip])
def test_who_refuses_what_is_not_compressed(served, variant):
    """Varnish does not know of it, unless its own gzip is off."""
    client = served(*VARIANTS[variant])
    for path in paths(variant)[:2]:
        for accepts in "identity;q=0, gzip", "*;q=0, gzip", "gzip, *; q=0.0":
            check_full(client.ask(path, accepts), path, {"gzip"})
        check_full(client.ask(path), path, {None})
        for accepts in "identity;q=0", "*;q=0", "br, identity;q=0", "gzip;q=0, *;q=0":
            assert client.ask(path, accepts).status == 406


# all that leeway takes for the same, in two groups
SPELLINGS = {
    "gzip": ("gzip", "gzip, deflate", "gzip, deflate, br", "gzip, deflate, br, zstd", "gzip,br",
             "deflate, gzip;q=1.0, *;q=0.5", "br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip; q=0.001",
             "identity;q=0.5, gzip"),
    None: (None, "", "identity", "br", "zstd", "deflate", "deflate, br", "gzip;q=0", "notgzip",
           "gzip; q=0.000, br", "gzip-br"),
}
# keeps them long enough to be counted
LONG = {"200 404 1s": "200 404 60s"}
NORMALISED = {"nginx": (NginxCache, LONG, 2), "Varnish": (Varnish, {}, 1),
              "Varnish without gzip": (VarnishWithoutGzip, {}, 2)}
# what makes it so, taken out
SPELLED = {
    "nginx": {**LONG, "Expires Vary;": "Expires;",
              "$leeway_accept_encoding if_not_empty": "$http_accept_encoding if_not_empty",
              "$request_method $leeway_accept_encoding $request_uri": "$request_method$request_uri"},
    "Varnish without gzip": {'set req.http.Accept-Encoding = "gzip";': "",
                             "unset req.http.Accept-Encoding;": ""},
}


def fetches(stack, route):
    """How often a cache has come to leeway."""
    _, _, text = stack.ask("/metrics", REMOTE_ADDR="127.0.0.1")
    return sum(value for (name, labels), value in parse(text.decode()).items()
               if name == "leeway_response_seconds_count" and ("route", route) in labels)


def ask_in_all_spellings(client, path):
    """The last answer of each group, by its coding."""
    answers = {}
    for coding, spellings in SPELLINGS.items():
        for accepts in spellings:
            answers[coding] = client.ask(path, accepts)
            check_full(answers[coding], path, {coding})
    return answers


@pytest.mark.parametrize("cache", NORMALISED)
def test_spellings_of_accept_encoding_share_an_entry(stack, served, cache):
    server, changes, count = NORMALISED[cache]
    client = served(server, changes)
    for _ in range(2):
        ask_in_all_spellings(client, "/edge/500")
    assert fetches(stack, "/edge/{n}") == count


@pytest.mark.parametrize("cache", SPELLED)
def test_without_these_settings_they_do_not(stack, served, cache):
    client = served(NORMALISED[cache][0], SPELLED[cache])
    ask_in_all_spellings(client, "/edge/500")
    assert fetches(stack, "/edge/{n}") > 4


def not_modified(stack):
    """How often Varnish has kept a response that was stale, told that it is still the same."""
    said = subprocess.run(["varnishstat", "-n", stack.path("varnish"), "-1", "-f",
                           "MAIN.fetch_304"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[1])


@pytest.mark.parametrize("cache", NORMALISED)
def test_forms_are_kept_apart_while_they_are_fetched_again(stack, served, cache):
    """Fresh and, as Varnish has them, stale and revalidated."""
    server, _, count = NORMALISED[cache]
    client = served(server, {})
    kept, renewed = set(), set()

    def all_are_renewed():
        for coding, answer in ask_in_all_spellings(client, "/brief/500").items():
            if answer.cache.endswith((", nginx; hit", ", varnish; hit")):
                kept.add(coding)
            elif coding in kept:
                renewed.add(coding)
        if server is NginxCache:
            return len(renewed) == 2
        return len(kept) == 2 and not_modified(stack) >= count

    wait_until(all_are_renewed, "each form was kept, and fetched again")

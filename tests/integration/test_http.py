# SPDX-License-Identifier: BSD-2-Clause
"""Paths, mounts, privacy: what surrounds a response."""
import threading

from harness import fastcgi

ROUTES = """
context "edge" { budget = 30s  edge = true }
route "/t/{text}" { context = "edge"  param "text" { type = text }  sql = "select $1 as t"  shape = value }
route "/t/" { sql = "select 'slash' as t"  shape = value }
route "/t/me" { sql = "select 'literal' as t"  shape = value }
route "/me" {
  context = "edge"
  param "user" { type = text  from = "REMOTE_USER" }
  sql = "select $1 as user"
  shape = value
}
route "/hidden" { context = "edge"  private = true  sql = "select 1 as n"  shape = value }
route "/ledger" { context = "ledger"  sql = "select gen_random_uuid() -- marker:ledger"  shape = value }
context "ledger" { budget = 0s }
"""


def body(stack, uri, **options):
    status, _, content = stack.ask(uri, **options)
    return status, content


def test_paths(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    assert body(stack, "/t/a%2Fb") == (200, b'"a/b"')
    assert body(stack, "/t/a+b%20c?x=y") == (200, b'"a+b c"')
    assert body(stack, "/t/me") == (200, b'"literal"')
    assert body(stack, "/t/%6de") == (200, b'"literal"')
    assert body(stack, "/t/") == (200, b'"slash"')
    assert body(stack, "/t/%2e%2e")[0] == 404
    assert body(stack, "/t/..")[0] == 404
    assert body(stack, "/t")[0] == 404
    assert body(stack, "http://host/t/me") == (200, b'"literal"')


def test_a_server_that_keeps_the_uri_to_itself(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    variables = fastcgi.variables_for("/t/x y")
    del variables["REQUEST_URI"]
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.pairs(variables)) +
                        fastcgi.stream(fastcgi.STDIN, b""))
        status, _, content = connection.read_answer()
    assert (status, content) == (200, b'"x y"')


def test_mount(stack):
    stack.configure(ROUTES, settings='mount = "/api/v1"')
    stack.start_worker("-n", "1")
    assert body(stack, "/api/v1/t/me") == (200, b'"literal"')
    for uri in ("/api/v17/t/me", "/api/v1", "/t/me", "/health"):
        assert body(stack, uri)[0] == 404, uri


def test_privacy(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    control = "max-age=27, stale-while-revalidate=3, stale-if-error=0"
    assert stack.ask("/t/x")[1]["cache-control"] in (control, control.replace("27", "26"))
    for uri in ("/hidden", "/me"):
        status, headers, _ = stack.ask(uri, REMOTE_USER="ann")
        assert (status, headers["cache-control"][:9]) == (200, "private, ")


def test_a_variable_that_the_server_vouches_for(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    assert body(stack, "/me", REMOTE_USER="ann") == (200, b'"ann"')
    assert body(stack, "/me?user=ann", REMOTE_USER="bob") == (200, b'"bob"')
    assert body(stack, "/me?user=ann")[0] == 401
    assert body(stack, "/me", REMOTE_USER="")[0] == 401


PRIVATE = """
route "/me/find/{word}/orders" {
  param "word" { type = text }
  param "user" { type = text  from = "REMOTE_USER" }
  sql = "select $1 || ':' || $2"
  shape = value
}
route "/me/files/{path}" {
  private = true
  param "path" { type = text  slashes = true }
  sql = "select $1"
  shape = value
}
route "/me/notes/{name}" { private = true  param "name" { type = text }  sql = "select $1"  shape = value }
route "/open/{word}/x" { param "word" { type = text }  sql = "select $1"  shape = value }
"""
# what a server in front may have taken for another path
SEPARATED = ("..%2f..%2fx", "%2e%2e", "%2e", "..", ".", "..%5cx", "a%2Fb", "a%5Cb", "a\\b", "..;x")
DATA = {"%252e%252e%252f": "%2e%2e%2f", "a;x": "a;x", "a%3b..": "a;..", "...": "..."}


def test_no_separator_in_a_private_path(stack):
    """Before it is asked who asks, and for what is private without a user as well."""
    stack.configure(PRIVATE, settings='mount = "/api"')
    stack.start_worker("-n", "1")
    for word in SEPARATED:
        for uri in (f"/api/me/find/{word}/orders", f"/%61pi/me/find/{word}/orders",
                    f"/api/me/notes/{word}"):
            assert body(stack, uri, REMOTE_USER="ann")[0] == 400, uri
            assert body(stack, uri)[0] == 400, uri
        dots = word.replace("%2e", ".") in (".", "..")
        assert body(stack, f"/api/open/{word}/x")[0] == (404 if dots else 200)
        assert body(stack, f"/api/me/files/{word}")[0] == (404 if dots else 200)
    for word, text in DATA.items():
        answer = body(stack, f"/api/me/find/{word}/orders", REMOTE_USER="ann")
        assert answer == (200, b'"%s:ann"' % text.encode())
        assert body(stack, f"/api/me/notes/{word}") == (200, b'"%s"' % text.encode())
    assert body(stack, "/api/me/files/a%2F..%5Cb") == (200, b'"a/..\\\\b"')
    assert body(stack, "/api/me/find/x/orders")[0] == 401
    assert body(stack, "/api/../api/me/find/x/orders", REMOTE_USER="ann")[0] == 404
    assert body(stack, "/api/%2e%2e/api/me/find/x/orders", REMOTE_USER="ann")[0] == 404


def test_built_in_paths_are_spelt_literally(stack):
    """A server in front that closes them may compare what is written."""
    stack.configure(ROUTES, settings='mount = "/api"')
    stack.start_worker("-n", "1")
    for path in ("/metrics", "/health"):
        for uri in ("/api" + path, f"/api{path}?x=1", "http://host/api" + path):
            assert body(stack, uri)[0] == 200, uri
        for uri in ("/%61pi" + path, "/api/%" + f"{ord(path[1]):x}" + path[2:], "/api/" + path,
                    "//api" + path, f"/api{path}/", f"/api/.{path}", f"/api{path};x",
                    f"/x/../api{path}", f"/api%2F{path[1:]}", f"/api/{path.upper()}"):
            assert body(stack, uri)[0] == 404, uri
    # a route is what its path means, however it is written
    assert body(stack, "/%61pi/t/m%65") == (200, b'"literal"')


def test_a_fragment_is_no_part_of_a_target(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    for uri in ("/t/me#x", "/t/#", "/t/me?x=1#y", "/metrics#", "#", "/nowhere#x", "http://host/t/me#"):
        status, headers, _ = stack.ask(uri)
        assert (status, headers["content-type"]) == (400, "application/problem+json"), uri
    assert body(stack, "/t/%23") == (200, b'"#"')


def ask_decoded(stack, path_info, script_name="", query=""):
    """As a server asks that keeps the target to itself."""
    variables = fastcgi.variables_for("/")
    del variables["REQUEST_URI"]
    variables |= {"SCRIPT_NAME": script_name, "PATH_INFO": path_info, "QUERY_STRING": query}
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.pairs(variables)) +
                        fastcgi.stream(fastcgi.STDIN, b""))
        status, _, content = connection.read_answer()
    return status, content


def test_what_the_server_has_decoded_is_decoded_once(stack):
    stack.configure(ROUTES + PRIVATE, settings='mount = "/api"')
    stack.start_worker("-n", "1")
    assert ask_decoded(stack, "/t/x y", "/api") == (200, b'"x y"')
    assert ask_decoded(stack, "/t/%41", "/api") == (200, b'"%41"')
    assert ask_decoded(stack, "/api/t/%zz") == (200, b'"%zz"')
    assert ask_decoded(stack, "/api/t/100%") == (200, b'"100%"')
    assert ask_decoded(stack, "/t/a?b#c", "/api") == (200, b'"a?b#c"')
    assert ask_decoded(stack, "/t/m%65", "/api") == (200, b'"m%65"')
    assert ask_decoded(stack, "/me/notes/%2e%2e", "/api") == (200, b'"%2e%2e"')
    assert ask_decoded(stack, "/me/notes/..", "/api")[0] == 400
    assert ask_decoded(stack, "/metrics", "/api")[0] == 200
    assert ask_decoded(stack, "/%6detrics", "/api")[0] == 404
    assert ask_decoded(stack, "/t/me", "/%61pi")[0] == 404


def ask_twice(stack, name, first, second, **others):
    """A request that says one variable twice, first and last of all; the others are as usual."""
    variables = {**fastcgi.variables_for("/me", REMOTE_USER="ann", CONTENT_LENGTH="0"), **others}
    variables.pop(name, None)
    params = b"".join(fastcgi.pairs(part)
                      for part in ({name: first}, variables, {name: second}))
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, params) +
                        fastcgi.stream(fastcgi.STDIN, b""))
        return connection.read_answer()


def test_what_is_said_twice_is_said_alike(stack):
    """Of a variable that is trusted, or that leeway decides by, there is one value."""
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    usual = {**fastcgi.variables_for("/me"), "REMOTE_USER": "ann", "CONTENT_LENGTH": "0"}
    for name, value in (("REMOTE_USER", "eve"), ("REMOTE_USER", ""), ("REQUEST_METHOD", "HEAD"),
                        ("REQUEST_URI", "/t/me"), ("SCRIPT_NAME", "/t"), ("PATH_INFO", "/t/me"),
                        ("QUERY_STRING", "x"), ("REMOTE_ADDR", "::1"), ("CONTENT_LENGTH", "1")):
        for pair in ((usual[name], value), (value, usual[name])):
            if name == "REQUEST_METHOD" and pair[0] == "HEAD":
                continue  # then the refusal has no body
            status, headers, problem = ask_twice(stack, name, *pair)
            assert (status, headers.get("content-type")) == (400, "application/problem+json"), name
            assert name.encode() in problem
        assert ask_twice(stack, name, usual[name], usual[name])[::2] == (200, b'"ann"'), name
    assert ask_twice(stack, "REQUEST_METHOD", "HEAD", "GET")[0] == 400
    assert ask_twice(stack, "REMOTE_USER", "ann", "bob", REQUEST_URI="/health")[0] == 400
    assert ask_twice(stack, "REMOTE_USER", "ann", "bob", REQUEST_METHOD="HEAD")[::2] == (400, b"")
    assert ask_twice(stack, "HTTP_COOKIE", "a", "b")[0] == 200


def test_if_none_match_on_two_lines_is_one_list(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    etag = stack.ask("/t/me")[1]["etag"]
    for pair, status in ((('"a"', etag), 304), ((etag, '"a"'), 304), (('"a"', '"b"'), 200)):
        assert ask_twice(stack, "HTTP_IF_NONE_MATCH", *pair, REQUEST_URI="/t/me")[0] == status


def test_a_budget_of_nothing(stack):
    stack.start(ROUTES, refresher=False)
    with stack.redis.monitor() as seen:
        first, second = stack.get("/ledger"), stack.get("/ledger")
        many = stack.get_many(["/ledger"] * 10)
        seen.settle()
        assert not [line for line in seen.lines if "ledger" in line]
    assert first.cache == "leeway; fwd=bypass; detail=no-budget"
    assert first.control == "no-store"
    bodies = [answer.body for answer in [first, second] + many]
    assert len(set(bodies)) == 12, "each had a query of its own"
    assert stack.executions("marker:ledger") == 12


def test_many_requests_sent_ahead_are_all_answered(stack):
    """More than is collected of one connection at a time."""
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    stack.ask("/t/me")
    count = 3000
    with fastcgi.Connection(stack.socket) as connection:
        asked = fastcgi.request("/ledger", keep=True) + \
            fastcgi.request("/t/me", keep=True) * count
        sender = threading.Thread(target=connection.send, args=(asked,))
        sender.start()
        answers = [connection.read_answer()[0] for _ in range(count + 1)]
        sender.join()
    assert answers == [200] * (count + 1)

# SPDX-License-Identifier: BSD-2-Clause
"""Nobody is taken for somebody else behind a web server that is set up by its file in contrib/web:
who has not logged in gets no rows, whatever he sends, and who has gets his own."""
import base64

import pytest

from harness import http, report
from harness.web_servers import SERVERS, USERS

ROUTES = """
route "/rows" { param "u" { from = "REMOTE_USER" }  sql = "select 'rows of ' || $1"  shape = value }
route "/me/rows" { param "u" { from = "REMOTE_USER" }  sql = "select 'rows of ' || $1"  shape = value }
route "/me" { param "u" { from = "REMOTE_USER" }  sql = "select 'rows of ' || $1"  shape = value }
route "/me/find/{word}/orders" {
  param "word" { type = text }
  param "u" { from = "REMOTE_USER" }
  sql = "select 'rows of ' || $2 || $1"
  shape = value
}
route "/header" { param "u" { from = "HTTP_X_USER" }  sql = "select 'rows of ' || $1"  shape = value }
route "/me/header" { param "u" { from = "HTTP_X_USER" }  sql = "select 'rows of ' || $1"  shape = value }
"""
# How each server sets X-User from its own login. lighttpd has no way to name the user in it.
VOUCHED = {
    "nginx": {"        fastcgi_param REMOTE_USER $remote_user;":
              "        fastcgi_param REMOTE_USER $remote_user;\n"
              "        fastcgi_param HTTP_X_USER $remote_user;"},
    "lighttpd": {'$HTTP["url"] =~ "^{mount}/me(/|$)" {':
                 '$HTTP["url"] =~ "^{mount}/me(/|$)" {\n'
                 '    setenv.set-request-header = ( "X-User" => "alice", "X_User" => "" )'},
    "Apache": {"    #RequestHeader set X-User": "    RequestHeader set X-User"},
    "HAProxy": {"    http-request del-header _ -m sub\n":
                "    http-request del-header _ -m sub\n"
                "    http-request set-header X-User %[var(txn.user)]\n"},
    "Caddy": {"\t\trequest_header -*_*\n":
              "\t\trequest_header -*_*\n\t\trequest_header X-User {http.auth.user.id}\n"},
}
SPELLINGS = [("X-User", "X_User"), ("X_User", "X-User"), ("x_user", "X_USER"), ("X_User",), ("X-User",)]
SEEN = {}


def credentials(name, word):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()}


ALICE = credentials("alice", USERS["alice"][0])
BOB = credentials("bob", USERS["bob"][0])
NONSENSE = credentials("alice", "nonsense")


@pytest.fixture(name="table", scope="module")
def write_table():
    yield SEEN
    columns = list(dict.fromkeys(column for seen in SEEN.values() for column in seen))
    report.table("logins", ("server", "mount", *columns),
                 [(*key, *(seen.get(column, "-") for column in columns))
                  for key, seen in SEEN.items()])


class Client:
    def __init__(self, stack, mount):
        self.port = stack.port
        self.prefix = mount.rstrip("/")

    def ask(self, path, headers):
        return http.request(self.port, self.prefix + path, "GET", headers)


@pytest.fixture(name="served")
def serve(stack):
    made = []

    def start(name, mount, changes=None):
        stack.configure(ROUTES, settings="socket_mode = 0666\n" +
                        ('mount = "/api"\n' if mount == "/api" else ""))
        stack.environment = stack.sanitizer_environment()
        server = SERVERS[name]
        if not server.starts_leeway:
            stack.worker = stack.start_worker()
        made.append(server(stack, mount, kept=name in ("nginx", "HAProxy"), changes=changes))
        return Client(stack, mount)

    yield start
    for server in made:
        server.stop()


EACH = pytest.mark.parametrize("name,mount", [(name, mount) for name in SERVERS
                                              for mount in ("/api", "/")])


def statuses(answers):
    return " ".join(sorted({str(answer.status) for answer in answers}))


@EACH
def test_a_password_that_nobody_checked(served, table, name, mount):
    """Outside of the login's location."""
    client = served(name, mount)
    answers = [client.ask("/rows", headers) for headers in ({}, NONSENSE, ALICE)]
    table.setdefault((name, mount), {})["Basic, no login"] = statuses(answers)
    for answer in answers:
        assert answer.status == 401 and b"rows of" not in answer.body


@EACH
def test_the_real_login(served, table, name, mount):
    client = served(name, mount)
    for path in ("/me/rows", "/me", "/m%65/rows"):
        refused = [client.ask(path, headers) for headers in ({}, NONSENSE)]
        assert statuses(refused) == "401", path
        assert all("www-authenticate" in answer.headers for answer in refused)
        for user, headers in (("alice", ALICE), ("bob", BOB), ("alice", ALICE)):
            answer = client.ask(path, headers)
            assert (answer.status, answer.body) == (200, f'"rows of {user}"'.encode())
    assert client.ask("/me/find/x/orders", BOB).body == b'"rows of bobx"'
    table.setdefault((name, mount), {})["login"] = "200, wrong: 401"


@EACH
def test_a_path_that_means_another_place_to_the_server(served, table, name, mount):
    client = served(name, mount)
    answers = []
    for word in ("..%2f..%2fx", "..%2F..%2F..%2Fx", "x%2f..%2f..%2fy", "..%5c..%5cx", "%2e%2e", "..",
                 "..;", "..%3b%2f..%2fx", "a%2fb"):
        # lighttpd takes a second over a wrong password
        for headers in ({}, ALICE) + (NONSENSE,) * (word == "..%2f..%2fx"):
            answer = client.ask(f"/me/find/{word}/orders", headers)
            assert answer.status in (400, 401, 404) and b"rows of" not in answer.body, word
            answers.append(answer)
    for path in ("/x/../me/rows", "/x/%2e%2e/me/rows", "//me/rows", "/./me/rows", "/me//rows",
                 "/me;x/rows", "/me%2frows", "/ME/rows", "/rows/..%2fme/rows", "/me/rows#x"):
        answer = client.ask(path, {})
        assert answer.status in (400, 401, 404) and b"rows of" not in answer.body, path
    table.setdefault((name, mount), {})["..%2f..%2fx"] = statuses(answers)


@pytest.mark.parametrize("mount", ["/api", "/"])
def test_nginx_that_is_told_the_user_twice(served, mount):
    """fastcgi_params has the name that nobody checked, and the operator another one behind it. What
    comes twice and alike does no harm."""
    own = '    fastcgi_param REMOTE_USER "";\n'
    twice = "    include /etc/nginx/fastcgi_params;\n"
    client = served("nginx", mount, {own: twice + own.replace('""', '"bob"')})
    for headers in ({}, NONSENSE, ALICE):
        answer = client.ask("/rows", headers)
        assert answer.status == 400 and b"REMOTE_USER" in answer.body
    answer = client.ask("/rows", credentials("bob", "nonsense"))
    assert answer.body == b'"rows of bob"', "the operator says so too"


@EACH
def test_a_header_of_the_client_s(served, table, name, mount):
    """The server sets X-User itself, behind its login and nowhere else; 20 of 20 in each spelling."""
    changes = {old.replace("{mount}", mount.rstrip("/")): new.replace("{mount}", mount.rstrip("/"))
               for old, new in next(changes for server, changes in VOUCHED.items()
                                    if name.startswith(server)).items()}
    client = served(name, mount, changes)
    assert client.ask("/me/header", ALICE).body == b'"rows of alice"'
    for path in ("/header", "/me/header"):
        for spelling in SPELLINGS:
            spoofed = {field: "eve" for field in spelling}
            for _ in range(20):
                answer = client.ask(path, {**ALICE, **spoofed})
                assert b"eve" not in answer.body, spelling
                if path == "/me/header":
                    assert answer.body == b'"rows of alice"', spelling
    table.setdefault((name, mount), {})["X-User, X_User"] = "the server's, 20 of 20"


@EACH
def test_a_header_that_no_one_sets(served, table, name, mount):
    """With the file as it is, a client's X_User is never HTTP_X_USER."""
    client = served(name, mount)
    answers = [client.ask("/header", {field: "eve"})
               for field in ("X_User", "x_user", "X_USER", "X_user") for _ in range(20)]
    assert statuses(answers) == "401"
    table.setdefault((name, mount), {})["X_User alone"] = statuses(answers)

# SPDX-License-Identifier: BSD-2-Clause
"""The same request has the same status behind every web server, or the one that docs/web-servers.md
says it has: its table is what is expected here."""
import os
import re

import pytest

from harness import http, report
from harness.web_servers import SERVERS

DOCUMENT = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "web-servers.md")
ROUTES = """
context "c" { budget = 1h }
route "/hello" { context = "c"  sql = "select 'hello'::text as t"  shape = value }
route "/echo/{text}" {
  context = "c"
  param "text" { type = text  max_length = 65536 }
  param "q" { type = text  default = ""  max_length = 65536 }
  sql = "select $1::text as text, $2::text as q"
  shape = object
}
route "/me/find/{word}/orders" {
  param "word" { type = text }
  param "user" { type = text  from = "REMOTE_USER" }
  sql = "select $1::text, $2::text"
}
"""
KEPT = ("nginx", "HAProxy")  # as their files have it


def read_table():
    """{request: {column: status}}; an empty cell is what leeway says."""
    with open(DOCUMENT, encoding="utf-8") as text:
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")]
                for line in text if line.startswith("| ")]
    start = next(at for at, row in enumerate(rows) if row[0] == "request")
    columns = rows[start][1:]
    return {row[0]: {column: int(cell or row[1]) for column, cell in zip(columns, row[1:])}
            for row in rows[start + 1:] if row[0].startswith("`")}


TABLE = read_table()
SEEN = {}


def column_of(server):
    return "lighttpd" if server.startswith("lighttpd") else server


def request_of(cell):
    method, target = re.match(r"`(\S+) (\S+)`", cell).groups()
    if "9 kB" in cell:
        target = target.replace("...", 9000 * "q")
    return method, target


@pytest.fixture(name="table", scope="module")
def write_table():
    yield SEEN
    report.table("odd_requests", ("request", *SEEN),
                 [(cell, *(seen.get(cell, "-") for seen in SEEN.values())) for cell in TABLE])


def test_leeway_itself(stack, table):
    stack.configure(ROUTES, settings='mount = "/api"')
    stack.start_worker("-n", "1")
    seen = table.setdefault("leeway", {})
    for cell in TABLE:
        method, target = request_of(cell)
        seen[cell] = stack.ask(target, method=method)[0]
    assert seen == {cell: row["leeway"] for cell, row in TABLE.items()}


@pytest.mark.parametrize("name", SERVERS)
def test_behind(stack, table, name):
    stack.configure(ROUTES, settings='mount = "/api"\nsocket_mode = 0666')
    stack.environment = stack.sanitizer_environment()
    if not SERVERS[name].starts_leeway:
        stack.worker = stack.start_worker()
    server = SERVERS[name](stack, "/api", name in KEPT)
    seen = table.setdefault(name, {})
    for cell in TABLE:
        method, target = request_of(cell)
        headers = {"Content-Length": "0"} if method in ("POST", "PUT") else {}
        seen[cell] = http.request(stack.port, target, method, headers).status
    server.stop()
    assert seen == {cell: row[column_of(name)] for cell, row in TABLE.items()}

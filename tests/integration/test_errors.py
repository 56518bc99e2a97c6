# SPDX-License-Identifier: BSD-2-Clause
"""What goes wrong gets a clear answer that is never cached, and asks nobody in vain."""
import re
import time

import pytest

from harness import fastcgi

ROUTES = """
context "c" { budget = 10s }
context "short" { budget = 1s }
route "/items/{id}" {
  context = "c"
  param "id"   { type = int  min = 1  max = 1000 }
  param "kind" { type = enum  values = {"a", "b"}  default = "a" }
  param "uid"  { type = uuid  required = false }
  param "text" { type = text  max_length = 3  default = "" }
  sql = "select $1::int as id where $1::int < 100 and $2 in ('a', 'b') and ($3::uuid is null or true) and $4 <> 'zz' -- marker:item"
  shape = object
}
route "/need" { param "q" { type = text } sql = "select $1 as q" shape = value }
route "/broken" { sql = "select nothing from nowhere -- marker:broken" }
route "/two" { sql = "select generate_series(1, 2) as n" shape = object }
route "/cast" { param "q" { type = text } sql = "select $1::text::int as n" shape = value }
route "/late" { context = "short" sql = "select 1 as n from pg_sleep(5) -- marker:late" }
"""


def check_problem(answer, status):
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.control == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.body)
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"] and problem["detail"]
    return problem


@pytest.fixture
def served(stack):
    return stack.start(ROUTES, refresher=False)


WRONG = [
    "/items/x", "/items/0", "/items/1001", "/items/1.5", "/items/9223372036854775808",
    "/items/%zz", "/items/%ff", "/items/1?kind=c", "/items/1?kind=a&kind=a", "/items/1?uid=12",
    "/items/1?text=abcd", "/items/1?text=%00", "/items/1?text=%c0%af", "/items/1?text=%e",
    "/need",
]


def test_wrong_parameters_ask_nobody(served):
    with served.redis.monitor() as seen:
        for uri in WRONG:
            # straight to the worker: lighttpd refuses some of these itself
            status, headers, body = served.ask(uri)
            assert status == 400, uri
            assert headers["content-type"] == "application/problem+json"
            assert headers["cache-control"] == "no-store"
            assert b'"status":400' in body
        seen.settle()
        assert not [line for line in seen.lines if "leeway:" in line]
    assert served.executions("marker:item") == 0


def test_equal_values_share_a_key(served):
    for uri in ("/items/7", "/items/007", "/items/7?kind=a", "/items/7?text=&utm=1",
                "/items/%37"):
        assert served.get(uri).json() == {"id": 7}
    assert served.executions("marker:item") == 1


def test_no_such_route(served):
    for uri in ("/", "/item/7", "/items", "/items/7/", "/items//7", "/items/../items/7"):
        status, headers, _ = served.ask(uri)
        assert status == 404, uri
        assert headers["cache-control"] == "no-store"
        assert "cache-status" not in headers


def test_no_such_row_is_cached_for_its_own_budget(served):
    first = served.get("/items/500")
    assert first.status == 404
    assert first.headers["content-type"] == "application/problem+json"
    assert first.cache == "leeway; fwd=uri-miss; fwd-status=404; stored"
    assert first.control == "private, max-age=0, stale-while-revalidate=0, stale-if-error=0"
    assert "etag" not in first.headers
    hit = served.get("/items/500")
    assert (hit.status, hit.cache) == (404, "leeway; hit; ttl=0")
    assert served.executions("marker:item") == 1
    time.sleep(1.1)
    assert "fwd=" in served.get("/items/500").cache
    assert served.executions("marker:item") == 2


def test_methods(served):
    for method in ("POST", "PUT", "DELETE", "PATCH", "BREW"):
        status, headers, _ = served.ask("/items/7", method=method)
        assert status == 405
        assert headers["allow"] == "GET, HEAD, OPTIONS"
    status, headers, body = served.ask("/items/7", method="OPTIONS")
    assert (status, body) == (204, b"")
    assert headers["allow"] == "GET, HEAD, OPTIONS"
    assert "content-length" not in headers


def test_an_sql_error_is_logged_and_not_shown(served):
    problem = check_problem(served.get("/broken"), 500)
    assert "nowhere" not in str(problem)
    assert re.search(r'msg="query failed" route=/broken sqlstate=42P01', served.worker.log_text())


def test_a_failure_answers_the_crowd_for_a_second(served):
    check_problem(served.get("/broken"), 500)
    late = served.get("/broken")
    check_problem(late, 500)
    assert late.headers["retry-after"] == "1"
    assert not served.redis.client().keys("*:entry")
    time.sleep(1.1)
    assert "retry-after" not in served.get("/broken").headers, "the query is tried again"


def test_more_rows_than_the_shape_takes(served):
    check_problem(served.get("/two"), 500)
    assert "more than one row" in served.worker.log_text()


def test_a_value_that_postgres_does_not_take(served):
    assert served.get("/cast?q=12").json() == 12
    check_problem(served.get("/cast?q=secretvalue"), 400)
    assert "secretvalue" not in served.worker.log_text()


def test_a_query_slower_than_its_budget(served):
    check_problem(served.get("/late"), 504)
    assert 'msg="query timed out" route=/late' in served.worker.log_text()


def test_conditional_requests(served):
    miss = served.get("/items/8")
    etag = miss.headers["etag"]
    for field in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = served.get("/items/8", If_None_Match=field)
        assert (answer.status, answer.body) == (304, b""), field
        assert answer.headers["etag"] == etag
        assert "hit; ttl=" in answer.cache
        assert answer.control.startswith("private, max-age=")
        assert "content-type" not in answer.headers
    assert served.get("/items/8", If_None_Match='"x"').status == 200
    # from a miss as well
    served.redis.client().flushall()
    answer = served.get("/items/8", If_None_Match=etag)
    assert (answer.status, answer.cache) == (
        304, "leeway; fwd=uri-miss; fwd-status=200; stored")


def test_head(served):
    get, head = served.get("/items/9"), served.get("/items/9", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == get.headers[name]
    assert served.get("/items/9", method="HEAD", If_None_Match=get.headers["etag"]).status == 304
    assert served.get("/nothing", method="HEAD").body == b""


def test_a_value_never_becomes_a_header(served):
    for uri in ("/need?q=x%0d%0aSet-Cookie:%20a=b", "/items/7%0d%0aX: y"):
        with fastcgi.Connection(served.socket) as connection:
            _, headers, _ = connection.ask(uri)
        assert "set-cookie" not in headers
        assert "x" not in headers

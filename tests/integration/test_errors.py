# SPDX-License-Identifier: BSD-2-Clause
"""Errors: what is refused before anything is asked, and what a query may fail with."""
import json

import pytest

from harness.http import Response
from harness.wait import wait_until

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ROUTES = """
context "c" { budget = 20s  negative_budget = 10s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int  min = 1  max = 1000 }
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}
route "/search" {
  context = "c"
  param "q"     { type = text  max_length = 5 }
  param "limit" { type = int  min = 1  max = 100  default = "20" }
  param "rate"  { type = number  required = false }
  param "only"  { type = bool  default = "false" }
  param "token" { type = uuid  required = false }
  param "since" { type = date  required = false }
  param "order" { type = enum  values = {"up", "down"}  default = "up" }
  sql = "select $1::text q, $2::int l, $3::numeric r, $4::bool o, $5::uuid t, $6::date s,
         $7::text u -- marker:search"
}
route "/strict" {
  param "a" { type = int  default = "1" }
  unknown_params = reject
  sql = "select $1::int a -- marker:strict"
}
route "/mine" {
  param "user" { type = text  from = "REMOTE_USER" }
  sql = "select $1::text login -- marker:mine"
  shape = object
}
route "/missing-table" { sql = "select * from no_such_table" }
route "/divide/{by}" {
  param "by" { type = int }
  sql = "select 1 / $1::int as result"
  shape = object
}
route "/small/{n}" {
  param "n" { type = int }
  sql = "select $1::int::smallint as n"
  shape = object
}
route "/data" { sql = "select 1 / count(*) as n from items where id < 0"  shape = object }
route "/two" { sql = "select 1 as a union all select 2"  shape = object }
route "/secret/{word}" {
  param "word" { type = text }
  sql = "select nonsense($1::text)"
}
"""
WRONG = [
    "/items/x", "/items/0", "/items/1001", "/items/-1", "/items/1.5", "/items/%31x", "/items/1%",
    "/items/%zz", "/items/9223372036854775808", "/items/7%00",
    "/search", "/search?q=toolong", "/search?q=%ff", "/search?q=a%00b", "/search?q=%c0%af",
    "/search?q=a&q=b", "/search?q=a&limit=0", "/search?q=a&limit=101", "/search?q=a&limit=",
    "/search?q=a&limit=1&limit=1", "/search?q=a&rate=1e3", "/search?q=a&rate=NaN",
    "/search?q=a&rate=" + "1" * 65, "/search?q=a&only=yes", "/search?q=a&token=1234",
    f"/search?q=a&token={UUID}0", "/search?q=a&since=2024-02-30", "/search?q=a&since=24-1-1",
    "/search?q=a&order=UP", "/search?q=a&order=sideways", "/search?q=%e2%82", "/search?q=a%2",
    "/strict?b=1", "/strict?a=1&b=",
]


def start(stack, **options):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'item ' || i from generate_series(1, 100) i")
    return stack.start(ROUTES, refresher=False, **options)


def check_problem(response, status):
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.control == "no-store"
    assert response.headers["content-length"] == str(len(response.body))
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status and problem["type"] == "about:blank"
    assert problem["title"] and problem["detail"]
    assert "cache-status" not in response.headers
    return problem


def test_wrong_parameters_reach_neither_redis_nor_postgres(stack):
    start(stack)
    with stack.redis.monitor() as seen:
        # past the web server, which refuses some of them itself
        for path in WRONG:
            check_problem(Response(*stack.ask(path)), 400)
        seen.settle()
        assert not [line for line in seen.lines if "leeway:{" in line]
    assert stack.executions("marker:") == 0


def test_a_detail_names_the_parameter_and_not_its_value(stack):
    start(stack)
    problem = check_problem(stack.get("/search?q=a&order=sideways"), 400)
    assert "order" in problem["detail"] and "sideways" not in problem["detail"]
    assert "sideways" not in stack.worker.log_text()


def test_right_values_of_every_type(stack):
    start(stack)
    response = stack.get(f"/search?q=a+b%2B&limit=007&rate=1.50&only=1&token={UUID.upper()}"
                         "&since=2024-02-29&order=down&unknown=x")
    assert response.status == 200
    assert response.json() == [{"q": "a b+", "l": 7, "r": 1.5, "o": True, "t": UUID,
                                "s": "2024-02-29", "u": "down"}]
    assert stack.get("/search?q=").json() == [
        {"q": "", "l": 20, "r": None, "o": False, "t": None, "s": None, "u": "up"}]


def test_equal_values_share_a_query(stack):
    start(stack)
    for path in ("/items/7", "/items/007", "/items/%37", "/items/7?utm=1"):
        assert stack.get(path).json()["id"] == 7
    assert stack.executions("marker:item") == 1


def test_a_value_never_becomes_a_header(stack):
    start(stack)
    for path in ("/search?q=x%0d%0ay:z", "/items/7%0d%0ax:%20y", "/items/7\r\nx: y"):
        headers = stack.ask(path)[1]
        assert not {"x", "y"} & set(headers)


def test_text_is_measured_in_characters(stack):
    start(stack)
    assert stack.get("/search?q=" + "%c3%a9" * 5).status == 200
    assert stack.get("/search?q=" + "%c3%a9" * 6).status == 400


def test_paths_that_are_no_route(stack):
    start(stack)
    for path in ("/", "/items", "/items/", "/items/7/", "/items//7", "//items/7", "/items/../two",
                 "/items/%2e%2e", "/./two", "/two/", "/TWO", "/items/7/8", "/two%2f"):
        check_problem(Response(*stack.ask(path)), 404)


def test_no_row_is_a_404_and_cached_for_its_own_budget(stack):
    start(stack)
    missing = stack.get("/items/500")
    problem = missing.json()
    assert (missing.status, problem["status"]) == (404, 404)
    assert missing.headers["content-type"] == "application/problem+json"
    assert "etag" not in missing.headers
    assert missing.cache == "leeway; fwd=uri-miss; fwd-status=404; stored"
    assert missing.control == \
        "private, max-age=9, stale-while-revalidate=0, stale-if-error=0"
    hit = stack.get("/items/500")
    assert (hit.status, hit.body) == (404, missing.body)
    assert hit.cache.startswith("leeway; hit; ttl=")
    assert stack.executions("marker:item") == 1
    entry = stack.entries.only()
    assert entry.status == 404
    expiry_ms = stack.redis.client().pexpiretime(entry.key)
    assert abs(expiry_ms - (entry.snapshot_us // 1000 + 10000)) <= 1

    stack.sql("insert into items values (500, 'late')")
    assert stack.get("/items/500").status == 404
    stack.entries.age(10)
    late = stack.get("/items/500")
    assert (late.status, late.json()["name"]) == (200, "late")


def test_a_404_has_no_stale_window(stack):
    start(stack)
    stack.get("/items/500")
    stack.entries.age(9.5)
    response = stack.get("/items/500")
    assert response.status == 404 and "stale" not in response.cache
    stack.worker.stop()
    assert not stack.redis.client().keys("{leeway:jobs}:*:list")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "FOO", "get"])
def test_other_methods_are_405(stack, method):
    start(stack)
    status, headers, body = stack.ask("/items/7", method=method)
    assert status == 405
    assert headers["allow"] == "GET, HEAD, OPTIONS"
    assert json.loads(body)["status"] == 405
    assert stack.executions("marker:item") == 0


def test_options_says_what_is_allowed(stack):
    start(stack)
    status, headers, body = stack.ask("/items/7", method="OPTIONS")
    assert (status, headers["allow"], body) == (204, "GET, HEAD, OPTIONS", b"")
    assert "content-length" not in headers


def test_a_sql_error_is_logged_and_not_shown(stack):
    start(stack)
    problem = check_problem(stack.get("/missing-table"), 500)
    assert "no_such_table" not in json.dumps(problem)
    line = wait_until(lambda: [line for line in stack.worker.log_text().splitlines()
                               if "42P01" in line], "the error is logged")[0]
    assert line.startswith("error ") and "route=/missing-table" in line


def test_no_value_gets_into_the_log(stack):
    start(stack)
    check_problem(stack.get("/secret/hunter2"), 500)
    wait_until(lambda: "42883" in stack.worker.log_text(), "the error is logged")
    assert "hunter2" not in stack.worker.log_text()


def test_values_that_postgres_refuses_are_400(stack):
    start(stack)
    check_problem(stack.get("/divide/0"), 400)
    check_problem(stack.get("/small/40000"), 400)
    assert stack.get("/divide/1").json() == {"result": 1}
    wait_until(lambda: "22003" in stack.worker.log_text(), "the refusal is logged")
    assert "40000" not in stack.worker.log_text()


def test_two_rows_for_an_object_are_a_logged_500(stack):
    start(stack)
    check_problem(stack.get("/two"), 500)
    wait_until(lambda: "route=/two" in stack.worker.log_text(), "it is logged")


def test_an_error_is_told_to_the_crowd_and_replaces_no_entry(stack):
    start(stack)
    stack.get("/items/7")
    entry = stack.entries.only()
    stack.sql("alter table items rename to hidden")
    stack.entries.age(20)
    moved = stack.redis.client().get(entry.key)
    assert stack.get("/items/7").status == 500
    crowd = stack.get("/items/7")
    assert crowd.status == 500 and crowd.headers["retry-after"] in ("1", "2")
    assert stack.executions("marker:item") == 1  # what fails to be parsed is not executed
    assert stack.redis.client().get(entry.key) == moved
    stack.sql("alter table hidden rename to items")
    wait_until(lambda: stack.get("/items/7").status == 200, "it recovers")


def test_a_slow_query_is_a_504(stack):
    stack.start("""route "/slow" { sql = "select pg_sleep(60)" }""", refresher=False,
                postgres="statement_timeout = 100ms")
    check_problem(stack.get("/slow"), 504)
    assert 'msg="query timed out" route=/slow' in stack.worker.log_text()


def test_a_query_slower_than_its_budget_is_a_504(stack):
    stack.start("""context "short" { budget = 1s }
route "/slow" { context = "short"  sql = "select pg_sleep(60)" }""", refresher=False)
    check_problem(stack.get("/slow"), 504)


def test_a_variable_that_the_web_server_does_not_vouch_for_is_401(stack):
    start(stack)
    assert stack.ask("/mine")[0] == 401
    assert stack.ask("/mine", REMOTE_USER="")[0] == 401
    assert stack.ask("/mine?user=mallory")[0] == 401
    assert stack.executions("marker:mine") == 0
    status, headers, body = stack.ask("/mine?user=mallory", REMOTE_USER="alice")
    assert (status, json.loads(body)) == (200, {"login": "alice"})
    assert headers["cache-control"].startswith("private, ")
    assert json.loads(stack.ask("/mine", REMOTE_USER="bob")[2]) == {"login": "bob"}


def test_a_session_can_only_read(stack):
    stack.sql("create table notes (t text)")
    stack.sql("create function note() returns text language sql as "
              "$$ insert into notes values ('x') returning t $$")
    stack.start("""
route "/call" { sql = "select note()" }
route "/write" { sql = "with made as (insert into notes values ('x') returning t) table made" }
""", refresher=False)
    assert stack.get("/call").status == 500
    assert stack.get("/write").status == 500
    assert stack.sql("select count(*) from notes") == [(0,)]


def test_a_value_of_the_data_is_no_clients_fault(stack):
    start(stack)
    check_problem(stack.get("/data"), 500)
    assert "sqlstate=22012" in stack.worker.log_text()

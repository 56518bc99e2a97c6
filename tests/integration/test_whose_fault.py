# SPDX-License-Identifier: BSD-2-Clause
"""Which status a query's error is: the client's, the data's, the operator's, or the SQL's choice."""
import json

import pytest

from harness import fastcgi
from harness.address import Address
from harness.pgbouncer import start_pgbouncer
from harness.postgres import GATE
from harness.postgres_proxy import PostgresProxy
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 20s  negative_budget = 10s }}
context "lenient" {{ budget = 20s  stale_if_error = 1h }}
route "/chosen/{{state}}" {{
  context = "c"
  param "state" {{ type = text }}
  sql = "select chosen($1) as n -- marker:chosen"
  shape = value
}}
route "/wide/{{n}}" {{
  param "n" {{ type = int }}
  param "day" {{ type = text  default = "2026-01-01" }}
  sql = "select $1::int as n, $2::date as day"
}}
route "/divide/{{by}}" {{ param "by" {{ type = int }}  sql = "select 1 / $1::int as n"  shape = value }}
route "/stored/{{id}}" {{
  param "id" {{ type = int }}
  sql = "select body ->> 'a' as a from stored where id = $1"
}}
route "/stored" {{ sql = "select body ->> 'a' as a from stored" }}
route "/literal/{{n}}" {{ param "n" {{ type = int }}  sql = "select $1::int + int 'x' as n" }}
route "/locked" {{ context = "lenient"  sql = "select n from locked -- marker:locked"  shape = value }}
route "/gated/{{id}}" {{
  context = "lenient"
  param "id" {{ type = int }}
  sql = "select $1::int as n from {GATE} -- marker:gated"
  shape = value
}}
route "/items/{{id}}" {{ param "id" {{ type = int }}  sql = "select $1::int as n"  shape = value }}
"""
STATES = {"PT400": 400, "PT403": 403, "PT404": 404, "PT409": 409, "PT410": 410, "PT422": 422,
          "PT401": 500, "PT500": 500, "PT200": 500, "PT4x4": 500}


def start(stack, **options):
    stack.sql("create function chosen(state text) returns int language plpgsql as $$ begin"
              " raise exception using errcode = state, message = 'No \"item\" caf\u00e9.'; end $$")
    stack.sql("create table stored (id int, body json)")
    stack.sql(r"""insert into stored values (1, '{"a": "\u0000"}')""")
    stack.sql("create table locked (n int)")
    stack.sql("insert into locked values (1)")
    return stack.start(ROUTES, refresher=False, **options)


def await_line(stack, *texts):
    return wait_until(lambda: [line for line in stack.worker.log_text().splitlines()
                               if all(text in line for text in texts)], f"{texts} are logged")[0]


@pytest.mark.parametrize("state", sorted(STATES))
def test_sql_chooses_a_status(stack, state):
    start(stack)
    first = stack.get(f"/chosen/{state}".replace("PT4x4", "PT4X4"))
    assert (first.status, first.json()["status"]) == (STATES[state], STATES[state])
    told = first.json()["detail"] == 'No "item" caf\u00e9.'
    assert told == (STATES[state] != 500)
    again = stack.get(f"/chosen/{state}".replace("PT4x4", "PT4X4"))
    if STATES[state] in (404, 410):
        assert first.control.startswith("private, max-age=9, ")
        assert first.cache == f"leeway; fwd=uri-miss; fwd-status={STATES[state]}; stored"
        assert again.cache.startswith("leeway; hit; ttl=")
        assert (again.status, again.body) == (first.status, first.body)
        assert stack.executions("marker:chosen") == 1
        assert stack.entries.only().status == STATES[state]
        stack.entries.age(10)
        assert stack.get(f"/chosen/{state}").cache.startswith("leeway; fwd=")
    else:
        assert first.control == "no-store"
        assert not stack.entries.all()
    assert "caf" not in stack.worker.log_text()


def test_a_chosen_message_is_bounded_and_escaped(stack):
    stack.sql("create function long() returns int language plpgsql as $$ begin"
              " raise sqlstate 'PT422' using message = 'x' || repeat('\u00e9', 5000); end $$")
    stack.sql("create function lines() returns int language plpgsql as $$ begin"
              r" raise sqlstate 'PT404' using message = E'a\r\nSet-Cookie: b\t\\'; end $$")
    stack.start("""route "/long" { sql = "select long() as n" }
route "/lines" { sql = "select lines() as n" }""", refresher=False)
    detail = stack.get("/long").json()["detail"]
    assert detail == "x" + "\u00e9" * ((len(detail.encode()) - 1) // 2)
    assert 990 <= len(detail.encode()) <= 1000
    lines = stack.get("/lines")
    assert (lines.status, lines.json()["detail"]) == (404, "a\r\nSet-Cookie: b\t\\")
    assert "set-cookie" not in lines.headers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_crowd_is_told_what_sql_has_chosen(stack, workers):
    stack.sql("create function taken() returns int language plpgsql as $$ begin"
              f" perform 1 from {GATE}; raise sqlstate 'PT409' using message = 'Taken.'; end $$")
    stack.start("""route "/taken" { sql = "select taken() as n -- marker:taken" }""",
                refresher=False, workers=workers)
    with stack.gate():
        crowd = [fastcgi.Connection(stack.socket) for _ in range(12)]
        for connection in crowd:
            connection.send(fastcgi.request("/taken"))
        wait_until(lambda: stack.executions("marker:taken") == 1, "one runs")
        stack.ask("/elsewhere")  # one worker has taken the others before
    answers = [connection.read_answer() for connection in crowd]
    assert {status for status, _, _ in answers} == {409}
    assert stack.executions("marker:taken") == 1
    details = {json.loads(body)["detail"] for _, _, body in answers}
    assert "Taken." in details
    if workers == 1:
        assert details == {"Taken."}
        assert not any("retry-after" in headers for _, headers, _ in answers)


def test_a_refused_parameter_is_named(stack):
    start(stack)
    for path, name, value in (("/wide/40000000000", "n", "40000000000"),
                              ("/wide/1?day=2024-02-31", "day", "2024-02-31"),
                              ("/wide/1?day=hunter2", "day", "hunter2")):
        problem = stack.get(path).json()
        assert problem["status"] == 400
        assert f'"{name}"' in problem["detail"] and value not in json.dumps(problem)
        assert value not in stack.worker.log_text()
    await_line(stack, "a value was refused by postgres", "sqlstate=22007", "parameter=day")


def test_what_comes_up_in_execution_names_nobody(stack):
    start(stack)
    for path, state in (("/divide/0", "22012"), ("/stored/1", "22P05")):
        problem = stack.get(path).json()
        assert (problem["status"], "parameter \"" in problem["detail"]) == (400, False)
        await_line(stack, "a value was refused by postgres", f"sqlstate={state}")
    # nobody has sent a value, or it does not matter which
    assert stack.get("/stored").status == 500
    assert stack.get("/literal/1").status == 500


@pytest.fixture(name="lock")
def make_lock(stack):
    """Locks a table; a connection that ends gives it back."""
    made = []

    def take(table):
        connection = stack.postgres.connect(stack.database)
        made.append(connection)
        connection.autocommit = False
        connection.cursor().execute(f"lock table {table}")
        return connection

    yield take
    for connection in made:
        connection.close()


@pytest.mark.parametrize("prepared_before", [True, False])
def test_a_lock_timeout_is_a_timeout(stack, lock, prepared_before):
    stack.sql(f"alter database {stack.database} set lock_timeout = '100ms'")
    start(stack, workers=1, postgres="statement_timeout = 10s")
    if prepared_before:
        assert stack.get("/locked").status == 200
        stack.entries.age(20)
    held = lock("locked")
    answer = stack.get("/locked")
    if prepared_before:
        assert (answer.status, "detail=stale-if-error" in answer.cache) == (200, True)
    else:
        assert answer.status == 504
    line = await_line(stack, "query timed out", "route=/locked")
    assert "sqlstate=55P03" in line
    held.close()


def test_a_transaction_timeout_is_a_timeout(stack):
    """As of version 17 it ends the session: the query is not sent again."""
    proxy = PostgresProxy(stack.path("proxy"), stack.postgres.folder)
    proxy.rewritten = (b"C57P01", b"C25P04")
    stack.postgres_conninfo = f"host={proxy.folder} user=leeway dbname={stack.database}"
    start(stack, workers=1)
    with stack.gate():
        answer = stack.get_later("/gated/1")
        wait_until(lambda: stack.executions("marker:gated") == 1, "it is under way")
        stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                  " where application_name = 'leeway' and datname = current_database()"
                  " and query like '%marker:gated%'")
        assert answer.result().status == 504
    assert stack.executions("marker:gated") == 1
    await_line(stack, "query timed out", "sqlstate=25P04")
    assert "query failed" not in stack.worker.log_text()


def cancel(stack):
    stack.sql("select pg_cancel_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
              " and datname = current_database() and query like '%marker:gated%'")


def test_a_query_that_an_operator_cancels_has_not_timed_out(stack):
    start(stack)
    with stack.gate():
        later = stack.get_later("/gated/1")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        cancel(stack)
        answer = later.result()
    assert answer.status == 503 and answer.headers["retry-after"] in ("1", "2")
    await_line(stack, "query canceled", "route=/gated/{id}", "sqlstate=57014")
    assert "query timed out" not in stack.worker.log_text()
    wait_until(lambda: stack.get("/gated/1").status == 200, "the key is free again")
    stack.entries.age(20)
    with stack.gate():
        later = stack.get_later("/gated/1")
        wait_until(lambda: stack.executions("marker:gated") == 3, "the query is under way")
        cancel(stack)
        assert "detail=stale-if-error" in later.result().cache


def test_a_query_is_sent_again_twice(stack):
    start(stack, workers=1)
    with stack.gate():
        request = stack.get_later("/gated/1")
        for times in (1, 2):
            wait_until(lambda n=times: stack.executions("marker:gated") == n, "it is under way")
            stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                      " where application_name = 'leeway' and datname = current_database()"
                      " and query like '%marker:gated%'")
        wait_until(lambda: stack.executions("marker:gated") == 3, "it is sent again")
    assert request.result().status == 200


@pytest.fixture(name="few")
def make_few(stack):
    """A role that may have three connections."""
    stack.sql("drop role if exists few")
    stack.sql("create role few login connection limit 3")
    stack.postgres_conninfo = stack.postgres_conninfo.replace("user=leeway", "user=few")
    yield
    stack.stop()
    stack.sql("drop role few")


def postgres_up(stack):
    text = stack.ask("/metrics")[2].decode()
    return {line.split()[-1] for line in text.splitlines()
            if line.startswith("leeway_postgres_up")}


def check_crowd(stack, refusal):
    with stack.gate():
        crowd = [stack.get_later(f"/gated/{i}") for i in range(8)]
        wait_until(lambda: stack.executions("marker:gated") == 3, "three run")
        await_line(stack, "cannot connect to postgres", refusal)
        assert postgres_up(stack) == {"1"}
    assert [request.result().status for request in crowd] == [200] * 8
    assert postgres_up(stack) == {"1"}
    assert stack.worker.log_text().count("cannot connect to postgres") == 1
    assert stack.get("/items/1").status == 200


@pytest.mark.usefixtures("few")
def test_without_further_connections_the_living_ones_do(stack):
    start(stack, workers=1, postgres="slots = 8  slot_timeout = 10s")
    check_crowd(stack, "too many connections for role")


def test_a_poolers_refusal_is_alike(stack):
    start_pgbouncer(stack, "transaction", more="max_client_conn = 3")
    start(stack, workers=1, postgres="slots = 8  slot_timeout = 10s")
    check_crowd(stack, "no more connections allowed")


@pytest.mark.usefixtures("few")
def test_without_any_connection_it_is_503(stack):
    start(stack, workers=1, postgres="slots = 8  slot_timeout = 200ms")
    assert stack.get("/gated/1").status == 200
    stack.entries.age(20)
    stack.sql("alter role few connection limit 0")
    stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'few'")
    assert stack.get("/items/2").status == 503
    assert "detail=stale-if-error" in stack.get("/gated/1").cache
    wait_until(lambda: postgres_up(stack) == {"0"}, "the metrics tell")


@pytest.mark.usefixtures("few")
def test_who_waits_for_a_connection_in_vain_gets_503_in_time(stack):
    start(stack, workers=1, postgres="slots = 8  slot_timeout = 200ms")
    assert stack.get("/gated/3").status == 200
    stack.entries.age(20)
    with stack.gate():
        held = [stack.get_later(f"/gated/{i}") for i in range(3)]
        wait_until(lambda: stack.executions("marker:gated") == 4, "three run")
        answer = stack.get("/items/1")
        assert answer.status == 503 and answer.headers["retry-after"] in ("1", "2")
        assert "detail=stale-if-error" in stack.get("/gated/3").cache
        assert postgres_up(stack) == {"1"}
    assert [request.result().status for request in held] == [200] * 3


def test_a_host_that_cannot_connect_leaves_others_alone(stack):
    """Its failure is no word of the database's about the query, and marks no key."""
    address = Address(stack.path("postgres"))
    address.point(stack.postgres)
    hosts = {}
    for name, folder in ("able", stack.postgres.folder), ("unable", address.folder):
        host = hosts[name] = stack.beside(name)
        host.postgres_conninfo = f"host={folder} user=leeway dbname={stack.database}"
        host.configure(ROUTES, workers=1, redis='namespace = "fleet"')
        host.start_worker()
    address.clear()
    stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
              " where datname = current_database() and pid <> pg_backend_pid()")
    for i in range(20):
        assert hosts["unable"].ask(f"/gated/{i}")[0] == 503
        assert hosts["able"].ask(f"/gated/{i}")[0] == 200

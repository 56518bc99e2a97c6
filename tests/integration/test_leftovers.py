# SPDX-License-Identifier: BSD-2-Clause
"""A route's query leaves nothing behind in its session, nor in anybody else's."""
import re

import psycopg2
import pytest

from harness.pgbouncer import start_pgbouncer

ROUTES = """
context "none" { budget = 0s }
route "/count" {
  context = "none"
  sql = "select count(*)::int as n from t"
  shape = value
}
route "/set" {
  context = "none"
  param "name"  { type = text }
  param "value" { type = text }
  sql = "select set_config($1, $2, false) as set"
  shape = value
}
route "/get" {
  context = "none"
  param "name" { type = text }
  sql = "select current_setting($1) as set"
  shape = value
}
route "/lock" {
  context = "none"
  sql = "select pg_advisory_lock(77)::text as lock"
  shape = value
}
route "/locks" {
  context = "none"
  sql = "select count(*)::int as n from pg_locks where locktype = 'advisory'"
  shape = value
}
route "/cursor" {
  context = "none"
  sql = "select leaves_a_cursor() as n"
  shape = value
}
route "/cursors" {
  context = "none"
  sql = "select count(*)::int as n from pg_cursors where name = 'left'"
  shape = value
}
route "/listen" {
  context = "none"
  sql = "select listens() as n"
  shape = value
}
route "/channels" {
  context = "none"
  sql = "select count(*)::int as n from pg_listening_channels()"
  shape = value
}
route "/write" {
  context = "none"
  sql = "select writes() as n"
  shape = value
}
route "/read-only" {
  context = "none"
  sql = "select pg_backend_pid() as pid, current_setting('transaction_read_only') as read_only,
         current_setting('transaction_isolation') as isolation"
  shape = object
}
route "/fail" {
  context = "none"
  sql = "select set_config('TimeZone', 'Asia/Tokyo', false), 1 / (select count(*) from t where n < 0)"
  shape = object
}
route "/instant" {
  context = "none"
  sql = "select timestamptz '2026-01-01 00:00+00' as t"
  shape = value
}
route "/time" {
  context = "none"
  sql = "select timestamptz '2026-01-01 00:00+00' as t, '1 day 2 hours'::interval as i,
         '\\\\x00ff'::bytea as b, 0.1::float8 as f"
  shape = object
}
"""
TIME = {"t": "2026-01-01T00:00:00+00:00", "i": "1 day 02:00:00", "b": "\\x00ff", "f": 0.1}
FUNCTIONS = [
    "create table t (n int)",
    "insert into t values (1)",
    """create function leaves_a_cursor() returns int language plpgsql as $$ begin
       execute 'declare "left" cursor with hold for select 1'; return 1; end $$""",
    """create function listens() returns int language plpgsql as $$ begin
       execute 'listen anything'; return 1; end $$""",
    """create function writes() returns int language plpgsql as $$ begin
       perform set_config('transaction_read_only', 'off', false);
       insert into t values (2); return 1; end $$""",
]
MODES = [pytest.param("", id="named"), pytest.param("prepared = false", id="unnamed"),
         pytest.param("pooler = transaction", id="pooled"),
         pytest.param("pooler = session", id="session")]


def make_functions(stack):
    for sql in FUNCTIONS:
        stack.sql(sql)


def start(stack, postgres=""):
    make_functions(stack)
    return stack.start(ROUTES, refresher=False, workers=1, postgres=postgres)


@pytest.mark.parametrize("options", MODES)
def test_settings_do_not_stay(stack, options):
    start(stack, options)
    for name, value in {"TimeZone": "Asia/Tokyo", "IntervalStyle": "iso_8601",
                        "bytea_output": "escape", "extra_float_digits": "-5",
                        "default_transaction_read_only": "on", "search_path": "nowhere",
                        "statement_timeout": "1", "work_mem": "65",
                        "default_transaction_isolation": "serializable",
                        "application_name": "somebody"}.items():
        before = stack.get(f"/get?name={name}").json()
        assert stack.get(f"/set?name={name}&value={value}").status == 200
        assert stack.get(f"/get?name={name}").json() == before != value
        assert stack.get("/time").json() == TIME
    assert stack.get("/fail").status in (400, 500)
    assert stack.get("/time").json() == TIME


@pytest.mark.parametrize("options", MODES)
def test_cursors_and_channels_do_not_stay(stack, options):
    start(stack, options)
    assert stack.get("/cursor").status == 200
    assert stack.get("/cursors").json() == 0
    assert stack.get("/listen").status == 200
    assert stack.get("/channels").json() == 0


@pytest.mark.parametrize("options", ["", "pooler = session"])
def test_advisory_locks_do_not_stay(stack, options):
    start(stack, options)
    assert stack.get("/lock").status == 200
    # it has been given back once another may take it
    stack.sql("set statement_timeout = '20s'; select pg_advisory_lock(77)")


@pytest.mark.parametrize("options", MODES)
def test_every_query_is_read_only_and_read_committed(stack, options):
    stack.sql("alter role leeway set default_transaction_isolation = 'repeatable read'")
    stack.sql("alter role leeway set default_transaction_deferrable = on")
    try:
        start(stack, options)
        said = stack.get("/read-only").json()
        assert (said["read_only"], said["isolation"]) == ("on", "read committed")
        assert stack.get("/write").status == 500
        assert stack.sql("select count(*) from t where n = 2") == [(0,)]
    finally:
        stack.sql("alter role leeway reset all")


@pytest.mark.parametrize("options", ["", "prepared = false"])
def test_functions_that_take_our_statements_away(stack, options):
    stack.sql("""create function takes_all() returns int language plpgsql as $$ begin
                 execute 'deallocate all'; return 1; end $$""")
    make_functions(stack)
    stack.start(ROUTES + """
route "/takes-all" { context = "none"  sql = "select takes_all() as n"  shape = value }
""", refresher=False, workers=1, postgres=options)
    for _ in range(3):
        assert stack.get("/takes-all").json() == 1
        assert stack.get("/time").json() == TIME


@pytest.mark.parametrize("options", ["", "prepared = false"])
def test_a_session_is_not_left_in_a_transaction(stack, options):
    start(stack, options)
    for n in range(1, 4):
        assert stack.get("/count").json() == n
        stack.sql("insert into t values (9)")
        assert stack.get("/fail").status in (400, 500)
        assert stack.sql("select count(*) from pg_stat_activity where state like 'idle in%'"
                         " and datname = current_database()") == [(0,)]


@pytest.mark.parametrize("size", [1, 3])
def test_a_neighbour_behind_a_pooler_is_left_alone(stack, size):
    """prepared is true, as by default: there is nothing that the operator has said."""
    start_pgbouncer(stack, "transaction", size)
    start(stack)
    neighbour = psycopg2.connect(stack.postgres_conninfo)
    neighbour.autocommit = True
    with neighbour.cursor() as cursor:
        for n in range(10):
            assert [answer.status for answer in stack.get_many(["/count", "/time", "/count"])] == [
                200, 200, 200]
            assert stack.get("/time").json() == TIME
            cursor.execute("insert into t values (%s)", (n,))
            cursor.execute("show default_transaction_read_only")
            assert cursor.fetchone() == ("off",)
            cursor.execute("show statement_timeout")
            assert cursor.fetchone() == ("0",)
            assert stack.get("/set?name=TimeZone&value=Asia/Tokyo").status == 200
            cursor.execute("show TimeZone")
            assert cursor.fetchone() != ("Asia/Tokyo",)
    neighbour.close()
    assert "pooler" in stack.worker.log_text()
    checked = stack.run("leewayctl", "-c", stack.config, "check")
    assert "pooler" in checked.stdout


def named_executions(stack):
    """How often a route's statement was executed by name."""
    with open(stack.postgres.log, encoding="utf-8", errors="replace") as log:
        return sum(1 for line in log if line.startswith(stack.database + " ") and
                   re.search(r"execute leeway_[0-9a-f]{8}_", line))


def test_a_pooler_in_session_mode(stack):
    start_pgbouncer(stack, "session", 10)
    start(stack, "pooler = session")
    for _ in range(5):
        assert stack.get("/time").json() == TIME
        assert stack.get("/write").status == 500
    assert named_executions(stack) >= 10
    # another process of ours on the same server connections, which nobody has reset
    stack.worker.stop()
    stack.worker = stack.start_worker(name="again")
    assert stack.get("/time").json() == TIME


def test_statements_have_names_unless_there_is_a_pooler(stack):
    start(stack)
    assert stack.get("/time").json() == TIME
    assert named_executions(stack) == 1
    assert "pooler" not in stack.worker.log_text()


def test_a_neighbour_chooses_nothing_for_us(stack):
    """What it leaves in a server connection that both use: objects, path, role."""
    start_pgbouncer(stack, "transaction", 1)
    make_functions(stack)
    stack.sql("create schema other")
    stack.sql("create table other.t (n int)")
    stack.sql("drop role if exists lesser")
    stack.sql("create role lesser")
    stack.start(ROUTES, refresher=False, workers=1)
    assert stack.get("/count").json() == 1
    neighbour = psycopg2.connect(stack.postgres_conninfo)
    neighbour.autocommit = True
    with neighbour.cursor() as cursor:
        for sql in ("create temp table t (n int)", "set search_path = other", "set role lesser"):
            cursor.execute(sql)
            assert stack.get("/count").json() == 1
        cursor.execute("show search_path")
        assert cursor.fetchone() == ("other",)
        cursor.execute("reset role")
    neighbour.close()
    stack.sql("drop role lesser")


def test_a_role_that_may_not_read_the_catalog(stack):
    make_functions(stack)
    stack.sql("drop role if exists poor")
    stack.sql("create role poor login")
    stack.sql("grant select on t to poor")
    stack.sql("revoke all on pg_catalog.pg_database from public")
    stack.sql("revoke all on function pg_catalog.pg_control_system() from public")
    stack.sql(f"alter role poor in database {stack.database} set statement_timeout = 3")
    stack.postgres_conninfo = stack.postgres_conninfo.replace("user=leeway", "user=poor")
    stack.start(ROUTES, refresher=False, workers=1)
    assert stack.get("/time").json() == TIME
    assert stack.get("/count").json() == 1
    stack.worker.stop()
    stack.sql("drop owned by poor")
    stack.sql("drop role poor")


def test_no_operator_or_function_is_looked_for_along_the_path(stack):
    make_functions(stack)
    for name, body in {
            "pg_backend_pid()": "select 1", "pg_is_in_recovery()": "select true",
            "set_config(text, text, boolean)": "select 'x'::text",
            "current_setting(text)": "select 'x'::text",
            "pg_advisory_unlock_all()": "select true",
            "to_json(timestamptz)": "select '1'::json"}.items():
        kind = {"1": "int", "true": "boolean", "'1'::json": "json"}.get(body.split()[-1], "text")
        stack.sql(f"create function public.{name} returns {kind} language sql as $$ {body} $$")
    stack.sql("""create function public.never(anyelement, anyelement) returns boolean
                 language plpgsql as $$ begin raise 'ours'; end $$""")
    for kind in ("name", "text"):
        stack.sql(f"""create function public.never({kind}, {kind}) returns boolean
                     language plpgsql as $$ begin raise 'ours'; end $$""")
        for operator in ("=", "<>"):
            stack.sql(f"create operator public.{operator} (leftarg = {kind}, rightarg = {kind},"
                      " function = public.never)")
    stack.sql(f"alter database {stack.database} set search_path = public, pg_catalog")
    stack.start(ROUTES, refresher=False, workers=1)
    assert stack.get("/time").json() == TIME
    assert stack.get("/instant").json() == "2026-01-01T00:00:00+00:00"
    assert stack.get("/lock").status == 200
    assert stack.run("leewayctl", "-c", stack.config, "check").returncode in (0, 1)

# SPDX-License-Identifier: BSD-2-Clause
"""A query is read by the plan that it was sent with, whatever others and the tables do meanwhile."""
import json

import pytest

from harness.postgres import GATE
from harness.postgres_proxy import PostgresProxy
from harness.wait import wait_until


ROUTES = f"""
context "c" {{ budget = 20s }}
route "/truncated/{{id}}" {{
  context = "c"
  param "id"   {{ type = int }}
  param "unit" {{ type = text  default = "day" }}
  sql = "select $1::int as id, date_trunc($2, timestamp '2026-01-02 03:04:05') as at,
         $1::int::text as word -- marker:truncated"
  shape = object
}}
route "/left" {{
  context = "c"
  param "n" {{ type = int }}
  sql = "select $1::int as n, (select count(*) from pg_prepared_statements)::int as statements"
  shape = object
}}
route "/rows/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select * from t where id = $1 -- marker:rows"
  shape = object
}}
route "/held/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select said(), $1::int as id from {GATE} -- marker:held"
  shape = object
}}
route "/said/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select said(), $1::int as id, 1 as one -- marker:said"
  shape = object
}}
route "/moods/{{mood}}" {{
  context = "c"
  param "mood" {{ type = text }}
  param "n"    {{ type = int  default = "0" }}
  sql = "select name, $2::int as n from people where mood = $1"
}}
route "/waiting/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select t.* from t, {GATE} where id = $1 -- marker:waiting"
  shape = object
}}
route "/failing/{{n}}" {{
  context = "c"
  param "n" {{ type = int }}
  sql = "select fails($1) as n -- marker:failing"
  shape = object
}}
"""
NAMED = [pytest.param("", id="named"), pytest.param("prepared = false", id="unnamed")]


def start(stack, postgres="", workers=1):
    stack.sql("create table t (id int primary key, name text)")
    stack.sql("insert into t select i, 'name ' || i from generate_series(1, 1000) i")
    stack.sql("create type mood as enum ('happy', 'sad')")
    stack.sql("create table people (name text, mood mood)")
    stack.sql("insert into people values ('Ann', 'happy'), ('Bob', 'sad')")
    stack.sql("create function said() returns text stable language sql as $$ select 'word' $$")
    stack.sql("""create function fails(n int) returns int language plpgsql as
                 $$ begin raise sqlstate 'XX001' using message = 'it fails ' || n; end $$""")
    return stack.start(ROUTES, refresher=False, workers=workers, postgres=postgres,
                       settings="drain_timeout = 30s")


@pytest.mark.parametrize("options", NAMED)
def test_no_client_makes_others_answers_be_read_wrongly(stack, options):
    start(stack, options + " slots = 16")
    for turn in range(40):
        ids = range(turn * 12, turn * 12 + 12)
        hostile = [f"/truncated/{i}?unit=timezone" for i in ids[:3]]
        answers = stack.get_many(hostile + [f"/truncated/{i}" for i in ids])
        assert [answer.json() for answer in answers[3:]] == [
            {"id": i, "at": "2026-01-02T00:00:00", "word": str(i)} for i in ids]
        assert {answer.status for answer in answers[:3]} <= {400, 500}


def test_failing_queries_leave_no_statements_behind(stack):
    start(stack)
    for i in range(30):
        assert stack.get(f"/truncated/{i}?unit=timezone").status == 500
        assert stack.get(f"/truncated/{i}").status == 200
    # the two of the first route, that of the second, and what goes around each query
    assert stack.get("/left?n=1").json()["statements"] <= 10


@pytest.mark.parametrize("options", NAMED)
def test_a_table_altered_under_waiting_queries(stack, options):
    start(stack, options + " slots = 20  statement_timeout = 30s")
    assert stack.get("/rows/1").json() == {"id": 1, "name": "name 1"}
    owner = stack.postgres.connect(stack.database)
    owner.autocommit = False
    with owner.cursor() as cursor:
        cursor.execute("alter table t add column at timestamptz default '2026-01-01 00:00+00'")
        waiting = [stack.get_later(f"/rows/{i}") for i in range(2, 18)]
        wait_until(lambda: stack.sql("select count(*) from pg_locks where not granted and "
                                     "relation = 't'::regclass") >= [(16,)], "all wait for the lock")
    owner.commit()
    owner.close()
    wanted = [{"id": i, "name": f"name {i}", "at": "2026-01-01T00:00:00+00:00"}
              for i in range(2, 18)]
    assert [later.result().json() for later in waiting] == wanted
    assert [stack.get(f"/rows/{i}").json() for i in range(2, 18)] == wanted  # what was stored


@pytest.mark.parametrize("options", NAMED)
def test_columns_that_a_rendered_row_hides(stack, options):
    stack.sql("create table b (ref int, at date default '2026-01-01')")
    stack.sql("insert into b values (1)")
    stack.sql("create table a (d date default '2026-01-02')")
    stack.sql("insert into a default values")
    stack.start("""context "none" { budget = 0s }
route "/both"  { context = "none"  sql = "select * from a, b"  shape = object }
route "/value" { context = "none"  sql = "select a.* from a, b"  shape = value }
""", refresher=False, workers=1, postgres=options)
    assert stack.get("/both").json() == {"d": "2026-01-02", "ref": 1, "at": "2026-01-01"}
    assert stack.get("/value").json() == "2026-01-02"
    stack.sql("alter table a add column more int default 7")
    assert stack.get("/both").json() == {"d": "2026-01-02", "more": 7, "ref": 1,
                                         "at": "2026-01-01"}
    assert stack.get("/value").status == 500
    stack.sql("alter table a rename column more to at")
    assert stack.get("/both").status == 500  # two columns of one name, as after a fresh start


def test_statements_of_earlier_plans_are_given_up(stack):
    start(stack)
    for n in range(6):
        assert stack.get(f"/rows/{n + 1}").status == 200
        stack.sql(f"alter table t add column more{n} date")
        assert f"more{n}" in stack.get(f"/rows/{n + 101}").json()
    # the last one's two, that of /left, and what goes around each query
    assert stack.get("/left?n=1").json()["statements"] <= 10


@pytest.mark.parametrize("options", NAMED)
def test_a_plan_that_changes_while_another_query_runs(stack, options):
    start(stack, options + " slots = 20  statement_timeout = 30s")
    with stack.gate():
        held = [stack.get_later(f"/held/{i}") for i in range(3)]
        wait_until(lambda: stack.executions("held") >= 3, "they are at the gate")
        stack.sql("drop function said()")
        stack.sql("create function said() returns timestamptz stable language sql as "
                  "$$ select timestamptz '2026-01-01 00:00+00' $$")
        # a fourth one finds the columns changed
        fourth = stack.get_later("/held/4")
        wait_until(lambda: stack.executions("held") >= 4, "the fourth is there too")
    assert [later.result().json() for later in held] == [
        {"said": "word", "id": i} for i in range(3)]
    assert fourth.result().json() == {"said": "2026-01-01T00:00:00+00:00", "id": 4}
    assert [json.loads(stack.get(f"/held/{i}").body)["id"] for i in range(3)] == [0, 1, 2]


def test_types_that_are_dropped_and_made_anew(stack):
    start(stack)
    assert stack.get("/moods/sad").json() == [{"name": "Bob", "n": 0}]
    stack.sql("alter table people alter mood type text")
    stack.sql("drop type mood")
    stack.sql("create type mood as enum ('sad', 'happy', 'angry')")
    stack.sql("alter table people alter mood type mood using mood::mood")
    for n in range(1, 4):
        assert stack.get(f"/moods/happy?n={n}").json() == [{"name": "Ann", "n": n}]


def test_a_column_of_another_type_under_a_parameter(stack):
    start(stack)
    assert stack.get("/rows/1").json() == {"id": 1, "name": "name 1"}
    stack.sql("alter table t alter id type text")
    for i in range(2, 5):
        assert stack.get(f"/rows/{i}").json() == {"id": str(i), "name": f"name {i}"}


def test_a_statement_that_fails_alike_is_not_prepared_again_each_time(stack):
    start(stack)
    for i in range(20):
        assert stack.get(f"/failing/{i}").status == 500
    # the first one had just been prepared; of the second the fresh preparation failed alike
    assert 20 <= stack.executions("failing") <= 21


def test_a_preparation_that_is_broken_off(stack):
    """Of the two statements of a row that is rendered as text the first is there, and not the
    second: as after a cancel in between. The next query of the session prepares both anew."""
    proxy = PostgresProxy(stack.path("proxy"), stack.postgres.folder)
    stack.postgres_conninfo = f"host={proxy.folder} user=leeway dbname={stack.database}"
    start(stack)
    named = b"_1\0select pg_catalog.row_to_json("
    proxy.rewritten = (named, named.replace(b"json", b"jsox"))
    assert stack.get("/truncated/1").status == 500
    assert proxy.rewrites == 1
    proxy.rewritten = None
    wait_until(lambda: stack.get("/truncated/2").status == 200, "it is prepared")
    assert len(proxy.connections) == 2

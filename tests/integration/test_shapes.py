# SPDX-License-Identifier: BSD-2-Clause
"""The JSON is what row_to_json gives: values, order of keys, text of numbers."""
import json

import pytest

from harness.json_text import keep_text

COLUMNS = {
    "int": "42::int, -1::smallint, 9223372036854775807::bigint",
    "float": "0.1::float8, 1e300::float8, 1e-7::float8, 0.1::float4, -0::float8, 16777217::float4",
    "float_special": "'NaN'::float8, 'Infinity'::float8, '-Infinity'::float4",
    "numeric": "1.50::numeric, 123456789012345678901234567890.000001::numeric, 0::numeric(5,2)",
    "numeric_special": "'NaN'::numeric, 'Infinity'::numeric",
    "text": "'plain'::text, ''::text, 'é € 😀'::varchar, 'ab'::char(5), 'n'::name, 'q'::\"char\"",
    "control": r"""E'\x01\x02\x1f\x7f'::text, E'\b\f\n\r\t'::text, E'"\\/'::text, E'\u2028'::text""",
    "bool": "true, false",
    "json": """'{"b": 1,  "a": [1, 2.50], "b": 2}'::json, '[1,{"x":null}]'::json, '"s"'::json""",
    "jsonb": """'{"b": 1,  "a": [1, 2.50]}'::jsonb, '1e2'::jsonb, 'null'::jsonb""",
    "time": "'2024-02-29 12:34:56.789+02'::timestamptz, '2024-02-29 12:34:56'::timestamp,"
            " '2024-02-29'::date, '12:34'::time, 'infinity'::timestamptz,"
            " '1 year 2 days 3:04'::interval, '0044-03-15 BC'::date",
    "array": "array[1,2,3], array[['a','b'],['c',null]], '{}'::int[], array[0.10::numeric, 'NaN']",
    "composite": "row(1,'x',null), row(row(2.50,true),array[1])",
    "null": "null::int, null::text, null::jsonb, null::int[], null",
    "bytes": r"'\x00ff41'::bytea, '0f8fad5b-d9cb-469f-a165-70867728950e'::uuid",
    "odd": "'10.0.0.1/8'::inet, '(1,2)'::point, 'a'::xml, int4range(1,5), B'101', 12.34::money",
}
# Names that row_to_json must take as they are, in the order of the query.
NAMED = """select 1 as z, 2 as a, 3 as "Z", 4 as "with space", 5 as "quo""te", 6 as "é", 7 as "row",
           8 as "back\\slash" """


def conf_text(sql):
    return sql.replace("\\", "\\\\").replace('"', '\\"')


def select(columns):
    """Each column gets a name of its own, so that keys do not repeat."""
    parts, depth, start, quoted = [], 0, 0, False
    for at, char in enumerate(columns + ","):
        quoted ^= char == "'"
        depth += 0 if quoted else (char in "([{") - (char in ")]}")
        if char == "," and depth == 0 and not quoted:
            parts.append(columns[start:at])
            start = at + 1
    return "select " + ", ".join(f"{part} as c{n}" for n, part in enumerate(parts))


def expected(stack, sql):
    """By Postgres, in a session set up like leeway's."""
    connection = stack.postgres.connect(stack.database)
    try:
        with connection.cursor() as cursor:
            cursor.execute("set timezone = 'UTC'; set datestyle = 'ISO'")
            cursor.execute(f"select row_to_json(leeway_row)::text from ({sql}) leeway_row")
            return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()


def serve(stack, sql, shape="object", **options):
    stack.start(f'route "/r" {{ sql = "{conf_text(sql)}"  shape = {shape} }}', refresher=False,
                **options)
    response = stack.get("/r")
    assert response.status == 200, stack.worker.log_text()
    assert response.headers["content-length"] == str(len(response.body))
    assert stack.get("/r").body == response.body
    return response.body.decode("utf-8")


@pytest.mark.parametrize("kind", COLUMNS)
def test_types_in_an_object(stack, kind):
    sql = select(COLUMNS[kind])
    assert keep_text(serve(stack, sql)) == keep_text(expected(stack, sql)[0])


@pytest.mark.parametrize("kind", ["float_special", "time"])
def test_types_without_prepared_statements(stack, kind):
    sql = select(COLUMNS[kind])
    assert keep_text(serve(stack, sql, postgres="prepared = false")) == \
        keep_text(expected(stack, sql)[0])


def test_types_in_an_array_of_rows(stack):
    sql = " union all ".join(
        f"select {number} as n, {real} as r, {text} as t, {data} as j"
        for number, real, text, data in [
            ("1", "0.1::float8", "'a'", "'{\"k\":1.0}'::jsonb"),
            ("null", "'NaN'", "null", "null"),
            ("3", "'Infinity'", "E'\\x01'", "'[]'")])
    served = keep_text(serve(stack, sql, "array"))
    assert served == [keep_text(row) for row in expected(stack, sql)]


def test_names_and_their_order(stack):
    body = serve(stack, NAMED)
    assert keep_text(body) == keep_text(expected(stack, NAMED)[0])
    assert list(json.loads(body)) == ["z", "a", "Z", "with space", 'quo"te', "é", "row",
                                      "back\\slash"]


def test_columns_named_like_a_row_are_columns(stack):
    sql = 'select 1 as "leeway row", now() = now() as leeway_row, array[1] as "leeway value"'
    assert json.loads(serve(stack, sql)) == {"leeway row": 1, "leeway_row": True,
                                             "leeway value": [1]}


def test_json_goes_through_verbatim(stack):
    text = '{"b": 1,  "a": [1, 2.50], "b": 2}'
    assert serve(stack, f"select '{text}'::json as j", "value") == text


def test_an_array_of_no_rows(stack):
    assert serve(stack, "select 1 as n where false", "array") == "[]"


@pytest.mark.parametrize("sql, body", [
    ("select 42", "42"), ("select 'x'::text", '"x"'), ("select null::int", "null"),
    ("select null::jsonb", "null"), ("select true", "true"), ("select 'NaN'::float8", '"NaN"'),
    ("select array[1,2]", "[1,2]"), ("select date '2024-02-29'", '"2024-02-29"'),
    ("select '{\"a\": 1}'::jsonb", '{"a": 1}'), ("select 1.50", "1.50")])
def test_values(stack, sql, body):
    assert serve(stack, sql, "value") == body


def test_a_value_of_no_row_is_404(stack):
    stack.start('route "/r" { sql = "select 1 where false"  shape = value }', refresher=False)
    assert stack.get("/r").status == 404


@pytest.mark.parametrize("sql, shape", [
    ("select 1, 2", "value"), ("select 1 as a, 2 as a", "object"),
    ("select 1 as a union all select 2", "value")])
def test_queries_that_do_not_suit_their_shape_are_500(stack, sql, shape):
    stack.start(f'route "/r" {{ sql = "{sql}"  shape = {shape} }}', refresher=False)
    assert stack.get("/r").status == 500
    assert "route=/r" in stack.worker.log_text()


def test_a_comment_at_the_end_and_a_sql_file(stack):
    with open(stack.path("query.sql"), "w", encoding="utf-8") as out:
        out.write("-- a comment with a $2 in it\nselect $1::int as n,\n  '\"\\$9' as t -- the end")
    stack.start("""route "/r/{n}" { param "n" { type = int }  sql_file = "query.sql"
                   shape = object }""", refresher=False)
    assert stack.get("/r/5").json() == {"n": 5, "t": '"\\$9'}


@pytest.mark.parametrize("sql", ["select date '2024-02-29' as d;; -- done;",
                                 "-- first\nselect date '2024-02-29' as d; /* done */\n",
                                 "values (date '2024-02-29');", "table days",
                                 "with d as (table days) (select * from d)"])
def test_what_stands_around_a_query_that_postgres_renders(stack, sql):
    stack.sql("create table days as select date '2024-02-29' as d")
    assert serve(stack, sql, shape="value") == '"2024-02-29"'


def test_many_rows(stack):
    sql = "select i, i::text || 'é' as t, i % 2 = 0 as even from generate_series(1, 3000) i"
    served = json.loads(serve(stack, sql, "array"))
    assert served == [{"i": i, "t": f"{i}é", "even": i % 2 == 0} for i in range(1, 3001)]


def test_a_table_that_changes_is_no_error(stack):
    stack.sql("create table t (id int, v int)")
    stack.sql("insert into t select n, n from generate_series(1, 5) n")
    stack.start("""route "/t/{id}" { param "id" { type = int }
                   sql = "select * from t where id = $1"  shape = object }""", refresher=False,
                workers=1)
    assert stack.get("/t/1").json() == {"id": 1, "v": 1}
    stack.sql("alter table t alter v type text")
    assert stack.get("/t/2").json() == {"id": 2, "v": "2"}
    stack.sql("alter table t add d date default '2026-01-01'")
    assert stack.get("/t/3").json() == {"id": 3, "v": "3", "d": "2026-01-01"}
    stack.sql("alter table t drop v")
    assert stack.get("/t/4").json() == {"id": 4, "d": "2026-01-01"}


def test_user_types(stack):
    stack.sql("create type mood as enum ('sad', 'happy')")
    stack.sql("create domain positive as int check (value > 0)")
    stack.sql("create type pair as (a int, b text)")
    sql = "select 'happy'::mood as m, 5::positive as p, row(1,'x')::pair as c," \
          " array['sad']::mood[] as ms"
    assert keep_text(serve(stack, sql)) == keep_text(expected(stack, sql)[0])


def test_slow_queries_are_logged_with_their_route_alone(stack):
    stack.start("""route "/late/{t}" { param "t" { type = text }
                   sql = "select $1 as t from pg_sleep(0.2)"  shape = value }
                   route "/quick" { sql = "select 1"  shape = value }""",
                settings="slow_query = 100ms", refresher=False)
    assert stack.get("/late/secretvalue").status == 200
    assert stack.get("/quick").status == 200
    log = stack.worker.log_text()
    assert 'msg="slow query" route=/late/{t} ms=' in log
    assert "/quick" not in log
    assert "secretvalue" not in log


def test_a_response_over_64_mb_is_refused(stack):
    stack.start("""route "/big/{n}" { param "n" { type = int }
                   sql = "select repeat('x', 1000000) as t from generate_series(1, $1::int)" }""",
                postgres="statement_timeout = 30s", settings="drain_timeout = 30s",
                refresher=False)
    assert stack.get("/big/68").status == 500
    assert "the response is over max_response" in stack.worker.log_text()
    assert len(stack.get("/big/3").body) > 3000000

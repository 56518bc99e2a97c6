# SPDX-License-Identifier: BSD-2-Clause
"""JSON has the values, the order of keys and the number text of Postgres's row_to_json."""
import json

import pytest

PLAIN = r"""
select 1::int2 as i2, (-2147483648)::int4 as i4, 9223372036854775807::int8 as i8,
  0.1::float4 as f4, 1e-300::float8 as f8, 'NaN'::float8 as nan, '-Infinity'::float8 as inf,
  123456789012345678901234567890.1200::numeric as num, 'NaN'::numeric as nnan,
  true as yes, false as no, null::text as nothing, 'x'::char(3) as padded,
  E'a"b\\c\n\t\u0001\u00e9/' || chr(128512) as txt, 'v'::varchar as vc,
  'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid as u, '{"b": [1,  2], "a":null}'::json as j,
  '{"b": [1,  2], "a":null}'::jsonb as jb, 1 as "odd ""name"" é"
"""

RENDERED = r"""
select date '2026-02-28' as d, timestamptz '2026-01-01 12:00:00.5+02' as tz,
  timestamp '2026-01-01' as ts, time '12:00' as t, interval '1 day 2 hours' as iv,
  array[1, null, 3] as a, array[['x', 'y']] as aa, row(1, 'z') as r, int4range(1, 5) as rng,
  bytea '\xdeadbeef' as b, inet '10.0.0.1' as ip, 'infinity'::date as forever,
  date '0044-03-15 BC' as ides, 'mood'::name as n, 1 as plain, oid '26' as o -- the last line
"""


def keep_text(text):
    """Parsed with every number as its text and every object as its pairs in order."""
    return json.loads(text, object_pairs_hook=list, parse_int=str, parse_float=str)


def rendered_by_postgres(stack, query):
    return stack.sql("set timezone to 'UTC'; select row_to_json(q)::text from (" + query +
                     ") q")[0][0]


def write_query(stack, name, query):
    with open(stack.path(name), "w", encoding="utf-8") as out:
        out.write(query)


@pytest.mark.parametrize("prepared", ["true", "false"])
def test_rows_like_row_to_json(stack, prepared):
    write_query(stack, "plain.sql", PLAIN)
    write_query(stack, "rendered.sql", RENDERED)
    stack.start("""
route "/plain" { sql_file = "plain.sql"  shape = object }
route "/rendered" { sql_file = "rendered.sql"  shape = object }
""", postgres=f"prepared = {prepared}", refresher=False)
    for path, query in (("/plain", PLAIN), ("/rendered", RENDERED)):
        answer = stack.get(path)
        assert answer.status == 200, stack.worker.log_text()
        assert keep_text(answer.body) == keep_text(rendered_by_postgres(stack, query))


def test_shapes(stack):
    stack.start("""
route "/none" { sql = "select 1 as n where false"  shape = array }
route "/many" { sql = "select n, n::text as t from generate_series(1, 3) n;  "  shape = array }
route "/dates" { sql = "select date '2026-01-01' + n as d from generate_series(0, 1) n -- x"
                 shape = array }
route "/null" { sql = "select null::int"  shape = value }
route "/json" { sql = "select '[1, 2]'::json"  shape = value }
route "/time" { sql = "select timestamp '2026-01-01'"  shape = value }
route "/novalue" { sql = "select 1 where false"  shape = value }
route "/twice" { sql = "select 1 as n, 2 as n"  shape = object }
route "/wide" { sql = "select 1 as n, 2 as m"  shape = value }
""", refresher=False)
    assert stack.get("/none").body == b"[]"
    assert stack.get("/many").json() == [{"n": n, "t": str(n)} for n in (1, 2, 3)]
    assert stack.get("/dates").json() == [{"d": "2026-01-01"}, {"d": "2026-01-02"}]
    assert stack.get("/null").body == b"null"
    assert stack.get("/json").body == b"[1, 2]"
    assert stack.get("/time").json() == "2026-01-01T00:00:00"
    assert stack.get("/novalue").status == 404
    assert stack.get("/twice").status == 500
    assert "two columns are named" in stack.worker.log_text()
    assert stack.get("/wide").status == 500


def test_the_session_only_reads(stack):
    stack.sql("create table t (n int)")
    stack.start("""route "/w" { sql = "with x as (insert into t values (1) returning n)
                                       select n from x"  shape = value }""", refresher=False)
    assert stack.get("/w").status == 500
    assert stack.sql("select count(*) from t") == [(0,)]


def test_a_table_that_changes_is_no_error(stack):
    stack.sql("create table t (id int, v int)")
    stack.sql("insert into t select n, n from generate_series(1, 5) n")
    stack.start("""route "/t/{id}" { param "id" { type = int }
                   sql = "select * from t where id = $1"  shape = object }""", refresher=False,
                settings="")
    assert stack.get("/t/1").json() == {"id": 1, "v": 1}
    stack.sql("alter table t alter v type text")
    assert stack.get("/t/2").json() == {"id": 2, "v": "2"}
    stack.sql("alter table t add d date default '2026-01-01'")
    assert stack.get("/t/3").json() == {"id": 3, "v": "3", "d": "2026-01-01"}
    stack.sql("alter table t drop v")
    assert stack.get("/t/4").json() == {"id": 4, "d": "2026-01-01"}


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
    assert "the response is over 64 MB" in stack.worker.log_text()
    assert len(stack.get("/big/3").body) > 3000000

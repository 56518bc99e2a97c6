# SPDX-License-Identifier: BSD-2-Clause
"""Every type in Postgres's own catalogue comes out as row_to_json has it, a new server's too."""
import psycopg2

from harness.json_text import keep_text

# Tried in this order until one is accepted.
LITERALS = [
    "9223372036854775807", "32767", "1", "-0.5", "NaN", "t", "a", "{}", '{"k": [1, null]}',
    "2026-02-28", "2026-02-28 12:34:56.789+02", "12:34", "1 mon -2 days", "a0eebc99-9c0b-4ef8-bb6d-"
    "6bb9bd380a11", "10.0.0.1", "08:00:2b:01:02:03", "08:00:2b:01:02:03:04:05", "(1,2)",
    "((1,2),(3,4))", "<(1,2),3>", "{1,2,3}", "[(1,2),(3,4)]", "((1,2))", "[1,2)", "{[1,2),[5,6)}",
    "['2026-01-01','2026-02-01')", "{['2026-01-01','2026-02-01')}", "101", "<a>b</a>",
    "a & b", "'fat':1", "0/16B3748", "10:20:", "(0,1)", "pg_class", "12", "{a,b}", "{2026-01-01}",
    "{t,f}", "{1.5}", '{"(1,2)"}', "1 2", "english", "pg_catalog", "+(integer,integer)", "+",
    "abs(integer)", "postgres", "$1.50",
]

# Arrays of composite types, of which every table has one, are left out.
TYPES = """
select t.oid::regtype::text from pg_type t left join pg_type e on e.oid = t.typelem
where t.typtype in ('b', 'r', 'm') and t.typisdefined and t.typname not like 'pg!_%' escape '!'
  and (t.typcategory <> 'A' or e.typtype in ('b', 'r', 'm'))
order by 1
"""


def literal_of(cursor, name):
    """Some text that the type takes, or None."""
    for literal in LITERALS:
        try:
            cursor.execute(f"select ('{literal.replace(chr(39), chr(39) * 2)}'::{name})::text, "
                           f"row_to_json(row(null::{name}))")
            cursor.fetchall()
            return literal.replace("'", "''")
        except psycopg2.Error:
            continue
    return None


def test_the_whole_catalogue(stack):
    connection = stack.postgres.connect(stack.database)
    cursor = connection.cursor()
    cursor.execute("set timezone to 'UTC'; set datestyle to 'ISO, YMD'; " + TYPES)
    names = [name for (name,) in cursor.fetchall()]
    assert len(names) > 120
    stack.sql("create type mood as enum ('sad', 'happy')")
    stack.sql("create type pair as (a int, \"b c\" timestamptz)")
    stack.sql("create domain positive as numeric check (value > 0)")
    queries = {
        "mood": "select 'sad'::mood as v, array['happy'::mood] as w",
        "pair": "select row(1, '2026-01-01')::pair as v, array[row(null, null)::pair] as w",
        "positive": "select 1.50::positive as v, null::positive as w",
        "bytea": "select '\\x00ff'::bytea as v",
        "infinities": "select 'infinity'::timestamptz as a, '-infinity'::date as b, "
                      "'infinity'::float4 as c, 'Infinity'::numeric as d",
        "before Christ": "select '0044-03-15 BC'::date as a, '0044-03-15 BC'::timestamptz as b",
        "control characters": "select string_agg(chr(n), '') as v from generate_series(1, 31) n",
        "empty": "select ''::text as a, '{}'::int[] as b, 'empty'::int4range as c",
    }
    untried = []
    for name in names:
        literal = literal_of(cursor, name)
        if literal is None:
            untried.append(name)
        else:
            queries[name] = f"select '{literal}'::{name} as v, null::{name} as w"
    assert len(untried) <= 5, untried

    routes = ""
    for number, query in enumerate(queries.values()):
        with open(stack.path(f"{number}.sql"), "w", encoding="utf-8") as out:
            out.write(query)
        routes += f'route "/{number}" {{ sql_file = "{number}.sql"  shape = object }}\n'
    stack.start(routes, refresher=False)
    wrong = []
    for number, (name, query) in enumerate(queries.items()):
        cursor.execute(f"select row_to_json(q)::text from ({query}) q")
        wanted = keep_text(cursor.fetchone()[0])
        answer = stack.get(f"/{number}")
        if answer.status != 200 or keep_text(answer.body) != wanted:
            wrong.append((name, answer.status, answer.body, wanted))
    connection.close()
    assert not wrong
    print(f"{len(queries)} types and cases")

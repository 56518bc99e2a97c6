# SPDX-License-Identifier: BSD-2-Clause
"""Clients send what no one should to many kinds of routes, while tables, types and functions change
under the queries. Every answer is one that Postgres itself gives for these values in one of the
states that the database is in, or an error. LEEWAY_HOSTILE_S is how long it goes on."""
import collections
import itertools
import json
import os
import random
import threading
import time
import urllib.parse

import psycopg2

SECONDS = float(os.environ.get("LEEWAY_HOSTILE_S", "6"))
CLIENTS = 6
TEXTS = [
    "day", "timezone", "month", "", "'", '"', "\\", "''", "$1", "$$", "%", "%s", "_", "*", "+", "[",
    "[[:alpha:", "(", "((", "a & b", "a &", "&|!", "!", ":*", "{", "{}", "{a,b}", "[1", "[1,2]",
    '{"a":1}', '"x"', "null", "true", "NaN", "Infinity", "-Infinity", "-0", "1e999", "0x10", "007",
    "1", "-1", "9223372036854775808", "🙂", "\u202e", "\ufffd", "é", "e\u0301", "a" * 256, "pg_class",
    "public.t", "no.such", "t", "TimeZone", "work_mem", "role", "DateStyle", "search_path",
    "2026-02-30", "infinity", "epoch", "now", "24:00", "happy", "sad", "angry", "unknown",
    "; drop table t; --", "' or 1=1 --", "-- x", "/*", "YYYY-MM-DD HH24:MI:SS TZ", "FMDay", "$.a",
    "$[*", "lax $", "name 1", "Asia/Tokyo", "iso_8601", "1 day", "<a>", "</script>", "\t", "\n", "a\rb",
]
NUMBERS = [0, 1, 2, 3, 50, -1, 2147483648, -9223372036854775808, 9223372036854775807]
# Name, SQL, and the lists that its values are taken from.
ROUTES = {
    "trunc": ("select $1::int as id, date_trunc($2, timestamp '2026-01-02 03:04:05') as at",
              [NUMBERS, TEXTS]),
    "star": ("select * from t where id = $1", [NUMBERS]),
    "star-text": ("select t.*, $1::text as said from t order by t.name limit 3", [TEXTS]),
    "function": ("select said() as said, $1::text as text", [TEXTS]),
    "enum": ("select name, mood from people where mood = $1 order by name", [TEXTS]),
    "tsquery": ("select to_tsquery('english', $1)::text as q, to_tsvector('english', $1) as v",
                [TEXTS]),
    "jsonb": ("select $1::jsonb as j, jsonb_typeof($1::jsonb) as type", [TEXTS]),
    "json": ("select $1::json as j, 1 as one", [TEXTS]),
    "path": ("select jsonb_path_query_array('{\\\"a\\\": [1, 2]}', $1::jsonpath) as found", [TEXTS]),
    "regexp": ("select count(*)::int as n from t where name ~ $1", [TEXTS]),
    "like": ("select count(*)::int as n from t where name like $1", [TEXTS]),
    "divide": ("select 100 / $1::int as n, 1.0 / $1::numeric as r", [NUMBERS]),
    "to-char": ("select to_char(timestamp '2026-01-02 03:04:05', $1) as said", [TEXTS]),
    "array": ("select $1::text[] as list, array_length($1::text[], 1) as n", [TEXTS]),
    "set": ("select set_config('leeway.' || $1::int, $2, false) as said,"
            " current_setting('leeway.1', true) as one", [[1], TEXTS]),
    "zone": ("select timestamptz '2026-01-01' at time zone $1 as at", [TEXTS]),
    "setting": ("select set_config($1, $2, false) as said", [["TimeZone", "DateStyle",
                                                             "IntervalStyle"], TEXTS]),
    "instant": ("select timestamptz '2026-01-02 03:04:05+00' as at, $1::int as n, "
                "interval '1 day 2 hours' as i, 0.1::float8 as f", [NUMBERS]),
    "regclass": ("select $1::regclass::text as name", [TEXTS]),
    "limit": ("select id from t order by id limit $1::bigint", [NUMBERS]),
    "made-date": ("select make_date(2026, $1::int, 1) as d", [NUMBERS]),
    "row": ("select row(1, $1::text) as r, array[$1::text, null] as a", [TEXTS]),
    "raises": ("select raises($1) as n", [TEXTS]),
}
BASE = """
create table t (id int primary key, name text);
insert into t select i, 'name ' || i from generate_series(1, 60) i;
create type mood as enum ('happy', 'sad');
create table people (name text, mood mood);
insert into people values ('Ann', 'happy'), ('Bob', 'sad');
create function said() returns text stable language sql as $$ select 'word'::text $$;
create function raises(text) returns int language plpgsql as
  $$ begin raise sqlstate '0A000' using message = 'no: ' || $1; end $$
"""
# From each state to the next one, round and round.
CHANGES = [
    """alter table t add column at timestamptz default '2026-01-01 00:00+00';
       drop function said(); create function said() returns timestamptz stable language sql as
       $$ select timestamptz '2026-01-01 00:00+00' $$""",
    """alter table people alter mood type text; drop type mood;
       create type mood as enum ('sad', 'happy', 'angry');
       alter table people alter mood type mood using mood::mood;
       drop function said(); create function said() returns jsonb stable language sql as
       $$ select '{"a": [1]}'::jsonb $$""",
    """alter table t alter id type bigint; alter table t drop column at;
       alter table t add column more numeric default 1.50""",
    """alter table t drop column more; alter table t alter id type int;
       drop function said(); create function said() returns text stable language sql as
       $$ select 'word'::text $$""",
]
REFERENCE = """set TimeZone = 'UTC'; set DateStyle = 'ISO, YMD'; set extra_float_digits = 1;
               set IntervalStyle = 'postgres'; set default_transaction_read_only = on"""


def configuration():
    blocks = ['context "c" { budget = 1s }']
    for name, (sql, lists) in ROUTES.items():
        params = "".join(
            f'  param "p{i}" {{ type = {"text" if TEXTS is values else "int"} }}\n'
            if values is TEXTS or values is NUMBERS else
            f'  param "p{i}" {{ type = text }}\n' for i, values in enumerate(lists))
        blocks.append(f'route "/{name}" {{\n  context = "c"\n{params}  sql = "{sql}"\n}}')
    return "\n".join(blocks)


class Reference:
    """What Postgres says in each state, from databases that stay in theirs."""

    def __init__(self, stack):
        self.lock = threading.Lock()
        self.connections = []
        self.known = {}
        for state in range(len(CHANGES)):
            name = f"{stack.database}_{state}"
            stack.postgres.create_database(name)
            stack.postgres.execute(name, BASE)
            for change in CHANGES[:state]:
                stack.postgres.execute(name, change)
            connection = stack.postgres.connect(name)
            connection.autocommit = False
            self.connections.append((name, connection))

    def close(self, stack):
        for name, connection in self.connections:
            connection.close()
            stack.postgres.drop_database(name)

    def ask(self, connection, name, values):
        sql = ROUTES[name][0].replace('\\"', '"')
        types = {True: "unknown", False: "unknown"}
        with connection.cursor() as cursor:
            try:
                cursor.execute(REFERENCE)
                given = ", ".join("%s" for _ in values)
                cursor.execute(f"prepare q ({', '.join(types[True] for _ in values)}) as "
                               f"select row_to_json(r.*)::text from ({sql}) r")
                cursor.execute(f"execute q ({given})", [str(value) for value in values])
                return [json.loads(row[0]) for row in cursor.fetchall()]
            except psycopg2.Error:
                return None
            finally:
                connection.rollback()
                cursor.execute("deallocate all")
                connection.commit()

    def possible(self, name, values):
        """What a client may get; None is an error."""
        key = (name, values)
        with self.lock:
            if key not in self.known:
                self.known[key] = [self.ask(connection, name, values)
                                   for _, connection in self.connections]
            return self.known[key]


def change(stack, stop, done):
    for sql in itertools.cycle(CHANGES):
        if stop.is_set():
            return
        try:
            stack.sql(sql)
            done["changes"] += 1
        except psycopg2.Error as error:  # a deadlock with a query: that state comes later
            done[type(error).__name__] += 1


def attack(stack, stop, reference, done, wrong, seed):
    choose = random.Random(seed)
    while not stop.is_set():
        name = choose.choice(list(ROUTES))
        values = tuple(choose.choice(values) for values in ROUTES[name][1])
        query = urllib.parse.urlencode({f"p{i}": value for i, value in enumerate(values)})
        status, _, body = stack.ask(f"/{name}?{query}")
        possible = reference.possible(name, values)
        if status == 200:
            done["compared"] += 1
            try:
                answer = json.loads(body)
            except ValueError:
                answer = body
            if answer not in possible:
                wrong.append((name, values, body, possible))
        else:
            done[f"{status} {'expected' if None in possible else 'unexpected'}"] += 1


def test_answers_are_postgres_own(stack):
    stack.sql(BASE)
    reference = Reference(stack)
    stack.start(configuration(), refresher=False, workers=2,
                postgres="slots = 16  statement_timeout = 5s")
    stop, done, wrong = threading.Event(), collections.Counter(), []
    threads = [threading.Thread(target=change, args=(stack, stop, done))]
    threads += [threading.Thread(target=attack, args=(stack, stop, reference, done, wrong, seed))
                for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends or (done["compared"] < 200 and time.monotonic() < ends + 60):
        stop.wait(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    reference.close(stack)
    print(dict(done), len(wrong), "wrong")
    assert not wrong, wrong[:5]
    assert done["compared"] >= 200 and done["changes"] >= 4

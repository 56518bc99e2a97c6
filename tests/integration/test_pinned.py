# SPDX-License-Identifier: BSD-2-Clause
"""Whatever a role's or a database's settings are, answers have the same bytes, but for the settings
that choose the data on purpose."""
import psycopg2
import pytest

from harness.wait import wait_until

ROUTES = r"""
context "none" { budget = 0s }
route "/rendered" {
  context = "none"
  param "word" { type = text  default = "a\\b" }
  param "at"   { type = text  default = "2026-07-01 12:00 EST" }
  sql_file = "rendered.sql"
  shape = object
}
route "/plain" {
  context = "none"
  param "word" { type = text  default = "a\\b" }
  sql_file = "plain.sql"
  shape = object
}
"""
FILES = {
    "rendered.sql": r"""
select timestamptz '2026-01-02 03:04:05.678+05' as tz, timestamp '2026-01-02 03:04:05' as ts,
       date '2026-12-31' as d, time '03:04:05' as t, '1 year 2 mons 3 days 04:05:06'::interval as i,
       '\x00ff'::bytea as b, 0.1::float8 as f8, 0.1::float4 as f4, 1e300::float8 as big,
       1.50::numeric as n, array['a', null]::text[] as list, '{a,NULL}'::text[] as nulls,
       '[2026-01-01,2026-02-01)'::daterange as range, xmlelement(name x, '\x00ff'::bytea) as xml,
       't'::regclass as class, format_type('int4'::regtype, null) as type,
       $1::text as word, 'c\d' as slash, $2::timestamptz as at, null = null as nothing,
       12345.678::float8::text as text, row(1, 'x', now() is null) as composite,
       '{"a": [1, 2.50]}'::jsonb as j, '10.0.0.1'::inet as ip, b'101' as bits""",
    "plain.sql": r"""
select 1 as one, 0.1::float8 as f8, 1e-7::float4 as f4, 2.50::numeric as n, true as yes,
       $1::text as word, 'c\d' as slash, timestamptz '2026-01-02 03:04:05+05'::text as tz,
       '\x00ff'::bytea::text as b, '1 day'::interval::text as i, (null = null)::text as nothing,
       '{"a": 1}'::json as j, pg_get_viewdef('v'::regclass) as view""",
}
# They choose the data, or what a session may do at all.
OPERATORS = {
    "search_path", "role", "session_authorization", "row_security", "default_text_search_config",
    "lc_monetary", "lc_numeric", "lc_time", "lc_messages",  # to_char and money print by them
    "xmloption", "local_preload_libraries", "session_preload_libraries", "default_tablespace",
    "temp_tablespaces", "default_table_access_method", "createrole_self_grant",
}
STRINGS = {
    "TimeZone": ["Asia/Tokyo", "America/St_Johns"], "DateStyle": ["SQL, DMY", "German"],
    "timezone_abbreviations": ["Australia"], "client_encoding": ["LATIN1", "SQL_ASCII"],
    "application_name": ["somebody"],
}


def other_values(row):
    name, kind, value, least, most, choices = row
    if name in STRINGS:
        return STRINGS[name]
    if kind == "bool":
        return ["off" if value == "on" else "on"]
    if kind == "enum":
        return [choice for choice in choices if choice != value]
    if kind in ("integer", "real"):
        return sorted({bound for bound in (least, most) if bound != value})
    return []


def settings(stack):
    return stack.sql("select name, vartype, setting, min_val, max_val, enumvals from pg_settings"
                     " where context in ('user', 'superuser', 'backend', 'superuser-backend')"
                     " order by name")


def ask(stack):
    answers = [stack.get(path) for path in ("/rendered", "/plain")]
    assert [answer.status for answer in answers] == [200, 200], [a.body for a in answers]
    return [answer.body for answer in answers]


def end_sessions(stack):
    """Those there are; the worker makes others by itself."""
    ended = stack.sql("select pid, pg_terminate_backend(pid) from pg_stat_activity"
                      " where datname = current_database() and pid <> pg_backend_pid()")
    pids = [pid for pid, _ in ended]
    wait_until(lambda: stack.sql("select count(*) from pg_stat_activity where pid = any(%s)",
                                 pids) == [(0,)], "they have ended")


@pytest.mark.parametrize("owner, options", [("role", ""), ("role", "prepared = false"),
                                            ("database", "")])
def test_no_setting_changes_an_answer(stack, owner, options):
    stack.sql("create table t (n int)")
    stack.sql("create view v as select n as number from t where n = 1")
    stack.sql("drop role if exists asker")
    stack.sql("create role asker login superuser")
    who = {"role": "role asker", "database": f"database {stack.database}"}[owner]
    stack.postgres_conninfo = stack.postgres_conninfo.replace("user=leeway", "user=asker")
    tried = 0
    for name, text in FILES.items():
        with open(stack.path(name), "w", encoding="utf-8") as out:
            out.write(text)
    try:
        stack.start(ROUTES, refresher=False, workers=1,
                    postgres=options + " connect_timeout = 30s")
        expected = ask(stack)
        for row in settings(stack):
            if row[0] in OPERATORS:
                continue
            for value in other_values(row):
                try:
                    stack.postgres.execute("postgres", f'alter {who} set "{row[0]}" = %s', value)
                except psycopg2.Error:
                    continue
                end_sessions(stack)
                assert ask(stack) == expected, (row[0], value)
                stack.postgres.execute("postgres", f'alter {who} reset "{row[0]}"')
                tried += 1
    finally:
        if stack.worker:
            stack.worker.stop()
        stack.sql(f"alter {who} reset all")
        stack.sql("drop role asker")
    assert tried > 200

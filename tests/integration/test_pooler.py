# SPDX-License-Identifier: BSD-2-Clause
"""prepared = false works through a pooler in transaction mode."""
from harness.pgbouncer import start_pgbouncer

ROUTES = """
route "/items/{id}" { param "id" { type = int }
  sql = "select $1::int as id, timestamptz '2026-01-01 12:00+02' as t"  shape = object }
route "/write" { sql = "with x as (insert into t values (1) returning n) select n from x"  shape = value }
route "/slow" { sql = "select 1 as n from pg_sleep(5)"  shape = value }
"""


def test_through_pgbouncer(stack):
    stack.sql("create table t (n int)")
    start_pgbouncer(stack, "transaction")
    stack.start(ROUTES, postgres="prepared = false  statement_timeout = 500ms  slots = 20",
                refresher=False)
    answers = stack.get_many([f"/items/{i}" for i in range(60)])
    assert [answer.json() for answer in answers] == [
        {"id": i, "t": "2026-01-01T10:00:00+00:00"} for i in range(60)]
    # the transaction carries the settings
    assert stack.get("/write").status == 500
    assert stack.sql("select count(*) from t") == [(0,)]
    assert stack.get("/slow").status == 504
    assert stack.get("/items/100").status == 200
    # leewayctl's questions fit between others' transactions, and leave no setting behind
    for _ in range(5):
        checked = stack.run("leewayctl", "-c", stack.config, "check")
        assert checked.returncode == 1, checked.stdout + checked.stderr
        assert "/write                   it changes data" in checked.stdout
        assert "1 problem, " in checked.stdout
    assert checked.stdout.count("object of id integer") == 1

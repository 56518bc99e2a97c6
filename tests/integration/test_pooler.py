# SPDX-License-Identifier: BSD-2-Clause
"""prepared = false works through a pooler in transaction mode."""
import os

import pytest

from harness.process import unprivileged_account
from harness.wait import wait_until

PGBOUNCER = "/usr/sbin/pgbouncer"

ROUTES = """
route "/items/{id}" { param "id" { type = int }
  sql = "select $1::int as id, timestamptz '2026-01-01 12:00+02' as t"  shape = object }
route "/write" { sql = "with x as (insert into t values (1) returning n) select n from x"  shape = value }
route "/slow" { sql = "select 1 as n from pg_sleep(5)"  shape = value }
"""


@pytest.mark.skipif(not os.path.exists(PGBOUNCER), reason="pgbouncer is not installed")
def test_through_pgbouncer(stack):
    stack.sql("create table t (n int)")
    folder = stack.path("pooler")
    os.mkdir(folder)
    with open(folder + "/pgbouncer.ini", "w", encoding="utf-8") as out:
        out.write(f"""[databases]
* = host={stack.postgres.folder} user=leeway
[pgbouncer]
listen_port = 6432
listen_addr =
unix_socket_dir = {folder}
pool_mode = transaction
default_pool_size = 3
auth_type = any
""")
    account = unprivileged_account()
    os.chmod(stack.folder, 0o755)
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    stack.start_process("pgbouncer", [PGBOUNCER, folder + "/pgbouncer.ini"], account=account)
    wait_until(lambda: os.path.exists(folder + "/.s.PGSQL.6432"), "pgbouncer listens")

    stack.postgres_conninfo = f"host={folder} port=6432 user=leeway dbname={stack.database}"
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
        assert "1 problems" in checked.stdout
    assert checked.stdout.count("object of id integer") == 1

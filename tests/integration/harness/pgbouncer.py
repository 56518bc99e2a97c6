# SPDX-License-Identifier: BSD-2-Clause
"""PgBouncer in front of the tests' Postgres."""
import os

from .process import unprivileged_account
from .wait import wait_until

PGBOUNCER = "/usr/sbin/pgbouncer"


def start_pgbouncer(stack, mode, size=3, user="leeway", more=""):
    """In pool mode `mode`, with `size` server connections; nothing is reset between two clients.
    `more` are further settings. What leeway is configured with from now on goes through it."""
    folder = stack.path("pooler")
    os.mkdir(folder)
    with open(folder + "/pgbouncer.ini", "w", encoding="utf-8") as out:
        out.write(f"""[databases]
* = host={stack.postgres.folder} user={user}
[pgbouncer]
listen_port = 6432
listen_addr =
unix_socket_dir = {folder}
pool_mode = {mode}
default_pool_size = {size}
auth_type = any
server_reset_query =
{more}
""")
    account = unprivileged_account()
    os.chmod(stack.folder, 0o755)
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    process = stack.start_process("pgbouncer", [PGBOUNCER, folder + "/pgbouncer.ini"],
                                  account=account)
    wait_until(lambda: os.path.exists(folder + "/.s.PGSQL.6432"), "pgbouncer listens")
    stack.postgres_conninfo = f"host={folder} port=6432 user={user} dbname={stack.database}"
    return process

# SPDX-License-Identifier: BSD-2-Clause
"""Sessions end in time, and idle ones are tried before a query is trusted to them."""
import os

import pytest

from harness.postgres import Postgres
from harness.postgres_proxy import PostgresProxy
from harness.wait import wait_until

ROUTES = """
context "none" { budget = 0s }
context "short" { budget = 2s }
route "/where" { context = "none"  sql = "select name from place"  shape = value }
route "/short/{n}" { context = "short"  param "n" { type = int }
                     sql = "select $1 as n"  shape = value }
route "/one" { context = "none"  sql = "select 1 as n"  shape = value }
"""


def sessions(stack, postgres=None):
    return [pid for pid, in (postgres or stack.postgres).execute(
        stack.database, "select pid from pg_stat_activity where application_name = 'leeway'"
        " and datname = current_database()")]


def all_are(stack, condition):
    return stack.sql(f"select bool_and({condition}) from pg_stat_activity"
                     " where application_name = 'leeway' and datname = current_database()")[0][0]


@pytest.fixture(name="moved")
def make_moved(stack):
    """A second server, to which the address is led by move(); the first goes on."""
    stack.sql("create table place as select 'old'::text as name")
    # beside the first server's, for others must get in
    folder = stack.postgres.folder + "-copy"
    copy = Postgres.copy_of(stack.postgres, folder)
    copy.execute(stack.database, "update place set name = 'new'")
    link = stack.path("host")
    os.symlink(stack.postgres.folder, link)
    stack.postgres_conninfo = f"host={link} user=leeway dbname={stack.database}"

    def move():
        os.symlink(folder, link + ".new")
        os.rename(link + ".new", link)
        return copy

    yield move
    copy.stop()
    os.rename(folder, stack.path("copy"))


def test_an_old_server_is_not_read_for_longer_than_a_sessions_life(stack, moved):
    stack.start(ROUTES, refresher=False, postgres="session_lifetime = 1s")
    assert stack.get("/where").body == b'"old"'
    copy = moved()
    wait_until(lambda: stack.get("/where").body == b'"new"', "the new server is read")
    wait_until(lambda: not sessions(stack), "none is left at the old one")
    for _ in range(50):
        assert stack.get("/where").body == b'"new"'
    assert sessions(stack, copy)


def test_idle_sessions_grow_old_too(stack, moved):
    stack.start(ROUTES, refresher=False, postgres="session_lifetime = 1s")
    assert stack.get("/where").body == b'"old"'
    moved()
    wait_until(lambda: not sessions(stack), "they end without a request")
    assert stack.get("/where").body == b'"new"'


def test_without_a_lifetime_they_stay(stack):
    stack.start(ROUTES, refresher=False, workers=1, postgres="session_lifetime = 0")
    assert stack.get("/one").status == 200
    before = sessions(stack)
    # longer than the shortest lifetime, and than the wait of those that look
    wait_until(lambda: all_are(stack, "backend_start < now() - interval '2.5s'"), "it is old")
    assert stack.get("/one").status == 200
    assert sessions(stack) == before


def test_an_idle_connection_that_went_dead_is_found_out_before_it_is_used(stack):
    proxy = PostgresProxy(stack.path("proxy"), stack.postgres.folder)
    stack.postgres_conninfo = f"host={proxy.folder} user=leeway dbname={stack.database}"
    stack.start(ROUTES, refresher=False, workers=1, postgres="statement_timeout = 5s")
    assert stack.get("/one").status == 200
    proxy.go_dead()
    wait_until(lambda: all_are(stack, "state_change < now() - interval '1.2s'"),
               "it is idle for so long that it is tried")
    assert stack.get("/one").status == 200
    text = stack.worker.log_text()
    assert "timed out" not in text and "cannot connect" not in text
    assert stack.get("/one").status == 200


@pytest.mark.parametrize("options", ["", "prepared = false"])
@pytest.mark.parametrize("path", ["/one", "/short/{n}"])
def test_a_query_is_one_packet_once_it_is_prepared(stack, path, options):
    proxy = PostgresProxy(stack.path("proxy"), stack.postgres.folder)
    stack.postgres_conninfo = f"host={proxy.folder} user=leeway dbname={stack.database}"
    stack.start(ROUTES, refresher=False, workers=1, postgres=options)
    assert stack.get(path.format(n=0)).status == 200
    before = proxy.asked
    for n in range(1, 21):
        assert stack.get(path.format(n=n)).status == 200
    assert proxy.asked == before + 20


def test_a_session_of_which_the_server_has_said_that_it_ends_gets_no_query(stack):
    """Before it has closed the connection."""
    proxy = PostgresProxy(stack.path("proxy"), stack.postgres.folder)
    stack.postgres_conninfo = f"host={proxy.folder} user=leeway dbname={stack.database}"
    stack.start(ROUTES, refresher=False, workers=1)
    assert stack.get("/one").status == 200
    proxy.tell_end()
    wait_until(lambda: sessions(stack) == [], "the sessions are closed")
    assert proxy.unread in (b"", b"X\0\0\0\4")  # to terminate it
    assert stack.get("/one").status == 200

# SPDX-License-Identifier: BSD-2-Clause
"""A query that was given up holds its slot and its key until it has ended, and it ends, although no
request to cancel it arrives."""
import os
import resource
import signal

import psycopg2
import pytest

from harness import fastcgi
from harness.pgbouncer import start_pgbouncer
from harness.postgres_proxy import PostgresProxy
from harness.wait import wait_until

ROUTES = """
context "short" { budget = 1s }
context "none" { budget = 0s }
context "long" { budget = 60s }
route "/one" { context = "none"  sql = "select 1 as n"  shape = value }
route "/slow" { context = "short"  sql = "select 1 as n from pg_sleep(60) -- marker:slow"
                shape = value }
route "/stubborn" { context = "short"  sql = "select stubborn() as n -- marker:slow"  shape = value }
route "/slow/{n}" { context = "none"  param "n" { type = int }
                    sql = "select $1 as n from pg_sleep(60) -- marker:slow"  shape = value }
route "/sleeps/{n}" { context = "none"  param "n" { type = int }
                      sql = "select $1::int as n from pg_sleep($1) -- marker:slow"  shape = value }
route "/many" { context = "long"  shape = object
                sql = "select n, repeat('x', 9000) as x, pg_sleep(0.05)::text as t from (select t.n \
from t, generate_series(1, case when (select count(*) from t) > 1 then 100000 else 1 end)) x(n) \
-- marker:many" }
route "/takes/{n}" { context = "long"  param "n" { type = int }
                     sql = "select $1::int as n from pg_sleep($1) -- marker:slow"  shape = value }
route "/locked" { context = "none"  shape = value
                  sql = "select count(*)::int as n from t, pg_sleep(60) -- marker:slow" }
route "/kept" { context = "long"  shape = value
                sql = "select count(*)::int as n from t, pg_sleep(60) -- marker:slow" }
route "/endless" { context = "none"  shape = object
                   sql = "select generate_series(1, 1000000000) as n -- marker:endless" }
route "/drip" { context = "none"  shape = object  sql = "select generate_series(1, 1000000000) as n, \
repeat('x', 9000) as x, pg_sleep(0.05)::text as t -- marker:endless" }
route "/two" { context = "none"  shape = object
               sql = "select n from generate_series(1, 2) n" }
route "/stalls" { context = "none"  shape = object  sql = "select n, repeat('x', 100) as x, \
pg_sleep(case when n > 5000 then 60 else 0 end)::text as t from generate_series(1, 6000) n \
-- marker:endless" }
route "/halts" { context = "none"  shape = object  sql = "select n, repeat('x', 9000) as x, \
pg_sleep(case when n > 3 then 60 else 0 end)::text as t from generate_series(1, 4) n \
-- marker:endless" }
route "/grown" { context = "none"
                 sql = "select t.*, generate_series(1, t.n) as g from t -- marker:grown" }
route "/vast" { context = "long"  shape = object  sql = "select repeat('x', 1500000) as t
                union all select pg_sleep(20)::text -- marker:vast" }
route "/long" { context = "none"  sql = "select repeat('x', 1000) as t from generate_series(1, 5000)" }
"""
AS_IF = {"older": (b"client_connection_check_interval", b"client_connection_check_interver"),
         "refusing": (b"check_interval', '1s'", b"check_interval', '-1'")}


STUBBORN = """create function stubborn() returns int language plpgsql as $$
begin
  for i in 1..200 loop
    begin perform pg_sleep(1); exception when query_canceled then null; end;
  end loop;
  return 1;
end $$"""


def running(stack, marker="marker:slow"):
    """Backends that run a route's query now."""
    return stack.sql("select count(*) from pg_stat_activity where datname = current_database()"
                     " and state <> 'idle' and pid <> pg_backend_pid() and query like %s",
                     f"%{marker}%")[0][0]


def sleeps(stack, marker="marker:slow"):
    """Whether one is executed, and no more just prepared."""
    return stack.sql("select wait_event = 'PgSleep' from pg_stat_activity where query like %s"
                     " and pid <> pg_backend_pid() and datname = current_database()",
                     f"%{marker}%") == [(True,)]


def start(stack, workers=1, rewritten=None, behind=None, **options):
    proxy = PostgresProxy(stack.path("proxy"), stack.postgres.folder)
    proxy.target = behind or proxy.target
    proxy.keeps_cancels = True
    proxy.rewritten = rewritten
    stack.postgres_conninfo = f"host={proxy.folder} user=leeway dbname={stack.database}"
    stack.start(ROUTES, refresher=False, workers=workers, **options)
    assert stack.get("/one").status == 200
    return proxy


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("path", ["/slow", "/slow/1"])
def test_no_second_query_of_a_key_is_begun_while_the_first_runs(stack, path, pooled):
    start(stack, postgres="slots = 1\n statement_timeout = " +
          ("4s" if path == "/slow" else "1s") + ("\n prepared = false" if pooled else ""))
    most = 0
    while stack.executions("marker:slow") < 4:
        asked = stack.get_later(path)
        while not asked.done():
            most = max(most, running(stack))
        assert asked.result().status in (503, 504)
    assert most == 1


def begin_late(stack, path):
    """Its preparation waits for a lock, so that the client's time is over long before the query's."""
    owner = stack.postgres.connect(stack.database)
    owner.autocommit = False
    owner.cursor().execute("lock table t in access exclusive mode")
    asked = stack.get_later(path)
    wait_until(lambda: stack.sql("select now() - query_start > '1.5s' from pg_stat_activity"
                                 " where wait_event_type = 'Lock' and query like '%marker:slow%'")
               == [(True,)], "most of its time is over")
    owner.commit()
    owner.close()
    assert asked.result().status == 504
    assert running(stack) == 1, "it has only begun"


@pytest.mark.parametrize("pooled", [False, True])
def test_a_query_that_catches_its_cancels(stack, pooled):
    """It ends when the server notices that its client has gone."""
    stack.sql(STUBBORN)
    stack.start(ROUTES, refresher=False, workers=1,
                postgres="slots = 4" + ("\n prepared = false" if pooled else ""))
    most = 0
    while stack.executions("marker:slow") < 4:
        asked = stack.get_later("/stubborn")
        while not asked.done():
            most = max(most, running(stack))
        assert asked.result().status in (503, 504)
    assert most == 1


def test_a_query_that_began_late_holds_its_slot_until_its_own_limit(stack):
    stack.sql("create table t as select 1 as n")
    proxy = start(stack, postgres="slots = 1\n statement_timeout = 2s\n slot_timeout = 0s")
    begin_late(stack, "/locked")
    refused = 0
    while running(stack) == 1:
        refused += stack.get("/one").status == 503
    assert refused > 0
    wait_until(lambda: stack.get("/one").status == 200, "the slot is free")
    assert "/locked" in stack.worker.log_text()
    assert proxy.kept


def test_a_query_that_began_late_holds_its_key_until_its_own_limit(stack):
    stack.sql("create table t as select 1 as n")
    start(stack, workers=2, postgres="statement_timeout = 2s")
    begin_late(stack, "/kept")
    most = 0
    while stack.executions("marker:slow") < 2:
        asked = stack.get_later("/kept")
        while not asked.done():
            most = max(most, running(stack))
    assert most == 1


def count(pid, what):
    return len(os.listdir(f"/proc/{pid}/{what}"))


def test_cancels_that_hang_are_bounded(stack):
    """Their threads and descriptors, and the others get through afterwards."""
    proxy = start(stack, settings="drain_timeout = 1h", postgres="slots = 40\n statement_timeout = 1h")
    worker, = stack.worker.children()
    threads, files = count(worker, "task"), count(worker, "fd")
    for _ in range(2):
        responses = stack.get_many(["/drip"] * 20)
        assert {response.status for response in responses} == {500}
        assert count(worker, "task") <= threads + 8
        wait_until(lambda: running(stack, "marker:endless") == 0, "their connections are closed")
    assert len(proxy.kept) >= 8
    wait_until(lambda: count(worker, "task") == threads, "the threads have ended")
    wait_until(lambda: count(worker, "fd") <= files + 1, "nothing of them stays")
    proxy.keeps_cancels = False
    kept = len(proxy.kept)
    assert stack.get("/drip").status == 500
    wait_until(lambda: running(stack, "marker:endless") == 0, "the query is cancelled")
    assert len(proxy.kept) == kept


def test_what_ends_a_thread_is_loaded_from_the_start(stack):
    """Later there may be no descriptor for it, and glibc aborts. Sanitizers load it anyway."""
    start(stack)
    worker, = stack.worker.children()
    with open(f"/proc/{worker}/maps", encoding="ascii") as maps:
        assert "libgcc_s" in maps.read()


@pytest.mark.parametrize("pooled", [False, True])
def test_a_killed_workers_query_ends(stack, pooled):
    stack.expect_deaths = True
    start(stack, settings="drain_timeout = 1h",
          postgres="statement_timeout = 1h" + ("\n prepared = false" if pooled else ""))
    asked = stack.ask_later("/slow/1")
    wait_until(lambda: running(stack) == 1, "the query runs")
    os.kill(stack.worker.children()[0], signal.SIGKILL)
    wait_until(lambda: running(stack) == 0, "it has ended with its worker")
    with pytest.raises(Exception):
        asked.result()


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("as_if", ["older", "refusing"])
def test_a_server_that_does_not_look_for_its_clients_serves_too(stack, as_if, pooled):
    """It is older than the setting, or its platform takes no value of it."""
    proxy = start(stack, postgres="slots = 1\n slot_timeout = 0s\n statement_timeout = 2s" +
                  ("\n prepared = false" if pooled else ""), rewritten=AS_IF[as_if])
    assert proxy.rewrites > 0
    assert stack.get("/slow/1").status == 504
    assert stack.get("/drip").status == 500
    refused = 0
    while running(stack, "marker:endless") == 1:
        refused += stack.get("/one").status == 503
    assert refused > 0, "it holds its slot"
    wait_until(lambda: stack.get("/one").status == 200, "the slot is free")


def memory_kb(stack):
    worker, = stack.worker.children()
    with open(f"/proc/{worker}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


@pytest.mark.parametrize("pooled", [False, True])
def test_a_result_that_is_refused_is_not_read_to_its_end(stack, pooled):
    # a sanitizer keeps what is freed for a while
    stack.environment = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1"}
    proxy = start(stack, settings="drain_timeout = 1h",
                  postgres="statement_timeout = 1h" + ("\n prepared = false" if pooled else ""))
    proxy.keeps_cancels = False
    before = memory_kb(stack)
    assert stack.get("/endless").status == 500
    wait_until(lambda: running(stack, "marker:endless") == 0, "it is cancelled")
    assert memory_kb(stack) < before + 50000
    assert stack.get("/two").status == 500
    assert stack.get("/one").status == 200


def test_rows_of_an_outdated_plan_are_not_read_to_their_end(stack):
    stack.sql("create table t as select 1::bigint as n")
    proxy = start(stack, settings="drain_timeout = 1h\nmax_response = 4mb",
                  postgres="statement_timeout = 1h\n prepared = false")
    proxy.keeps_cancels = False
    assert stack.get("/grown").status == 200
    stack.sql("alter table t add column more int")
    stack.sql("update t set n = 1000000000")
    assert stack.get("/grown").status == 500, "it is run once more, and is too long"
    assert stack.executions("marker:grown") == 3
    wait_until(lambda: running(stack, "marker:grown") == 0, "all are cancelled")


def test_a_refused_result_ends_without_a_cancel_too(stack):
    start(stack, settings="drain_timeout = 1h", postgres="statement_timeout = 1h\n slots = 1")
    for path in ("/endless", "/stalls"):
        assert stack.get(path).status == 500
        assert running(stack, "marker:endless") <= 1
        wait_until(lambda: running(stack, "marker:endless") == 0, "its connection is closed")
        wait_until(lambda: stack.get("/one").status == 200, "the slot is free")


def test_a_server_that_stalls_in_the_middle_of_a_result(stack):
    proxy = start(stack, postgres="statement_timeout = 1s\n slots = 1\n connect_timeout = 1s")
    proxy.left = 1000000
    assert stack.get("/long").status == 504
    assert wait_until(lambda: stack.get("/one").status == 200, "another connection serves")


def test_a_query_that_waits_for_a_poolers_server_does_not_begin_any_more(stack):
    """Once it was given up; or, if it just does, it holds its slot until it has ended."""
    start_pgbouncer(stack, "transaction", size=1)
    stack.start(ROUTES, refresher=False, workers=1,
                postgres="slots = 1\n slot_timeout = 10s\n statement_timeout = 2s")
    assert stack.get("/sleeps/0").status == 200
    other = psycopg2.connect(stack.postgres_conninfo)
    other.cursor().execute("select 1")
    assert stack.get("/sleeps/60").status == 504, "the other one has the only server"
    other.commit()
    other.close()
    most = 0
    asked = stack.get_later("/sleeps/60")
    while not asked.done():
        most = max(most, running(stack))
    assert asked.result().status == 504
    assert most == 1


def test_a_key_is_free_again_soon_after_its_query_was_cancelled(stack):
    """Although it might have run for a minute."""
    stack.sql("create table t as select generate_series(1, 2) as n")
    proxy = start(stack, settings="drain_timeout = 1h", postgres="statement_timeout = 1h",
                  rewritten=AS_IF["older"])
    redis = stack.redis.client()
    assert stack.get("/many").status == 500
    lease, = redis.keys("*:lease")
    assert redis.pttl(lease) > 30000
    assert running(stack, "marker:many") == 1, "no cancel arrives"
    redis.delete(lease)
    wait_until(lambda: proxy.kept, "the request to cancel was sent")
    proxy.keeps_cancels = False
    assert stack.get("/many").status == 500
    wait_until(lambda: redis.pttl(lease) <= 1000, "the key is free within a second")
    stack.sql("delete from t where n = 2")
    wait_until(lambda: stack.get("/many").status == 200, "it is asked again")


def test_without_redis_too_no_second_query_of_a_key_is_begun(stack):
    stack.sql("create table t as select generate_series(1, 2) as n")
    start(stack)
    stack.redis.stop()
    try:
        while stack.executions("marker:many") < 2:
            assert stack.get("/many").status in (500, 503)
            assert running(stack, "marker:many") <= 1
    finally:
        stack.redis.start()


def test_a_query_whose_row_is_too_large_to_be_taken_in(stack):
    """It is not read to its end, and holds its slot and its key until that all the same."""
    proxy = start(stack, settings="max_response = 1mb", postgres="slots = 1",
                  rewritten=AS_IF["older"])
    proxy.far = True
    for _ in range(2):
        assert stack.get("/vast").status == 500
        assert stack.get("/one").status == 503
        assert running(stack, "marker:vast") == 1


def ask_until(stack, path, executions):
    """How many queries of the key ran at once at the most, and what became of the requests."""
    most, statuses = 0, []
    while stack.executions("marker:slow") < executions:
        asked = stack.get_later(path)
        while not asked.done():
            most = max(most, running(stack))
        statuses.append(asked.result().status)
    return most, statuses


@pytest.mark.parametrize("pooled", [False, True])
def test_a_connection_that_is_lost_on_our_side_alone(stack, pooled):
    """What is between has ended it, and the server has nothing to notice: it is told to end the
    query, which is sent again then, by one of those who wait for it."""
    proxy = start(stack, workers=2, settings="drain_timeout = 1h",
                  postgres="statement_timeout = 20s" + ("\n prepared = false" if pooled else ""))
    proxy.keeps_cancels = False
    asked = [stack.get_later("/takes/6") for _ in range(4)]
    wait_until(lambda: sleeps(stack), "the query runs")
    proxy.cut_clients()
    most = 0
    while not all(one.done() for one in asked):
        most = max(most, running(stack))
    assert most == 1
    assert {one.result().status for one in asked} <= {200, 503}
    assert 200 in {one.result().status for one in asked}
    assert stack.executions("marker:slow") == 2


@pytest.mark.parametrize("pooled", [False, True])
def test_a_connection_that_is_lost_so_and_a_server_that_is_not_told(stack, pooled):
    """The query runs on to its limit."""
    proxy = start(stack, workers=2, postgres="statement_timeout = 4s" +
                  ("\n prepared = false" if pooled else ""))
    asked = stack.get_later("/takes/60")
    wait_until(lambda: sleeps(stack), "the query runs")
    proxy.cut_clients()
    most, statuses = ask_until(stack, "/takes/60", 2)
    assert most == 1
    assert set(statuses) | {asked.result().status} <= {503, 504}
    assert proxy.kept


def test_connections_that_are_lost_so_one_after_the_other(stack):
    """It is sent three times in all."""
    proxy = start(stack, settings="drain_timeout = 1h", postgres="statement_timeout = 15s")
    proxy.keeps_cancels = False
    asked = stack.get_later("/takes/2")
    wait_until(lambda: sleeps(stack), "the query runs")
    proxy.cut_clients()
    wait_until(lambda: stack.executions("marker:slow") == 2 and sleeps(stack), "it runs again")
    proxy.cut_clients()
    assert asked.result().status == 200
    assert stack.executions("marker:slow") == 3


def test_a_connection_that_is_lost_so_and_a_reload(stack):
    """The process that holds the key stays until the query has ended, although its client has
    gone."""
    proxy = start(stack, settings="drain_timeout = 1h", postgres="statement_timeout = 6s")
    with fastcgi.Connection(stack.socket) as client:
        client.send(fastcgi.request("/takes/60"))
        wait_until(lambda: sleeps(stack), "the query runs")
        proxy.cut_clients()
        wait_until(lambda: proxy.kept, "the server is not told")
    before = stack.worker.children()
    os.kill(stack.worker.pid, signal.SIGHUP)
    wait_until(lambda: before != stack.worker.children() and
               (not set(before) <= set(stack.worker.children()) or
                b'leeway_workers{state="draining"} 1' in stack.ask("/metrics")[2]), "it drains")
    most, _ = ask_until(stack, "/takes/60", 2)
    assert most == 1
    stack.await_replaced(stack.worker, before)


def test_a_connection_that_is_lost_so_where_there_is_no_descriptor_for_a_cancel(stack):
    """Then the server has not been told either: it is not as if nobody listened there."""
    proxy = start(stack, settings="drain_timeout = 1h", postgres="statement_timeout = 5s")
    asked = stack.get_later("/takes/60")
    wait_until(lambda: sleeps(stack), "the query runs")
    worker, = stack.worker.children()
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    threads, files = count(worker, "task"), count(worker, "fd")
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, limits[1]))
    proxy.cut_clients()
    wait_until(lambda: count(worker, "fd") < files, "the connection is lost")
    wait_until(lambda: count(worker, "task") == threads, "the request has failed")
    resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
    most, _ = ask_until(stack, "/takes/60", 2)
    assert most == 1
    assert asked.result().status in (503, 504)


def test_a_poolers_answer_to_a_request_to_cancel_tells_nothing(stack):
    """It gives one whether it has found the query or not."""
    start_pgbouncer(stack, "transaction", size=5)
    proxy = start(stack, workers=2, behind=stack.path("pooler/.s.PGSQL.6432"),
                  postgres="statement_timeout = 4s")
    proxy.keeps_cancels = False
    proxy.drops_cancels = True
    asked = stack.get_later("/takes/60")
    wait_until(lambda: sleeps(stack), "the query runs")
    proxy.cut_clients()
    most, _ = ask_until(stack, "/takes/60", 2)
    assert most == 1
    assert asked.result().status in (503, 504)


def test_a_connection_that_is_lost_while_its_query_is_cancelled(stack):
    """It holds its slot, as it would have with the connection."""
    proxy = start(stack, postgres="slots = 1\n slot_timeout = 0s\n statement_timeout = 4s",
                  rewritten=AS_IF["older"])
    assert stack.get("/halts").status == 500
    wait_until(lambda: sleeps(stack, "marker:endless"), "the server says nothing more")
    proxy.cut_clients()
    refused = 0
    while stack.get("/one").status == 503:
        refused += 1
    assert refused > 0
    assert running(stack, "marker:endless") == 0


@pytest.mark.parametrize("told", [False, True])
def test_who_comes_when_those_have_left_whose_connection_was_lost_so(stack, told):
    """The query is sent again for who waits for it then: they leave before the server is told, or
    behind that."""
    proxy = start(stack, settings="drain_timeout = 1h", postgres="statement_timeout = 20s")
    proxy.keeps_cancels = False
    stack.redis.stop()
    with fastcgi.Connection(stack.socket) as first:
        first.send(fastcgi.request("/takes/3"))
        wait_until(lambda: sleeps(stack), "the query runs")
        proxy.cut_clients()
        if told:
            wait_until(lambda: running(stack) == 0, "it is cancelled")
            assert stack.get("/one").status == 200
    assert stack.get("/takes/3").status == 200
    assert stack.executions("marker:slow") == 2

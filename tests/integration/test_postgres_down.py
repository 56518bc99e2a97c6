# SPDX-License-Identifier: BSD-2-Clause
"""Without Postgres hits go on, misses are 503, and a context may allow more."""
import os
import re
import signal
import time

import pytest

from harness.postgres import GATE
from harness.postgres_proxy import PostgresProxy
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 60s }}
context "lenient" {{ budget = 60s  stale_if_error = 1h }}
route "/items/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}}
route "/lenient/{{id}}" {{
  context = "lenient"
  param "id" {{ type = int }}
  sql = "select id, name from items where id = $1 -- marker:lenient"
  shape = object
}}
route "/gated" {{ context = "c"  sql = "select 1 as n from {GATE} -- marker:gated"  shape = value }}
"""


@pytest.fixture(name="outage")
def make_outage(stack):
    """Makes Postgres go away; it is there again after the test in any case."""
    yield stack.postgres.stop
    if not stack.postgres.process.is_running():
        stack.postgres.start()


def start(stack, **options):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'item ' || i from generate_series(1, 100) i")
    return stack.start(ROUTES, **options)


def told_back(process):
    """Of how many milliseconds each of its processes has said that Postgres was away."""
    return [int(ms) for ms in re.findall(r'^info .*msg="postgres is back" host=\S+ away_ms=(\d+)$',
                                         process.log_text(), re.M)]


def test_the_log_says_when_it_is_back_and_for_how_long_it_was_away(stack, outage):
    start(stack, workers=2)
    wait_until(lambda: all(stack.get(f"/items/{i}").status == 200 for i in range(1, 9)), "all work")
    before = time.monotonic()
    outage()
    wait_until(lambda: len(set(re.findall(r"pid=(\d+) msg=\"cannot connect to postgres",
                                          stack.worker.log_text()))) == 2, "both have noticed")
    assert not told_back(stack.worker)
    stack.postgres.start()
    wait_until(lambda: len(told_back(stack.worker)) == 2, "both say that it is back")
    longest = (time.monotonic() - before) * 1000
    assert all(0 < ms <= longest for ms in told_back(stack.worker)), stack.worker.log_text()
    # sessions that are made from now on are no news
    stack.sql("select pg_terminate_backend(pid) from pg_stat_activity "
              "where application_name = 'leeway'")
    wait_until(lambda: all(stack.get(f"/items/{i}").status == 200 for i in range(20, 28)), "all")
    assert len(told_back(stack.worker)) == 2


def await_answer(stack, path):
    return wait_until(
        lambda: next((response for response in [stack.get(path)] if response.status == 200), None),
        "Postgres is found again")


def test_hits_go_on_and_misses_are_503(stack, outage):
    start(stack)
    stack.get("/items/7")
    outage()
    for _ in range(5):
        assert stack.get("/items/7").cache.startswith("leeway; hit; ttl=")
    for path in ("/items/8", "/items/8", "/items/9"):
        refused = stack.get(path)
        assert refused.status == 503
        assert refused.headers["retry-after"] in ("1", "2")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.control == "no-store"
    assert stack.get("/health").status == 200, "hits can be served"
    stack.postgres.start()
    assert await_answer(stack, "/items/8").json()["id"] == 8


def test_a_worker_that_can_serve_nothing_is_not_healthy(stack, outage):
    start(stack, refresher=False, workers=1)  # each notices by itself
    assert stack.ask("/health")[::2] == (200, b'{"status":"ok"}\n')
    outage()
    wait_until(lambda: b"leeway_postgres_up 0" in stack.ask("/metrics")[2], "the outage is known")
    assert stack.ask("/health")[0] == 200
    stack.redis.stop()
    wait_until(lambda: stack.ask("/health")[0] == 503, "both are known to be away")
    status, headers, body = stack.ask("/health", REMOTE_ADDR="10.0.0.1")
    assert (status, headers["cache-control"]) == (503, "no-store")
    assert body == b'{"status":"down","reasons":["redis","postgres"]}\n'
    assert stack.ask("/health", method="HEAD")[::2] == (503, b"")
    assert b'"details":["Redis' in stack.ask("/health", REMOTE_ADDR="127.0.0.1")[2]
    stack.postgres.start()
    wait_until(lambda: stack.ask("/health")[0] == 200, "queries can be run")
    assert stack.ask("/items/1")[0] == 200


def test_stale_hits_go_on_and_the_entry_stays(stack, outage):
    start(stack)
    stack.get("/items/7")
    stack.entries.age(55)
    outage()
    response = stack.get("/items/7")
    assert "detail=stale" in response.cache
    wait_until(lambda: "cannot connect" in stack.refresher.log_text(), "the refresher has tried")
    assert stack.get("/items/7").status == 200
    stack.postgres.start()
    wait_until(lambda: "stale" not in stack.get("/items/7").cache, "it is refreshed")
    assert not stack.redis.client().keys("{leeway:jobs}:*:failures:*"), "nobody's failure but ours"


def test_past_the_budget_it_is_503_without_stale_if_error(stack, outage):
    start(stack, refresher=False)
    stack.get("/items/7")
    stack.entries.age(60)
    outage()
    assert stack.get("/items/7").status == 503


def test_stale_if_error_serves_past_the_budget_and_says_so(stack, outage):
    start(stack, refresher=False)
    body = stack.get("/lenient/7").body
    expiry_ms = stack.redis.client().pexpiretime(stack.entries.only().key)
    assert abs(expiry_ms - (stack.entries.only().snapshot_us // 1000 + 3660000)) <= 1
    stack.entries.age(100)
    outage()
    response = stack.get("/lenient/7")
    assert (response.status, response.body) == (200, body)
    assert re.fullmatch(r"leeway; hit; ttl=-4[0-4]; detail=stale-if-error", response.cache)
    assert response.control == "private, no-cache"
    assert stack.get("/lenient/8").status == 503

    stack.entries.age(3600)
    assert stack.get("/lenient/7").status == 503


def test_stale_if_error_ends_with_the_outage(stack, outage):
    start(stack, refresher=False)
    stack.get("/lenient/7")
    stack.entries.age(100)
    outage()
    assert "stale-if-error" in stack.get("/lenient/7").cache
    stack.postgres.start()
    wait_until(lambda: stack.get("/lenient/7").cache.startswith("leeway; hit; ttl=5"),
               "a new response")


def test_a_sql_error_is_no_reason_to_serve_an_old_response(stack):
    start(stack, refresher=False)
    stack.get("/lenient/7")
    stack.entries.age(100)
    stack.sql("alter table items rename to hidden")
    assert stack.get("/lenient/7").status == 500


def test_postgres_goes_while_a_query_is_under_way(stack, outage):
    start(stack, refresher=False)
    with stack.gate():
        request = stack.get_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        outage()
        refused = request.result()
    assert refused.status == 503 and refused.headers.get("retry-after") in ("1", "2")


def test_started_without_postgres(stack, outage):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items values (7, 'seven')")
    outage()
    stack.start(ROUTES)
    assert stack.get("/items/7").status == 503
    stack.postgres.start()
    assert await_answer(stack, "/items/7").json()["name"] == "seven"


def test_a_session_that_the_server_ends_in_the_middle_is_not_noticed(stack):
    start(stack, refresher=False)
    with stack.gate():
        request = stack.get_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                  " where application_name = 'leeway' and datname = current_database()")
        wait_until(lambda: stack.executions("marker:gated") == 2, "it is sent again")
    assert request.result().status == 200
    assert stack.executions("marker:gated") == 2


def running(stack):
    return stack.sql("select count(*) from pg_stat_activity where application_name = 'leeway'"
                     " and state = 'active' and query like '%%marker:gated%%'")[0][0]


def test_a_query_whose_connection_was_cut_is_not_begun_twice_at_once(stack):
    """The server, which says nothing, runs it until it has noticed."""
    proxy = PostgresProxy(stack.path("proxy"), stack.postgres.folder)
    stack.postgres_conninfo = f"host={proxy.folder} user=leeway dbname={stack.database}"
    start(stack, refresher=False, workers=2, postgres="slots = 1\n slot_timeout = 10s")
    with stack.gate():
        requests = [stack.get_later("/gated") for _ in range(4)]
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        for connection in list(proxy.connections):
            proxy.end(connection)
        most = []
        wait_until(lambda: most.append(running(stack)) or
                   stack.executions("marker:gated") == 2, "it is sent again")
        assert max(most) == 1
    assert {request.result().status for request in requests} == {200}
    assert stack.executions("marker:gated") == 2


def test_sessions_that_the_server_ended_are_made_anew(stack):
    start(stack, refresher=False, workers=1)
    assert stack.get("/items/1").status == 200
    stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
              " where datname = current_database() and pid <> pg_backend_pid()")
    # nobody notices: a query that was not begun is sent again
    assert stack.get("/items/2").status == 200


def test_unnamed_statements_do_as_well(stack):
    start(stack, refresher=False, postgres="prepared = false")
    assert stack.get("/items/1").json() == {"id": 1, "name": "item 1"}
    assert stack.sql("select count(*) from pg_prepared_statements") == [(0,)]


@pytest.fixture(name="hanging")
def make_hanging(stack):
    yield stack.postgres.hang
    stack.postgres.go_on()


def count_lines(stack, text):
    return stack.worker.log_text().count(text)


def test_a_server_that_hangs_is_waited_for_once(stack, hanging):
    """The first to ask waits for its time-out; then nobody does, but for a try now and then."""
    start(stack, refresher=False, workers=1,
          postgres="statement_timeout = 1s\n connect_timeout = 1s\n slots = 20")
    for number in range(1, 21):
        stack.get(f"/lenient/{number}")
    stack.entries.age(61)
    hanging()
    for _ in range(2):
        for response in stack.get_many([f"/lenient/{number}" for number in range(1, 21)]):
            assert response.status == 200
            assert response.cache.endswith("; detail=stale-if-error")
    assert stack.get("/items/1").status == 503
    timed_out = count_lines(stack, 'msg="query timed out"')
    for _ in range(5):
        for number in range(1, 21):
            assert stack.get(f"/lenient/{number}").cache.endswith("; detail=stale-if-error")
    assert count_lines(stack, 'msg="query timed out"') == timed_out, "nobody waits for a query"
    assert count_lines(stack, 'msg="cannot connect to postgres"') < 25, "and few for a connection"
    stack.postgres.go_on()
    assert await_answer(stack, "/items/2").json()["id"] == 2


@pytest.fixture(name="standby")
def make_standby(stack):
    """Starts Postgres anew in recovery; it is out of it after the test in any case."""
    signal_file = stack.postgres.data + "/standby.signal"

    def start_anew():
        stack.postgres.stop()
        with open(signal_file, "w", encoding="ascii"):
            pass
        stack.postgres.start()

    yield start_anew
    if os.path.exists(signal_file):
        stack.postgres.stop()
        os.remove(signal_file)
        stack.postgres.start()


def test_a_server_in_recovery_is_not_asked(stack, standby):
    """A standby may lag by any time."""
    start(stack)
    stack.get("/items/7")
    standby()
    assert stack.sql("select pg_is_in_recovery()") == [(True,)]
    assert stack.get("/items/8").status == 503
    assert stack.get("/items/7").cache.startswith("leeway; hit")
    assert "postgres is in recovery" in stack.worker.log_text()
    stack.sql("select pg_promote()")
    assert await_answer(stack, "/items/8").json()["id"] == 8


def test_a_worker_that_was_stopped_does_not_blame_the_server(stack):
    """It finds its deadlines past, and what came in the meantime: that is looked at first."""
    start(stack, refresher=False, workers=1, postgres="statement_timeout = 1s")
    worker, = stack.worker.children()
    with stack.gate():
        asked = stack.get_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: not stack.sql("select 1 from pg_locks where locktype = 'advisory'"),
               "the query is over")
    time.sleep(1.5)  # past statement_timeout, which is what is tested
    os.kill(worker, signal.SIGCONT)
    assert (asked.result().status, asked.result().body) == (200, b"1")
    assert stack.get("/items/7").status == 200, "the breaker is closed"
    assert count_lines(stack, "timed out") == 0


def test_sessions_that_end_while_they_are_set_up_after_an_outage(stack):
    """A server that starts, and whose sessions are ended once more, is tried again and again."""
    proxy = PostgresProxy(stack.path("proxy"), stack.postgres.folder)
    stack.postgres_conninfo = f"host={proxy.folder} user=leeway dbname={stack.database}"
    stack.start('context "none" { budget = 0s }\n'
                'route "/one" { context = "none"  sql = "select 1 as n"  shape = value }',
                refresher=False, workers=1)
    assert stack.get("/one").status == 200
    proxy.go_away()
    wait_until(lambda: stack.get("/one").status == 503, "it is away")
    proxy.ending = True
    proxy.listen()
    wait_until(lambda: stack.get("/one").status == 503 and proxy.ended >= 3, "it ends them all")
    proxy.ending = False
    wait_until(lambda: stack.get("/one").status == 200, "it is back")


def test_a_query_that_waits_for_a_lock_is_not_a_server_that_hangs(stack):
    stack.sql("create table t (n int)")
    stack.start("""context "none" { budget = 0s }
route "/one" { context = "none"  sql = "select 1 as n"  shape = value }
route "/t"   { context = "none"  sql = "select count(*)::int as n from t, pg_sleep(60)" shape = value }
""", refresher=False, workers=1, postgres="statement_timeout = 2s")
    assert stack.get("/one").status == 200
    owner = stack.postgres.connect(stack.database)
    owner.autocommit = False
    owner.cursor().execute("lock table t in access exclusive mode")
    later = stack.get_later("/t")  # waits while it is described, and its time goes by
    wait_until(lambda: stack.sql("select count(*) from pg_locks where not granted and "
                                 "relation = 't'::regclass") == [(1,)], "it waits for the lock")
    began = time.monotonic()
    while time.monotonic() - began < 1:
        assert stack.get("/one").status == 200
    owner.commit()
    owner.close()
    while not later.done():
        assert stack.get("/one").status == 200
    assert later.result().status == 504
    for _ in range(20):
        assert stack.get("/one").status == 200


@pytest.fixture(name="refused_role")
def make_refused_role(stack):
    """Makes the server refuse new sessions of leeway's role, or take them again."""
    stack.sql("drop role if exists moody")
    stack.sql("create role moody login")
    stack.postgres_conninfo = stack.postgres_conninfo.replace("user=leeway", "user=moody")
    yield lambda word: stack.sql(f"alter role moody {word}")
    stack.stop()
    stack.sql("drop owned by moody; drop role moody")


def test_a_crowd_waits_for_the_sessions_that_there_are_while_new_ones_are_refused(stack,
                                                                                  refused_role):
    """As after a change of the password: 28xxx."""
    start(stack, refresher=False, workers=1, postgres="slots = 8\n slot_timeout = 15s")
    stack.sql("grant select on items to moody")
    assert stack.get("/items/1").status == 200
    refused_role("nologin")
    with stack.gate():
        gated = stack.get_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the session has a query")
        crowd = [stack.get_later(f"/items/{i}") for i in range(2, 12)]
        wait_until(lambda: b"\nleeway_postgres_up 0" in stack.ask("/metrics")[2], "it is known")
        # also those who come when it is known
        crowd += [stack.get_later(f"/items/{i}") for i in range(12, 22)]
        assert stack.get("/items/1").status == 200
        assert not any(later.done() for later in crowd)
    assert gated.result().status == 200
    assert [later.result().status for later in crowd] == [200] * 20
    assert b"\nleeway_postgres_up 0" in stack.ask("/metrics")[2]
    # without any session it is away
    stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'moody'")
    assert stack.get("/items/30").status == 503
    refused_role("login")
    await_answer(stack, "/items/31")


def test_a_failure_to_connect_beside_sessions_that_work_is_found_to_be_over(stack, refused_role):
    """Nobody needs another session any more."""
    start(stack, refresher=False, workers=1)
    stack.sql("grant select on items to moody")
    assert stack.get("/items/1").status == 200
    refused_role("nologin")
    with stack.gate():
        gated = stack.get_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the session has a query")
        assert stack.get("/items/2").status == 503
    assert gated.result().status == 200
    wait_until(lambda: b"\nleeway_postgres_up 0" in stack.ask("/metrics")[2], "the failure is known")
    assert stack.get("/items/3").status == 200, "it goes on"
    refused_role("login")
    wait_until(lambda: b"\nleeway_postgres_up 1" in stack.ask("/metrics")[2], "it is over")

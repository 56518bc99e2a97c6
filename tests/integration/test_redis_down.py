# SPDX-License-Identifier: BSD-2-Clause
"""Without Redis everything is answered from Postgres, and nothing is remembered."""
import contextlib
import os
import re
import signal
import time

import pytest
from harness import fastcgi
from harness.postgres import GATE
from harness.proxy import Proxy
from harness.redis_server import Redis
from harness.wait import wait_until

pytestmark = pytest.mark.transport

ROUTES = f"""
context "c" {{ budget = 60s }}
route "/items/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}}
route "/gated" {{ context = "c"  sql = "select 1 as n from {GATE} -- marker:gated"  shape = value }}
route "/large" {{
  context = "c"
  sql = "select repeat('x', 900000) as t from {GATE} -- marker:large"
  shape = value
}}
"""


def prepare(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items values (7, 'seven')")


def check_bypass(response):
    assert (response.status, response.json()) == (200, {"id": 7, "name": "seven"})
    assert response.cache == "leeway; fwd=bypass; detail=redis-unavailable"
    assert response.control == "private, no-cache"
    assert "etag" in response.headers


def await_hit(stack):
    wait_until(lambda: (stack.get("/items/7").cache or "").startswith("leeway; hit"), "a hit")


def test_redis_goes_and_comes_back(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    await_hit(stack)
    stack.redis.stop()
    before = stack.executions("marker:item")
    for _ in range(3):
        check_bypass(stack.get("/items/7"))
    assert stack.executions("marker:item") == before + 3
    stack.redis.start()
    await_hit(stack)
    assert len(stack.entries.keys()) == 1


def test_conditional_requests_work_without_redis(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    tag = stack.get("/items/7").headers["etag"]
    stack.redis.stop()
    assert stack.get("/items/7", If_None_Match=tag).status == 304


def test_started_without_redis(stack):
    """By a host that has verified its database before: by another nothing is served yet
    (test_identity)."""
    prepare(stack)
    stack.configure(ROUTES)
    stack.start_worker(name="first").stop()
    stack.redis.stop()
    stack.start(ROUTES)
    check_bypass(stack.get("/items/7"))
    stack.redis.start()
    await_hit(stack)
    # the refresher has found it, too
    wait_until(lambda: stack.redis.client().keys("{leeway:jobs}:*:alive:*"), "a heartbeat")


def test_a_redis_that_hangs_is_left_alone(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    await_hit(stack)
    stack.redis.process.send(signal.SIGSTOP)
    check_bypass(stack.get("/items/7"))
    stack.redis.process.send(signal.SIGCONT)
    await_hit(stack)


def test_late_replies_of_a_redis_that_hung_are_not_taken_for_others(stack):
    prepare(stack)
    stack.sql("insert into items values (8, 'eight')")
    stack.start(ROUTES, refresher=False, workers=1)
    assert stack.get("/items/8").json()["id"] == 8
    await_hit(stack)
    stack.redis.process.send(signal.SIGSTOP)
    assert stack.get("/items/8").json()["id"] == 8
    stack.redis.process.send(signal.SIGCONT)
    await_hit(stack)
    for _ in range(5):
        assert stack.get("/items/7").json()["id"] == 7
        assert stack.get("/items/8").json()["id"] == 8


def test_one_worker_still_asks_once_per_key(stack):
    stack.start(ROUTES, refresher=False, workers=1)
    stack.redis.stop()
    crowd = [fastcgi.Connection(stack.socket) for _ in range(6)]
    with stack.gate():
        for connection in crowd:
            connection.send(fastcgi.request("/gated"))
        # connections are taken in turn: when this one is answered, the others wait
        assert stack.ask("/health")[0] == 200
    answers = [connection.read_answer() for connection in crowd]
    assert [(status, body) for status, _, body in answers] == [(200, b"1")] * 6
    # who came when the query had been sent waits for the next one, with all the others
    assert stack.executions("marker:gated") <= 2
    for connection in crowd:
        connection.close()


def test_redis_goes_while_a_query_is_under_way(stack):
    stack.start(ROUTES, refresher=False)
    with stack.gate():
        request = stack.get_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        stack.redis.stop()
    response = request.result()
    assert (response.status, response.body) == (200, b"1")
    assert response.cache == "leeway; fwd=bypass; detail=redis-unavailable"


def test_a_redis_that_hangs_when_a_large_response_is_stored(stack):
    stack.start(ROUTES, refresher=False, workers=1)
    with stack.gate():
        request = stack.get_later("/large")
        wait_until(lambda: stack.executions("marker:large") == 1, "the query is under way")
        stack.redis.process.send(signal.SIGSTOP)
    response = request.result()
    stack.redis.process.send(signal.SIGCONT)
    assert (response.status, len(response.json())) == (200, 900000)
    assert response.cache == "leeway; fwd=bypass; detail=redis-unavailable"
    # more than a socket takes: what timed out was the writing
    assert 'msg="redis has not answered in time" command=EVAL' in stack.worker.log_text()


def test_a_redis_that_takes_no_writes_costs_no_answer(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    stack.sql("insert into items values (8, 'eight')")
    assert stack.get("/items/8").cache.endswith("; stored")
    stack.redis.client().config_set("maxmemory", "1")
    check_bypass(stack.get("/items/7"))
    assert stack.get("/items/8").cache.startswith("leeway; hit"), "reading goes on"
    assert len(stack.entries.keys()) == 1
    stack.redis.client().config_set("maxmemory", "0")
    await_hit(stack)


def test_the_refresher_outlives_redis(stack):
    prepare(stack)
    stack.start(ROUTES)
    await_hit(stack)
    wait_until(lambda: stack.redis.client().keys("{leeway:jobs}:*:alive:*"), "a heartbeat")
    children = stack.refresher.children()
    stack.redis.stop()
    stack.redis.start()
    await_hit(stack)
    stack.sql("update items set name = 'new'")
    stack.entries.age(55)
    wait_until(lambda: stack.get("/items/7").json()["name"] == "new", "the refresh")
    assert stack.refresher.children() == children


def test_the_log_says_when_it_is_back_and_for_how_long_it_was_away(stack):
    prepare(stack)
    stack.start(ROUTES)
    await_hit(stack)
    before = time.monotonic()
    stack.redis.stop()
    wait_until(lambda: "redis is away" in stack.worker.log_text(), "it is noticed")
    stack.redis.start()

    def told():
        return re.findall(r'^info .*msg="redis is back" connection=leeway-worker address=\S+ '
                          r'away_ms=(\d+)$', stack.worker.log_text(), re.M)
    wait_until(told, "it is back")
    assert len(told()) == 1
    assert 0 < int(told()[0]) <= (time.monotonic() - before) * 1000


def check_warning(stack, problem, *options):
    """One line of each daemon, however many children it has."""
    stack.redis.stop()
    stack.redis.start(*options)
    stack.configure(ROUTES, workers=4)
    for process in (stack.start_worker(), stack.start_refresher("-n", "1")):
        said = wait_until(lambda: [line for line in process.log_text().splitlines()  # pylint: disable=W0640
                                   if "redis does not suit" in line], "the warning")
        assert len(said) == 1 and said[0].startswith("warn ") and problem in said[0]


def test_a_redis_that_would_evict_the_queue_is_warned_of(stack):
    check_warning(stack, "volatile-lru", "--maxmemory-policy", "allkeys-lru")


def test_a_replica_is_warned_of_and_only_read(stack):
    prepare(stack)
    stack.configure(ROUTES)
    stack.start_worker(name="first").stop()  # the database is known to be the right one
    check_warning(stack, "replica", "--replicaof", "127.0.0.1", "1")
    stack.start_lighttpd()
    check_bypass(stack.get("/items/7"))
    stack.redis.client().replicaof("no", "one")
    await_hit(stack)


def test_a_redis_that_becomes_read_only(stack):
    """As the old master does after a fail-over: what it holds is served within its budget."""
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    await_hit(stack)
    stack.sql("insert into items values (8, 'eight')")
    stack.redis.client().replicaof("127.0.0.1", "1")
    assert stack.get("/items/7").cache.startswith("leeway; hit")
    bypassed = stack.get("/items/8")
    assert bypassed.cache == "leeway; fwd=bypass; detail=redis-unavailable"
    stack.redis.client().replicaof("no", "one")
    wait_until(lambda: stack.get("/items/8").cache.startswith("leeway; hit"), "a hit")


def test_a_replaced_redis_that_lives_on_as_a_replica(stack):
    """Its address leads to another, and no connection was closed."""
    prepare(stack)
    os.mkdir(stack.path("other"))
    other = Redis(stack.path("other"), "unix")
    path = stack.path("proxy.sock")
    with contextlib.ExitStack() as ends:
        ends.callback(other.stop)
        proxy = ends.enter_context(Proxy(path, stack.redis.socket))
        stack.reach_redis_by(path)
        stack.start(ROUTES)
        await_hit(stack)
        ends.callback(setattr, proxy, "target", stack.redis.socket)
        proxy.target = other.socket
        ends.callback(stack.redis.client().replicaof, "no", "one")
        stack.redis.client().replicaof("127.0.0.1", "1")
        stack.sql("insert into items values (8, 'eight')")
        wait_until(lambda: stack.get("/items/8").cache.startswith("leeway; hit"), "a hit")
        assert other.client().keys("leeway:{items*}:entry")


def test_a_redis_that_was_restarted_empty_is_filled_by_one_query(stack):
    prepare(stack)
    stack.start(ROUTES, workers=4)
    await_hit(stack)
    stack.redis.stop()
    stack.redis.start()
    before = stack.executions("marker:item")
    wait_until(lambda: "leeway-worker" in {client["name"] for client in
                                           stack.redis.client().client_list()}, "a worker is back")
    await_hit(stack)
    wait_until(lambda: sum(client["name"] == "leeway-worker" for client in
                           stack.redis.client().client_list()) == 4, "all are back")
    stored = stack.executions("marker:item")
    assert {stack.get("/items/7").cache.split(";")[1] for _ in range(12)} == {" hit"}
    assert stack.executions("marker:item") == stored > before


def test_a_redis_that_evicts_costs_queries_and_no_answer(stack):
    prepare(stack)
    stack.sql("insert into items select i, 'item ' || i from generate_series(100, 400) i")
    stack.start(ROUTES)
    client = stack.redis.client()
    client.config_set("maxmemory-policy", "allkeys-random")
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 20000)
    for number in list(range(100, 400)) * 2:
        response = stack.get(f"/items/{number}")
        assert response.json() == {"id": number, "name": f"item {number}"}
    assert client.info("stats")["evicted_keys"] > 0
    client.config_set("maxmemory", 0)
    await_hit(stack)

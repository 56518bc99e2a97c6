# SPDX-License-Identifier: BSD-2-Clause
"""A Redis that is slow, or takes no writes, slows only what asks it; a hit asks it for one GET."""
import contextlib
import os
import select

import pytest
from harness import fastcgi
from harness.network import free_port
from harness.postgres import GATE
from harness.proxy import Proxy
from harness.wait import wait_until

pytestmark = pytest.mark.transport

ROUTES = f"""
context "c" {{ budget = 60s }}
context "off" {{ budget = 0s }}
route "/n/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as n -- marker:n"
  shape = value
}}
route "/gated/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as n from {GATE} -- marker:gated"
  shape = value
}}
route "/off" {{ context = "off"  sql = "select 1 -- marker:off"  shape = value }}
"""
PATIENT = "command_timeout = 15s"


@pytest.fixture(name="paused")
def writes_held_back(stack):
    """`with paused():` Redis answers reads and holds every write, leases and stores, back."""
    @contextlib.contextmanager
    def paused():
        stack.redis.client().execute_command("CLIENT", "PAUSE", "60000", "WRITE")
        try:
            yield
        finally:
            stack.redis.client().execute_command("CLIENT", "UNPAUSE")
    return paused


@pytest.fixture(name="names")
def names_in_hand(stack):
    names = stack.shim()
    yield names
    names.hold_names(False)


def start(stack, redis=PATIENT, routes=ROUTES):
    stack.configure(routes, redis=redis, workers=1)
    return stack.start_worker()


def is_hit(answer):
    return answer[0] == 200 and answer[1]["cache-status"].startswith("leeway; hit")


def has_come(connection):
    return bool(select.select([connection.socket], [], [], 0)[0])


def test_hits_beside_misses_whose_leases_are_held_back(stack, paused):
    start(stack)
    stack.ask("/n/1")
    with contextlib.ExitStack() as exits:
        misses = [exits.enter_context(fastcgi.Connection(stack.socket)) for _ in range(12)]
        with paused():
            for number, miss in enumerate(misses):
                miss.send(fastcgi.request(f"/n/{100 + number}"))
            for _ in range(3):
                assert is_hit(stack.ask("/n/1"))
            assert not any(has_come(miss) for miss in misses)
        for number, miss in enumerate(misses):
            status, headers, body = miss.read_answer()
            assert (status, int(body)) == (200, 100 + number)
            assert headers["cache-status"].endswith("stored")


def test_hits_beside_a_store_that_is_held_back(stack, paused):
    start(stack)
    stack.ask("/n/1")
    with fastcgi.Connection(stack.socket) as miss:
        with stack.gate() as gate:
            miss.send(fastcgi.request("/gated/1"))
            wait_until(lambda: stack.executions("marker:gated") == 1, "its query runs")
            with paused():
                gate.open()
                wait_until(lambda: stack.postgres.is_idle(stack.database), "its query has ended")
                for _ in range(3):
                    assert is_hit(stack.ask("/n/1"))
                assert not has_come(miss)
        status, headers, _ = miss.read_answer()
        assert status == 200 and headers["cache-status"].endswith("stored")


def test_a_redis_that_takes_no_writes_costs_misses_their_lease(stack, paused):
    """Not for each of them anew: that would be command_timeout for every miss."""
    start(stack, redis="command_timeout = 100ms")
    stack.ask("/n/1")
    with paused():
        status, headers, body = stack.ask("/n/2")
        assert (status, int(body)) == (200, 2)
        assert headers["cache-status"] == "leeway; fwd=bypass; detail=redis-unavailable"
        assert is_hit(stack.ask("/n/1"))
        assert "is away" not in stack.logs()
    wait_until(lambda: is_hit(stack.ask("/n/3")), "what misses is stored again")


def test_a_redis_that_answers_nothing_holds_up_what_asks_it_alone(stack):
    with Proxy(stack.path("proxy.sock"), stack.redis.socket) as proxy:
        stack.reach_redis_by(proxy.path)
        start(stack)
        stack.ask("/n/1")
        with fastcgi.Connection(stack.socket) as hit:
            with proxy.held():
                hit.send(fastcgi.request("/n/1"))
                wait_until(lambda: proxy.holds, "the reply is held")
                assert stack.ask("/off")[0] == 200
                assert stack.ask("/health")[0] == 200
                assert not has_come(hit)
            assert is_hit(hit.read_answer())


def test_a_name_that_is_looked_up_slowly(stack, names):
    """Before the first connection, and when it has to be made anew."""
    stack.redis_address, stack.redis_settings = f"tcp:redis.slow.test:{stack.redis.listen()}", ""
    names.hold_names(True)
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    assert stack.ask("/health")[0] in (200, 503)
    names.hold_names(False)
    wait_until(lambda: is_hit(stack.ask("/n/1")), "Redis is there")
    names.hold_names(True)
    stack.redis.client().client_kill_filter(_type="normal", skipme=True)
    for _ in range(3):
        assert stack.ask("/off")[0] == 200
    names.hold_names(False)
    wait_until(lambda: is_hit(stack.ask("/n/1")), "Redis is there again")


def test_many_sessions_at_once_of_a_name_that_is_looked_up_slowly(stack, names):
    port = free_port()
    stack.postgres_conninfo = \
        f"host=postgres.slow.test port={port} user=leeway dbname={stack.database}"
    Proxy(("127.0.0.1", port), os.path.join(stack.postgres.folder, ".s.PGSQL.5432"))
    stack.configure(ROUTES, workers=1, postgres="slots = 32  connect_timeout = 15s")
    stack.start_worker()
    names.hold_names(True)
    with contextlib.ExitStack() as clients:
        misses = [clients.enter_context(fastcgi.Connection(stack.socket)) for _ in range(28)]
        for number, miss in enumerate(misses):
            miss.send(fastcgi.request(f"/n/{number}"))
        assert stack.ask("/health")[0] == 200
        names.hold_names(False)
        assert [miss.read_answer()[0] for miss in misses] == [200] * 28


def test_a_postgres_name_that_is_looked_up_slowly(stack, names):
    port = free_port()
    stack.postgres_conninfo = \
        f"host=postgres.slow.test port={port} user=leeway dbname={stack.database}"
    Proxy(("127.0.0.1", port), os.path.join(stack.postgres.folder, ".s.PGSQL.5432"))
    stack.configure(ROUTES, workers=1, postgres="session_lifetime = 1s  connect_timeout = 15s")
    stack.start_worker()
    assert stack.ask("/n/1")[0] == 200
    names.hold_names(True)
    with fastcgi.Connection(stack.socket) as miss:
        def waits():
            """Until the session's life is over, and a new one is being made."""
            miss.send(fastcgi.request("/off"))
            return not select.select([miss.socket], [], [], 1)[0]
        while not waits():
            miss.read_answer()
            miss.close()
            miss.__init__(stack.socket)
        for _ in range(3):
            assert is_hit(stack.ask("/n/1"))
        assert not has_come(miss)
        names.hold_names(False)
        assert miss.read_answer()[0] == 200

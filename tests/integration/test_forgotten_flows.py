# SPDX-License-Identifier: BSD-2-Clause
"""Connections that something between has forgotten while they were idle: they are found out and
replaced before a client needs them."""
import os

import pytest

from harness.network import free_port
from harness.postgres import GATE
from harness.proxy import Proxy
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 60s }}
context "none" {{ budget = 0s }}
route "/gated" {{ context = "c"  sql = "select 1 as n from {GATE} -- marker:gated"  shape = value }}
route "/n/{{n}}" {{ context = "c"  param "n" {{ type = int }}
                    sql = "select $1 as n"  shape = value }}
route "/one" {{ context = "none"  sql = "select 1 as n"  shape = value }}
"""


@pytest.fixture(name="proxy")
def make_proxy(stack):
    with Proxy(stack.path("proxy.sock"), stack.redis.socket) as proxy:
        yield proxy


def subscribers(stack):
    client = stack.redis.client()
    return sum(count for _, count in client.pubsub_numsub(*client.pubsub_channels("*")))


def test_a_waiter_is_woken_though_its_subscription_was_forgotten(stack, proxy):
    patient = {"settings": "drain_timeout = 30s", "postgres": "statement_timeout = 30s"}
    stack.configure(ROUTES, workers=1, **patient)
    stack.start_worker()
    host = stack.beside("host")
    host.reach_redis_by(proxy.path)
    host.configure(ROUTES, workers=1, **patient)
    host.start_worker()
    with stack.gate():
        leader = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        waiter = host.ask_later("/gated")
        wait_until(lambda: subscribers(stack) == 1, "it waits")
        proxy.go_dead(set(proxy.subscribed))
        wait_until(lambda: not proxy.living & proxy.dead and subscribers(stack) == 1,
                   "it has subscribed anew")
    assert leader.result()[0] == 200
    assert waiter.result()[1]["cache-status"].endswith("; collapsed")


def test_idle_connections_to_redis_are_replaced(stack, proxy):
    stack.reach_redis_by(proxy.path)
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    assert stack.ask("/n/1")[0] == 200
    assert "hit" in stack.ask("/n/1")[1]["cache-status"]
    before, count = proxy.accepted, len(proxy.living)
    proxy.go_dead()
    wait_until(lambda: proxy.accepted - before >= count, "all are made anew")
    assert "hit" in stack.ask("/n/1")[1]["cache-status"]
    assert "stored" in stack.ask("/n/2")[1]["cache-status"]


@pytest.mark.parametrize("settings", ["", "pooler = transaction"])
def test_idle_sessions_are_found_out(stack, settings):
    port = free_port()
    target = os.path.join(stack.postgres.folder, ".s.PGSQL.5432")
    with Proxy(("127.0.0.1", port), target) as proxy:
        stack.postgres_conninfo = \
            f"host=127.0.0.1 port={port} user=leeway dbname={stack.database}"
        stack.configure(ROUTES, workers=1, postgres=settings)
        worker = stack.start_worker()
        assert stack.ask("/one")[0] == 200
        proxy.go_dead()
        wait_until(lambda: not proxy.living & proxy.dead, "they are closed")
        assert stack.ask("/one")[0] == 200
        assert "timed out" not in worker.log_text()

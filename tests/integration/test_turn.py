# SPDX-License-Identifier: BSD-2-Clause
"""Requests that are ready at the same time are looked up together, and each gets its own answer."""
import contextlib
import json
import os
import re
import signal

import pytest
from harness import fastcgi
from harness.proxy import Proxy
from harness.wait import wait_until

pytestmark = pytest.mark.transport

CLIENTS = 40
ROUTES = """
context "long" { budget = 1h }
context "short" { budget = 1m  refresh_at = 0.01 }
context "ledger" { budget = 0s }
route "/long/{id}" {
  context = "long"  param "id" { type = int }
  sql = "select $1::int as id, 'long' as kind -- marker:long"  shape = object
}
route "/short/{id}" {
  context = "short"  param "id" { type = int }
  sql = "select $1::int as id, 'short' as kind -- marker:short"  shape = object
}
route "/ledger/{id}" {
  context = "ledger"  param "id" { type = int }
  sql = "select $1::int as id, 'ledger' as kind -- marker:ledger"  shape = object
}
"""


@pytest.fixture(name="held")
def one_worker_that_can_be_held(stack):
    """What is sent within `with held():` is all there when the only worker looks."""
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker().children()[0]

    @contextlib.contextmanager
    def held():
        os.kill(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)
    return held


@pytest.fixture(name="clients")
def kept_connections(stack, held):
    """Each has been answered once, so that all are seen in one turn."""
    del held
    with contextlib.ExitStack() as exits:
        clients = [exits.enter_context(fastcgi.Connection(stack.socket)) for _ in range(CLIENTS)]
        for client in clients:
            client.ask("/health", keep=True)
        yield clients


def body_of(answer):
    status, _, body = answer
    return status, json.loads(body)


def ttl_of(stack, path):
    return int(re.search(r"; ttl=(\d+)", stack.ask(path)[1]["cache-status"])[1])


def redis_reads(stack):
    return stack.redis.client().info("stats")["total_reads_processed"]


def test_hits_share_pipelines(stack, held, clients):
    for number in range(CLIENTS):
        stack.ask(f"/long/{number}")
    before = redis_reads(stack)
    with held():
        for number, client in enumerate(clients):
            client.send(fastcgi.request(f"/long/{number}", keep=True))
    for number, client in enumerate(clients):
        status, headers, body = client.read_answer()
        assert status == 200 and headers["cache-status"].startswith("leeway; hit")
        assert json.loads(body) == {"id": number, "kind": "long"}
    # at most 16 in one; what else there is are the figures themselves and the clock
    assert redis_reads(stack) - before < CLIENTS / 2


def test_a_mixture_of_everything(stack, held, clients):
    """Hits, stale hits, misses, uncached ones, errors: none gets another's answer."""
    for number in range(CLIENTS):
        if number % 5 < 2:
            stack.ask(("/long/%d", "/short/%d")[number % 5] % number)
    # stale at 0.6 s; ages are upper bounds, which a better measurement of the clocks can lower
    wait_until(lambda: all(ttl_of(stack, f"/short/{number}") <= 57
                           for number in range(1, CLIENTS, 5)), "all are stale, and remain so")
    paths = ["/long/%d", "/short/%d", "/long/%d", "/ledger/%d", "/nowhere/%d"]
    kinds = ["long", "short", "long", "ledger", None]
    with held():
        for number, client in enumerate(clients):
            client.send(fastcgi.request(paths[number % 5] % number, keep=True))
    seen = set()
    for number, client in enumerate(clients):
        status, headers, body = client.read_answer()
        seen.add(re.sub(r"ttl=\d+", "ttl", headers.get("cache-status", str(status))))
        if kinds[number % 5] is None:
            assert status == 404
        else:
            assert (status, json.loads(body)) == (200, {"id": number, "kind": kinds[number % 5]})
    assert seen == {f"leeway; {what}" for what in (
        "hit; ttl", "hit; ttl; detail=stale", "fwd=uri-miss; fwd-status=200; stored",
        "fwd=bypass; detail=no-budget")} | {"404"}


def test_clients_that_have_left(stack, held, clients):
    """Their replies are not taken for those of the clients that are still there."""
    for number in range(CLIENTS):
        stack.ask(f"/long/{number}")
    with held():
        for number, client in enumerate(clients):
            client.send(fastcgi.request(f"/long/{number}", keep=True))
            if number % 3 == 0:
                client.close()
    for number, client in enumerate(clients):
        if number % 3 != 0:
            assert body_of(client.read_answer()) == (200, {"id": number, "kind": "long"})


def test_connections_that_are_not_kept(stack, held):
    with contextlib.ExitStack() as exits:
        with held():
            clients = [exits.enter_context(fastcgi.Connection(stack.socket))
                       for _ in range(CLIENTS)]
            for number, client in enumerate(clients):
                client.send(fastcgi.request(f"/long/{number % 7}"))
        for number, client in enumerate(clients):
            assert body_of(client.read_answer()) == (200, {"id": number % 7, "kind": "long"})
            assert client.is_closed()
    assert stack.executions("marker:long") == 7


def test_redis_dies_under_a_pipeline(stack, held, clients):
    """All are answered, past Redis."""
    for number in range(CLIENTS):
        stack.ask(f"/long/{number}")
    with held():
        for number, client in enumerate(clients):
            client.send(fastcgi.request(f"/long/{number}", keep=True))
        stack.redis.process.send(signal.SIGSTOP)
    for number, client in enumerate(clients):
        status, headers, body = client.read_answer()
        assert status == 200 and "redis-unavailable" in headers["cache-status"]
        assert json.loads(body)["id"] == number
    stack.redis.process.send(signal.SIGCONT)


@pytest.fixture(name="proxy")
def between_leeway_and_redis(stack):
    with Proxy(stack.path("proxy.sock"), stack.redis.socket) as proxy:
        stack.reach_redis_by(proxy.path)
        yield proxy


def test_redis_ends_in_the_middle_of_a_pipeline(stack, proxy, held, clients):
    """In the third reply: two are hits, and of the others none is taken for one."""
    for number in range(16):
        stack.ask(f"/long/{number}")
    entry = stack.redis.client().get(stack.entries.keys()[0])
    reply = len(f"${len(entry)}\r\n{entry}\r\n")
    with held():
        proxy.cut_after(reply * 5 // 2)
        for number, client in enumerate(clients[:16]):
            client.send(fastcgi.request(f"/long/{number}", keep=True))
    seen = []
    for number, client in enumerate(clients[:16]):
        status, headers, body = client.read_answer()
        assert (status, json.loads(body)) == (200, {"id": number, "kind": "long"})
        seen.append("hit" if "; hit;" in headers["cache-status"] else
                    headers["cache-status"].split("detail=")[-1])
    assert sorted(seen) == ["hit"] * 2 + ["redis-unavailable"] * 14


def test_a_redis_that_drips(stack, proxy, held):
    """command_timeout is for the whole of a reply, and not for each byte of it."""
    del held
    stack.ask("/long/1")
    size = len(stack.redis.client().get(stack.entries.keys()[0]))
    proxy.drip(0.02)
    status, headers, body = stack.ask("/long/1")
    assert (status, json.loads(body)["id"]) == (200, 1)
    assert "redis-unavailable" in headers["cache-status"]
    assert 0 < proxy.dripped < size
    wait_until(lambda: "hit" in stack.ask("/long/1")[1]["cache-status"], "Redis is back")
    assert "redis has not answered in time" in stack.processes[0].log_text()

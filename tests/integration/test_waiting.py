# SPDX-License-Identifier: BSD-2-Clause
"""Requests that wait hold up nobody, and are bounded."""
from harness import fastcgi
from harness.wait import wait_until

ROUTES = """
route "/slow/{id}" {
  param "id" { type = int }
  sql = "select $1::int as id from pg_sleep(1) -- marker:slow"
  shape = object
}
route "/long/{id}" {
  param "id" { type = int }
  sql = "select $1::int as id from pg_sleep(3) -- marker:long"
  shape = object
}
route "/quick" { sql = "select 1 as one" }
"""


def test_hits_are_served_while_misses_are_under_way(stack):
    stack.start(ROUTES, settings="", postgres="slots = 40", refresher=False)
    stack.get("/quick")
    misses = [stack.get_later(f"/long/{i}") for i in range(40)]
    wait_until(lambda: stack.executions("marker:long") == 40, "all queries are under way")
    hits = [stack.get("/quick") for _ in range(20)]
    assert all("hit" in hit.cache for hit in hits)
    assert not any(miss.done() for miss in misses), "hits came first"
    assert all(miss.result().status == 200 for miss in misses)


def test_without_a_slot(stack):
    stack.start(ROUTES, postgres="slots = 2  slot_timeout = 100ms", refresher=False)
    answers = [later.result() for later in [stack.get_later(f"/slow/{i}") for i in range(6)]]
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200, 200, 503, 503, 503, 503]
    for answer in answers:
        if answer.status == 503:
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.control == "no-store"
    assert stack.executions("marker:slow") == 2


def test_more_than_may_wait(stack):
    stack.configure(ROUTES, settings="max_waiting = 4", postgres="slots = 8")
    stack.start_worker("-n", "1")
    connections = []
    for i in range(6):
        connection = fastcgi.Connection(stack.socket)
        connection.send(fastcgi.request(f"/slow/{i}"))
        connections.append(connection)
    statuses = sorted(connection.read_answer()[0] for connection in connections)
    for connection in connections:
        connection.close()
    assert statuses == [200, 200, 200, 200, 503, 503]


def test_a_client_that_leaves_does_not_stop_the_fill(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(fastcgi.request("/slow/1"))
        wait_until(lambda: stack.executions("marker:slow") == 1, "the query is under way")
    wait_until(lambda: stack.redis.client().keys("*:entry"), "stored all the same")
    assert "hit" in stack.ask("/slow/1")[1]["cache-status"]

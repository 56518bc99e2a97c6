# SPDX-License-Identifier: BSD-2-Clause
"""Past its budget an entry is never served, however long Redis still keeps it."""
import re
import signal

from harness.wait import wait_until

CONTEXT = """
context "c" { budget = %s }
"""
ROUTE = """
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}
"""


def start(stack, budget="60s"):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items values (7, 'old')")
    return stack.start(CONTEXT % budget + ROUTE, refresher=False)


def test_an_entry_of_the_budget_s_age_is_computed_anew(stack):
    start(stack)
    stack.get("/items/7")
    stack.sql("update items set name = 'new'")
    stack.entries.age(60)
    response = stack.get("/items/7")
    assert response.json()["name"] == "new"
    assert response.cache == "leeway; fwd=stale; fwd-status=200; stored"
    assert re.fullmatch(r"private, max-age=(5[0-4]|4\d), stale-while-revalidate=6, stale-if-error=0",
                        response.control)
    assert re.fullmatch(r"leeway; hit; ttl=[45]\d", stack.get("/items/7").cache)
    assert stack.executions("marker:item") == 2


def test_just_below_the_budget_it_is_served(stack):
    start(stack)
    stack.get("/items/7")
    stack.sql("update items set name = 'new'")
    stack.entries.age(55)
    response = stack.get("/items/7")
    assert response.json()["name"] == "old"
    assert re.fullmatch(r"leeway; hit; ttl=[0-4]; detail=stale", response.cache)


def test_redis_forgets_an_entry_by_itself(stack):
    start(stack, "1s")
    stack.get("/items/7")
    wait_until(lambda: not stack.entries.keys(), "the entry has expired")
    assert stack.get("/items/7").cache == "leeway; fwd=uri-miss; fwd-status=200; stored"


def test_a_lowered_budget_holds_for_what_is_stored(stack):
    start(stack)
    stack.get("/items/7")
    stack.sql("update items set name = 'new'")
    stack.entries.age(30)
    assert stack.get("/items/7").json()["name"] == "old"
    before = stack.worker.children()
    stack.configure(CONTEXT % "20s" + ROUTE)
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: stack.worker.has_children(2) and
               not set(before) & set(stack.worker.children()), "the workers are replaced")
    response = stack.get("/items/7")
    assert response.json()["name"] == "new"
    assert response.cache == "leeway; fwd=stale; fwd-status=200; stored"


def test_a_snapshot_in_the_future_is_not_trusted(stack):
    start(stack)
    stack.get("/items/7")
    stack.sql("update items set name = 'new'")
    stack.entries.age(-3600)
    assert stack.get("/items/7").json()["name"] == "new"


def test_a_damaged_entry_is_computed_anew(stack):
    start(stack)
    stack.get("/items/7")
    key = stack.entries.only().key
    client = stack.redis.client()
    for damage in (b"", b"lw2 ", b"lw1" + client.get(key).encode()[3:],
                   client.get(key).encode()[:-1], b"\xff" * 200):
        client.set(key, damage)
        response = stack.get("/items/7")
        assert (response.status, response.json()["name"]) == (200, "old")
        assert "hit" not in response.cache
        client.delete(key)


def test_a_key_of_another_type_costs_no_answer(stack):
    start(stack)
    stack.get("/items/7")
    key = stack.entries.only().key
    client = stack.redis.client()
    client.delete(key)
    client.rpush(key, "a list")
    assert stack.get("/items/7").status == 200

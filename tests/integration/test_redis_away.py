# SPDX-License-Identifier: BSD-2-Clause
"""Without Redis every answer is computed, within bounds, and all is well once it is back."""
import signal

from harness.wait import wait_until

ROUTES = """
route "/items/{id}" { param "id" { type = int } sql = "select $1::int as id -- marker:item"  shape = object }
route "/slow" { sql = "select 1 as one from pg_sleep(0.5) -- marker:slow"  shape = object }
"""

AWAY = "leeway; fwd=bypass; detail=redis-unavailable"


def check_away(answer):
    assert (answer.status, answer.cache, answer.control) == (200, AWAY, "private, no-cache")


def is_stored_again(stack):
    stack.get("/items/9")
    return "hit" in stack.get("/items/9").cache


def test_killed_and_started_again(stack):
    stack.start(ROUTES)
    stack.get("/items/1")
    stack.redis.stop()
    for _ in range(3):
        check_away(stack.get("/items/1"))
    stack.redis.start()
    wait_until(lambda: is_stored_again(stack), "stored again")


def test_one_query_a_key_and_worker(stack):
    stack.start(ROUTES, refresher=False)
    stack.redis.stop()
    for answer in stack.get_many(["/slow"] * 30):
        check_away(answer)
    assert stack.executions("marker:slow") <= 2, "there are two workers"


def test_stopped(stack):
    stack.start(ROUTES)
    stack.get("/items/1")
    stack.redis.process.send(signal.SIGSTOP)
    for answer in stack.get_many(["/items/1"] * 10):
        check_away(answer)
    stack.redis.process.send(signal.SIGCONT)
    wait_until(lambda: is_stored_again(stack), "stored again")


def test_started_without_redis(stack):
    stack.redis.stop()
    stack.start(ROUTES)
    check_away(stack.get("/items/1"))
    stack.redis.start()
    wait_until(lambda: is_stored_again(stack), "stored")


def test_out_of_memory_still_hits(stack):
    stack.start(ROUTES, refresher=False)
    stack.get("/items/1")
    stack.redis.client().config_set("maxmemory-policy", "noeviction")
    stack.redis.client().config_set("maxmemory", "1")
    assert "hit" in stack.get("/items/1").cache
    check_away(stack.get("/items/2"))
    stack.redis.client().config_set("maxmemory", "0")
    wait_until(lambda: is_stored_again(stack), "stored again")

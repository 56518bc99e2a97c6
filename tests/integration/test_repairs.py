# SPDX-License-Identifier: BSD-2-Clause
"""What was left behind in Redis mends itself, and a Redis that takes no writes costs no hits."""
import time

import pytest

from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select $1::int as id -- marker:item"
  shape = object
}
"""
PATH = "/items/7"
TOKEN = "00112233445566778899aabbccddeeff"
HIT = "leeway; hit; ttl=59"
STORED = "leeway; fwd=uri-miss; fwd-status=200; stored"
BYPASS = "leeway; fwd=bypass; detail=redis-unavailable"


def prepare(stack, **settings):
    """Where the entry and the lease of PATH are; neither is there."""
    stack.start(ROUTES, refresher=False, workers=1, **settings)
    assert stack.get(PATH).status == 200
    entry = stack.entries.only().key
    stack.redis.client().delete(entry)
    return entry, entry.replace(":entry", ":lease")


LEFT_BEHIND = {
    "a lease for ever": lambda client, key: client.set(key, TOKEN),
    "a lease for an hour": lambda client, key: client.set(key, TOKEN, ex=3600),
    "a failure for ever": lambda client, key: client.set(key, "!503"),
    "a failure for a day": lambda client, key: client.set(key, "!503", ex=86400),
    "too large for an hour": lambda client, key: client.set(key, "!too-large", ex=3600),
    "something else for ever": lambda client, key: client.set(key, "x"),
    "a list": lambda client, key: client.rpush(key, "x"),
}


@pytest.mark.parametrize("leave", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_a_lease_that_was_left_behind_is_taken_over(stack, leave):
    _, lease = prepare(stack)
    leave(stack.redis.client(), lease)
    answer = stack.get(PATH)
    assert (answer.status, answer.cache) == (200, STORED)
    assert stack.redis.client().type(lease) == "none"
    assert stack.get(PATH).cache.startswith("leeway; hit")


def test_an_entry_of_another_type_is_replaced(stack):
    entry, _ = prepare(stack)
    stack.redis.client().rpush(entry, "x")
    assert stack.get(PATH).cache == STORED
    assert stack.redis.client().type(entry) == "string"
    assert stack.get(PATH).cache.startswith("leeway; hit")


def test_a_store_that_may_wake_nobody_is_a_store(stack):
    client = stack.redis.client()
    client.execute_command("ACL", "SETUSER", "leeway", "on", ">word", "~*", "resetchannels",
                           "+@all", "-publish")
    prepare(stack, redis='username = "leeway"\n  password = "word"')
    assert stack.get(PATH).cache == STORED
    assert stack.get(PATH).cache.startswith("leeway; hit")
    assert stack.worker.log_text().count("PUBLISH") == 1


def test_hits_go_on_while_writes_are_held(stack):
    prepare(stack)
    stack.get(PATH)
    client = stack.redis.client()
    client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    for i in range(100, 103):
        assert (stack.get(f"/items/{i}").cache, stack.get(PATH).cache[:11]) == (BYPASS, HIT[:11])
    client.execute_command("CLIENT", "UNPAUSE")
    wait_until(lambda: stack.get("/items/200").cache in (STORED, HIT), "leases are taken again")


def test_refused_writes_are_not_tried_by_every_miss(stack):
    prepare(stack)
    stack.get(PATH)
    client = stack.redis.client()
    client.config_set("min-replicas-to-write", 1)
    client.config_resetstat()
    began = time.monotonic()
    assert {stack.get(f"/items/{i}").cache for i in range(100, 140)} == {BYPASS}
    assert stack.get(PATH).cache.startswith("leeway; hit")
    # one, and one for each second that it has taken
    tried = client.info("commandstats")["cmdstat_set"]["rejected_calls"]
    assert 1 <= tried <= 2 + int(time.monotonic() - began)
    client.config_set("min-replicas-to-write", 0)
    wait_until(lambda: stack.get("/items/200").cache in (STORED, HIT), "leases are taken again")

# SPDX-License-Identifier: BSD-2-Clause
"""Misses wait in the background; hits are served meanwhile, and waiting has its bounds."""
from harness import fastcgi
from harness.postgres import GATE
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 60s }}
route "/slow/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as id from {GATE} -- marker:slow"
  shape = object
}}
route "/quick" {{ context = "c"  sql = "select 'quick' as word -- marker:quick"  shape = value }}
"""
PATIENT = "slots = 64\n  statement_timeout = 20s\n  slot_timeout = 20s"


def slow(stack, numbers):
    return [stack.get_later(f"/slow/{number}") for number in numbers]


def under_way(stack, count):
    wait_until(lambda: stack.executions("marker:slow") == count, f"{count} queries are under way")


def test_hits_are_served_while_forty_misses_wait(stack):
    stack.start(ROUTES, refresher=False, workers=8, postgres=PATIENT,
                settings="drain_timeout = 20s")
    stack.get("/quick")
    with stack.gate():
        misses = slow(stack, range(40))
        under_way(stack, 40)
        for _ in range(100):
            assert stack.get("/quick").cache.startswith("leeway; hit; ttl=")
        assert not any(later.done() for later in misses)
    assert [later.result().json() for later in misses] == [{"id": n} for n in range(40)]
    assert stack.executions("marker:slow") == 40


def test_one_worker_does_it_too(stack):
    stack.start(ROUTES, refresher=False, workers=1, postgres=PATIENT,
                settings="drain_timeout = 20s")
    stack.get("/quick")
    with stack.gate():
        misses = slow(stack, range(10))
        under_way(stack, 10)
        assert stack.get("/quick").cache.startswith("leeway; hit; ttl=")
        assert not any(later.done() for later in misses)
    assert {later.result().status for later in misses} == {200}


def test_a_miss_without_a_slot_is_503(stack):
    stack.start(ROUTES, refresher=False, postgres="slots = 1\n  slot_timeout = 100ms")
    stack.get("/quick")
    with stack.gate():
        first = stack.get_later("/slow/1")
        under_way(stack, 1)
        refused = stack.get("/slow/2")
        assert refused.status == 503 and refused.headers["retry-after"] in ("1", "2")
        assert refused.control == "no-store"
        assert stack.get("/quick").status == 200
    assert first.result().status == 200
    assert stack.get("/slow/2").status == 200


def test_of_eighty_misses_those_without_a_slot_are_503(stack):
    stack.start(ROUTES, refresher=False, workers=8,
                postgres="slots = 8\n  slot_timeout = 500ms")
    stack.get("/quick")
    with stack.gate():
        misses = slow(stack, range(80))
        under_way(stack, 8)
        while sum(later.done() for later in misses) < 72:
            assert stack.get("/quick").cache.startswith("leeway; hit; ttl=")
        assert stack.executions("marker:slow") == 8
    answers = [later.result() for later in misses]
    refused = [answer for answer in answers if answer.status == 503]
    assert len(refused) == 72
    assert {answer.headers["retry-after"] for answer in refused} == {"1", "2"}
    assert [answer.status for answer in answers if answer not in refused] == [200] * 8


def test_hits_are_served_beside_clients_that_hold_their_connections(stack):
    """Silent ones, some that stop in the middle of a record, some that take 500 kB slowly."""
    stack.sql("create table large as select repeat('x', 500000) as text")
    stack.start(ROUTES + 'route "/large" { sql = "select text from large"  shape = value }',
                refresher=False)
    stack.get("/quick")
    stack.get("/large")
    held = [fastcgi.Connection(stack.socket) for _ in range(120)]
    for connection in held[50:100]:
        connection.send(fastcgi.request("/quick")[:50])
    for connection in held[100:]:
        connection.send(fastcgi.request("/large"))
    for _ in range(100):
        for connection in held[100:]:
            assert connection.socket.recv(1)
        assert stack.get("/quick").cache.startswith("leeway; hit; ttl=")
    for connection in held[50:100]:
        connection.send(fastcgi.request("/quick")[50:])
        assert connection.read_answer()[0] == 200
    for connection in held:
        connection.close()


def test_a_miss_gets_the_slot_that_another_worker_frees(stack):
    stack.start(ROUTES, refresher=False, workers=4,
                postgres="slots = 1\n  slot_timeout = 20s")
    with stack.gate():
        first = stack.get_later("/slow/1")
        under_way(stack, 1)
        others = slow(stack, range(2, 8))
        wait_until(lambda: len(stack.redis.client().keys("*:lease")) == 7, "all of them wait")
        assert stack.executions("marker:slow") == 1
    assert first.result().status == 200
    assert {later.result().status for later in others} == {200}
    assert stack.executions("marker:slow") == 7


def test_no_more_than_the_slots_run_at_once(stack):
    stack.start(ROUTES, refresher=False, workers=4,
                postgres="slots = 3\n  slot_timeout = 20s")
    stack.get("/quick")
    with stack.gate():
        requests = slow(stack, range(12))
        wait_until(lambda: len(stack.redis.client().keys("*:lease")) == 12, "all of them wait")
        under_way(stack, 3)
        for _ in range(20):
            assert stack.get("/quick").status == 200
        assert stack.executions("marker:slow") == 3
    assert {later.result().status for later in requests} == {200}


def test_a_dead_worker_s_slots_are_free(stack):
    stack.expect_deaths = True
    stack.start(ROUTES, refresher=False, workers=1, postgres="slots = 1\n  slot_timeout = 5s")
    with stack.gate():
        stack.get_later("/slow/1")
        under_way(stack, 1)
        stack.kill_child(stack.worker)
    assert stack.get("/slow/2").status == 200


def test_beyond_max_waiting_is_503(stack):
    stack.start(ROUTES, refresher=False, workers=1, settings="max_waiting = 2")
    stack.get("/quick")
    with stack.gate():
        waiting = slow(stack, range(2))
        under_way(stack, 2)
        refused = stack.get("/slow/9")
        assert refused.status == 503 and refused.headers["retry-after"] in ("1", "2")
        assert stack.get("/quick").status == 200
    assert {later.result().status for later in waiting} == {200}


def test_a_client_that_leaves_gives_its_place_back(stack):
    stack.start(ROUTES, refresher=False, workers=1, settings="max_waiting = 2",
                postgres="slots = 1\n  slot_timeout = 20s")
    with stack.gate():
        first = stack.get_later("/slow/1")
        under_way(stack, 1)
        with fastcgi.Connection(stack.socket) as impatient:
            impatient.send(fastcgi.request("/slow/2"))
            wait_until(lambda: stack.get("/slow/3").status == 503, "no place is left")
        later = wait_until(lambda: still_waiting(stack), "a place is free")
    assert (first.result().status, later.result().status) == (200, 200)


def still_waiting(stack):
    """A request that is not refused at once, or None."""
    later = stack.get_later("/slow/4")
    wait_until(lambda: later.done() or stack.redis.client().keys("*:=4}:lease"), "its fate")
    return None if later.done() else later


def test_a_client_that_takes_no_answer_holds_nobody_up(stack):
    stack.sql("create table big as select i, repeat('x', 1000) t from generate_series(1, 900) i")
    stack.start(ROUTES + """
route "/big" { context = "c"  sql = "select * from big" }""", refresher=False, workers=1)
    stack.get("/big")
    idle = [fastcgi.Connection(stack.socket) for _ in range(20)]
    for connection in idle:
        connection.send(fastcgi.request("/big"))
    assert stack.get("/quick").status == 200
    for connection in idle:
        status, headers, body = connection.read_answer()
        assert status == 200 and int(headers["content-length"]) == len(body) > 900000
        connection.close()

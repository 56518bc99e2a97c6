# SPDX-License-Identifier: BSD-2-Clause
"""An answer is for who came before what refused it. Who comes after a purge, or while a query runs
that nobody can refuse, gets an answer of a query that is sent later."""
import signal
import threading
import time

import pytest

from harness.http import Background
from harness.postgres import GATE
from harness.process import signal_each, tree
from harness.wait import wait_until

pytestmark = pytest.mark.transport

ROUTES = f"""
context "c" {{ budget = 60s }}
route "/gated" {{ context = "c"  shape = value
  sql = "select n from item, {GATE} -- marker:gated" }}
route "/large" {{ context = "c"  shape = value
  sql = "select n || repeat('x', 2000) from item, {GATE} -- marker:large" }}
route "/hot" {{ context = "c"  shape = value
  sql = "select n from item, pg_sleep(0.4) -- marker:hot" }}
"""
READERS = 8
ROUNDS = 4


def start(stack, **settings):
    stack.sql("create table item as select 1 as n")
    stack.configure(ROUTES, settings="max_object = 1kb", **settings)
    return stack.start_worker()


def purge(stack, uri):
    done = stack.run("leewayctl", "-c", stack.config, "purge", uri)
    assert done.returncode == 0, done.stderr


def asked(stack, uri, count):
    """One request more, whose query is under way."""
    later = stack.ask_later(uri)
    marker = "marker:" + uri[1:]
    wait_until(lambda: stack.executions(marker) == count, "the query is under way")
    return later


def wait_for_lock(stack, mode):
    """A query that waits has taken its snapshot, and a gate that waits comes next."""
    wait_until(lambda: stack.sql("select count(*) from pg_locks where locktype = 'advisory'"
                                 " and mode = %s and not granted", mode)[0][0] == 1,
               f"a {mode} is waited for")


@pytest.mark.parametrize("same_worker", [True, False])
def test_who_comes_after_a_purge_gets_what_is_there_then(stack, same_worker):
    start(stack, workers=1)
    other = stack
    if not same_worker:
        other = stack.beside("other")
        other.configure(ROUTES, workers=1)
        other.start_worker()
    with stack.gate():
        before = asked(stack, "/gated", 1)
        stack.sql("update item set n = 2")
        purge(stack, "/gated")
        after = other.ask_later("/gated")
        # connections are taken in turn: when this one is answered, that one waits
        assert other.ask("/health")[0] == 200
    status, headers, body = after.result()
    assert (status, body) == (200, b"2")
    assert "stored" in headers["cache-status"] or "collapsed" in headers["cache-status"]
    assert before.result()[0] == 200 and before.result()[2] in (b"1", b"2")
    assert stack.ask("/gated")[2] == b"2"
    assert stack.executions("marker:gated") == 2


def test_nobody_waits_for_more_than_two_queries(stack):
    """Each query is purged while it runs: it is for who came before that purge all the same."""
    start(stack, workers=1)
    first = stack.gate()
    one = asked(stack, "/gated", 1)
    wait_for_lock(stack, "ShareLock")
    stack.sql("update item set n = 2")
    purge(stack, "/gated")
    two = stack.ask_later("/gated")
    assert stack.ask("/health")[0] == 200
    shut_later = Background(stack.gate)
    wait_for_lock(stack, "ExclusiveLock")
    first.open()
    with shut_later.result():
        assert one.result()[2] == b"1"
        wait_for_lock(stack, "ShareLock")
        stack.sql("update item set n = 3")
        purge(stack, "/gated")
        three = stack.ask_later("/gated")
        assert stack.ask("/health")[0] == 200
    assert [(status, body) for status, _, body in (two.result(), three.result())] == [
        (200, b"2"), (200, b"3")]
    assert stack.executions("marker:gated") == 3


def test_who_comes_when_redis_went_away_under_a_query(stack):
    """Nobody can tell whether the lease was held to the end."""
    start(stack, workers=1)
    with stack.gate():
        before = asked(stack, "/gated", 1)
        wait_for_lock(stack, "ShareLock")
        stack.redis.stop()
        stack.sql("update item set n = 2")
        crowd = [stack.ask_later("/gated") for _ in range(5)]
        assert stack.ask("/health")[0] == 200
    assert before.result()[2] == b"1"
    for later in crowd:
        status, _, body = later.result()
        assert (status, body) == (200, b"2")
    assert stack.executions("marker:gated") <= 3


def test_a_row_that_is_purged_more_often_than_its_query_takes(stack):
    """Nobody starves, and nobody gets what a purge before it has voided."""
    start(stack, workers=2)
    purged = [1]
    end = threading.Event()
    wrong = []

    def change():
        number = 1
        while not end.is_set():
            number += 1
            stack.sql("update item set n = %s", number)
            purge(stack, "/hot")
            purged[0] = number
            end.wait(0.1)

    def read():
        for _ in range(ROUNDS):
            least = purged[0]
            status, _, body = stack.ask("/hot")
            if status != 200 or int(body) < least:
                wrong.append((status, body, least))

    changes = Background(change)
    readers = [Background(read) for _ in range(READERS)]
    for reader in readers:
        reader.result()
    end.set()
    changes.result()
    assert not wrong
    assert purged[0] > ROUNDS, "it was purged all the while"


def test_a_query_without_a_lease_is_not_joined_when_it_was_sent(stack):
    """The response is known to be too large for one."""
    start(stack, workers=1)
    assert stack.ask("/large")[2].startswith(b'"1x')
    with stack.gate():
        before = asked(stack, "/large", 2)
        stack.sql("update item set n = 2")
        crowd = [stack.ask_later("/large") for _ in range(5)]
        assert stack.ask("/health")[0] == 200
    assert before.result()[2].startswith((b'"1x', b'"2x'))
    for later in crowd:
        status, headers, body = later.result()
        assert status == 200 and body.startswith(b'"2x')
        assert headers["cache-status"] == "leeway; fwd=bypass; detail=too-large"
    assert stack.executions("marker:large") <= 4, "one at a time, and not one each"


def test_a_query_without_redis_is_not_joined_when_it_was_sent(stack):
    start(stack, workers=1)
    stack.redis.stop()
    with stack.gate():
        before = asked(stack, "/gated", 1)
        stack.sql("update item set n = 2")
        crowd = [stack.ask_later("/gated") for _ in range(5)]
        assert stack.ask("/health")[0] == 200
    assert before.result()[0] == 200
    for later in crowd:
        status, headers, body = later.result()
        assert (status, body) == (200, b"2")
        assert headers["cache-status"] == "leeway; fwd=bypass; detail=redis-unavailable"
    assert stack.executions("marker:gated") <= 3


def test_a_leader_whose_lease_was_taken_over_looks_again(stack):
    """Its machine slept: another has stored by then, and that is what it serves."""
    stack.sql("create table item as select 1 as n")
    sleeper = stack.beside("sleeper")
    clock = sleeper.shim()
    short = ROUTES.replace("budget = 60s", "budget = 4s")
    sleeper.configure(short, workers=1)
    worker = sleeper.start_worker()
    stack.configure(short, workers=1)
    stack.start_worker()
    with stack.gate() as gate:
        slept = asked(sleeper, "/gated", 1)
        signal_each(tree(worker.pid), signal.SIGSTOP)
        gate.open()
        stack.sql("update item set n = 2")
        wait_until(lambda: not stack.redis.client().keys("*:lease"), "its lease has run out")
        assert stack.ask("/gated")[2] == b"2"
        # longer than the budget, of which its clocks know nothing
        wait_until(lambda: not stack.entries.keys(), "the entry has expired")
        clock.hold(6)
        signal_each(tree(worker.pid), signal.SIGCONT)
    status, _, body = slept.result()
    assert (status, body) == (200, b"2")


def test_a_worker_that_stood_still_for_a_budget_queries_once_more(stack):
    """Its own clock says that the answer it finds is too old; the query was quick."""
    stack.sql("create table item as select 1 as n")
    stack.configure(ROUTES.replace("budget = 60s", "budget = 1s"), workers=1)
    worker = stack.start_worker()
    with stack.gate() as gate:
        later = asked(stack, "/gated", 1)
        signal_each(tree(worker.pid), signal.SIGSTOP)
        gate.open()
        stopped = time.monotonic()
        wait_until(lambda: time.monotonic() > stopped + 1.2, "the budget is over")
        signal_each(tree(worker.pid), signal.SIGCONT)
    status, _, body = later.result()
    assert (status, body) == (200, b"1")
    assert stack.executions("marker:gated") == 2

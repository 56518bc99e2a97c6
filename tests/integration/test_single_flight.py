# SPDX-License-Identifier: BSD-2-Clause
"""However many ask, one query per key runs, across processes and pools."""
import os
import signal
import time

from harness import fastcgi, http
from harness.wait import wait_until

ROUTES = """
route "/slow/{id}" {
  param "id" { type = int }
  sql = "select $1::int as id from pg_sleep(0.3) -- marker:slow"
  shape = object
}
route "/second/{id}" {
  param "id" { type = int }
  sql = "select $1::int as id from pg_sleep(1) -- marker:second"
  shape = object
}
route "/broken" { sql = "select 1 / (select 0 from pg_sleep(0.5)) as x -- marker:broken" }
"""


def count_collapsed(answers):
    return sum(1 for answer in answers if answer.cache == "leeway; fwd=uri-miss; collapsed")


def test_sixty_ask_for_a_cold_key(stack):
    stack.start(ROUTES, settings="", refresher=False)
    answers = stack.get_many(["/slow/1"] * 60)
    assert [answer.status for answer in answers] == [200] * 60
    assert all(answer.json() == {"id": 1} for answer in answers)
    stored = [answer for answer in answers if answer.cache.endswith("; stored")]
    assert len(stored) == 1
    # one that came late may have found the entry
    assert count_collapsed(answers) + len([a for a in answers if "hit" in a.cache]) == 59
    assert stack.executions("marker:slow") == 1


def ask_later(path, uri):
    def call():
        with fastcgi.Connection(path) as connection:
            return connection.ask(uri)
    return http.Background(call)


def start_two_pools(stack):
    stack.configure(ROUTES)
    first = stack.start_worker("-n", "4")
    first_socket = stack.socket
    second_socket = stack.path("second.sock")
    second = stack.start_process(
        "second", [first.argv[0], "-c", stack.config, "-s", "unix:" + second_socket, "-n", "4"])
    wait_until(lambda: os.path.exists(second_socket), "the second pool")
    return first, first_socket, second, second_socket


def test_across_two_pools(stack):
    _, first, _, second = start_two_pools(stack)
    asked = [ask_later(path, "/slow/2") for path in [first, second] * 15]
    answers = [later.result() for later in asked]
    assert [status for status, _, _ in answers] == [200] * 30
    assert stack.executions("marker:slow") == 1


def test_a_killed_leader_is_replaced(stack):
    stack.expect_deaths = True
    pool, first, _, second = start_two_pools(stack)
    leader = ask_later(first, "/second/3")
    wait_until(lambda: stack.executions("marker:second") == 1, "the leader's query")
    waiters = [ask_later(second, "/second/3") for _ in range(10)]
    # the waiters' look-ups have been made once one of them has subscribed
    wait_until(lambda: stack.redis.client().pubsub_channels("*:done"), "they wait")
    for child in pool.children():
        os.kill(child, signal.SIGKILL)
    assert all(later.result()[0] == 200 for later in waiters)
    assert stack.executions("marker:second") == 2
    leader.thread.join(5)


def test_at_expiry(stack):
    stack.start("""
context "short" { budget = 1s }
route "/slow/{id}" {
  context = "short"
  param "id" { type = int }
  sql = "select $1::int as id from pg_sleep(0.3) -- marker:slow"
  shape = object
}
""", refresher=False)
    stack.get("/slow/1")
    time.sleep(1.1)
    answers = stack.get_many(["/slow/1"] * 30)
    assert [answer.status for answer in answers] == [200] * 30
    assert stack.executions("marker:slow") == 2


def test_waiters_are_told_of_a_failure(stack):
    stack.start(ROUTES, refresher=False)
    answers = stack.get_many(["/broken"] * 20)
    assert [answer.status for answer in answers] == [400] * 20
    assert stack.executions("marker:broken") == 1
    # and so are those who come within the next second
    late = stack.get("/broken")
    assert (late.status, late.headers["retry-after"]) == (400, "1")
    assert stack.executions("marker:broken") == 1

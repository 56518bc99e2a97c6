# SPDX-License-Identifier: BSD-2-Clause
"""Slots are given to routes in turn, within bounds, and only to whom somebody waits for."""
import re
import pytest

from harness import fastcgi
from harness.postgres import GATE
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 60s }}
context "lenient" {{ budget = 60s  stale_if_error = 1h }}
context "none" {{ budget = 0s }}
route "/slow/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as id from {GATE} -- marker:slow"
  shape = object
  SHARE
}}
route "/quick/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as id -- marker:quick"
  shape = object
}}
route "/lenient/{{id}}" {{
  context = "lenient"
  param "id" {{ type = int }}
  sql = "select $1::int as id -- marker:lenient"
  shape = object
}}
route "/none/{{id}}" {{
  context = "none"
  param "id" {{ type = int }}
  sql = "select $1::int as id from {GATE} -- marker:none"
  shape = object
}}
"""


def start(stack, share="", **options):
    stack.configure(ROUTES.replace("SHARE", share), **options)
    stack.worker = stack.start_worker()


def leases(stack):
    return len(stack.redis.client().keys("*:lease"))


def order(stack):
    """The markers of the statements that were executed, in order."""
    with open(stack.postgres.log, encoding="utf-8", errors="replace") as log:
        return [re.search("marker:([a-z]+)", line).group(1) for line in log
                if line.startswith(stack.database + " ") and "execute " in line and
                "marker:" in line]


@pytest.mark.parametrize("workers", [1, 4])
def test_routes_take_turns(stack, workers):
    """Whoever asks one route a lot waits behind itself."""
    start(stack, workers=workers, postgres="slots = 1\n slot_timeout = 20s\n statement_timeout = 20s",
          settings="drain_timeout = 20s")
    with stack.gate():
        slow = [stack.ask_later("/slow/0")]
        wait_until(lambda: stack.executions("marker:slow") == 1, "the only slot is taken")
        slow += [stack.ask_later(f"/slow/{i}") for i in range(1, 24)]
        wait_until(lambda: leases(stack) == 24, "all of them wait")
        quick = [stack.ask_later(f"/quick/{i}") for i in range(4)]
        wait_until(lambda: leases(stack) == 28, "others too")
    assert {later.result()[0] for later in slow + quick} == {200}
    ran = order(stack)
    last = len(ran) - 1 - ran[::-1].index("quick")
    # one of each in turn, but where one worker's turn is seen late by another
    assert last <= 12, ran


def test_a_route_s_share_is_bounded_over_all_workers(stack):
    start(stack, share="slots = 2", workers=4, postgres="slots = 4\n slot_timeout = 20s")
    with stack.gate():
        slow = [stack.ask_later(f"/slow/{i}") for i in range(8)]
        wait_until(lambda: leases(stack) == 8, "all of them wait")
        wait_until(lambda: stack.executions("marker:slow") == 2, "its share is taken")
        assert {stack.ask(f"/quick/{i}")[0] for i in range(20)} == {200}
        assert stack.executions("marker:slow") == 2
    assert {later.result()[0] for later in slow} == {200}


def test_who_waits_in_vain_waits_once_however_many_workers_there_are(stack):
    start(stack, workers=6, postgres="slots = 1\n slot_timeout = 2s\n statement_timeout = 20s",
          settings="drain_timeout = 20s")
    with stack.gate():
        first = stack.ask_later("/slow/0")
        wait_until(lambda: stack.executions("marker:slow") == 1, "the only slot is taken")
        crowd = [stack.ask_later("/slow/1") for _ in range(30)]
        wait_until(lambda: any(later.done() for later in crowd), "one has waited")
        another = stack.ask_later("/slow/2")
        assert another.result()[0] == 503
        assert all(later.done() for later in crowd)
        assert {later.result()[0] for later in crowd} == {503}
    assert first.result()[0] == 200


def hang_up(stack, count, path):
    """Clients that ask for one key each, and leave when all of them wait."""
    clients = [fastcgi.Connection(stack.socket) for _ in range(count)]
    before = leases(stack)
    for i, client in enumerate(clients):
        client.send(fastcgi.request(path.format(i + 1)))
    wait_until(lambda: leases(stack) == before + count, "all of them wait")
    for client in clients:
        client.close()


def test_the_time_to_connect_is_not_spent_waiting_for_a_slot(stack):
    start(stack, workers=1, postgres="slots = 4\n slot_timeout = 1ms")
    with stack.gate():
        first = stack.ask_later("/slow/0")
        wait_until(lambda: stack.executions("marker:slow") == 1, "it has the only session")
        assert stack.ask("/quick/1")[0] == 200
    assert first.result()[0] == 200


def test_what_nobody_waits_for_does_not_begin(stack):
    start(stack, workers=1, postgres="slots = 1\n slot_timeout = 20s\n statement_timeout = 20s",
          settings="drain_timeout = 20s")
    with stack.gate():
        first = stack.ask_later("/slow/0")
        wait_until(lambda: stack.executions("marker:slow") == 1, "the only slot is taken")
        hang_up(stack, 39, "/slow/{}")
        wait_until(lambda: leases(stack) == 1, "their leases are given up")
    assert first.result()[0] == 200
    assert stack.ask("/slow/99")[0] == 200
    assert stack.executions("marker:slow") == 2


def test_a_query_that_would_not_be_stored_ends_with_its_client(stack):
    start(stack, workers=1, postgres="slots = 1\n statement_timeout = 60s",
          settings="drain_timeout = 60s")
    with stack.gate():
        with fastcgi.Connection(stack.socket) as client:
            client.send(fastcgi.request("/none/1"))
            wait_until(lambda: stack.executions("marker:none") == 1, "the query is under way")
        wait_until(lambda: stack.postgres.is_idle(stack.database), "it was cancelled")
        wait_until(lambda: stack.ask("/quick/1")[0] == 200, "its slot is free")


def test_queries_that_nobody_waits_for_count_as_waiting(stack):
    start(stack, workers=1, settings="max_waiting = 2")
    with stack.gate():
        for i in range(2):
            with fastcgi.Connection(stack.socket) as client:
                client.send(fastcgi.request(f"/slow/{i}"))
                wait_until(lambda: stack.executions("marker:slow") == i + 1, "it is under way")
        wait_until(lambda: stack.ask("/slow/3")[0] == 503, "no more are begun")
        again = stack.ask_later("/slow/1")  # who reloads waits for what runs
    assert again.result()[0] == 200
    assert stack.executions("marker:slow") == 2
    assert stack.ask("/slow/3")[0] == 200


@pytest.mark.parametrize("bound", ["slots", "max_waiting"])
def test_without_a_slot_or_a_place_there_is_an_old_answer(stack, bound):
    start(stack, workers=1, settings="max_waiting = 1" if bound == "max_waiting" else "",
          postgres="slots = 1\n slot_timeout = 100ms")
    body = stack.ask("/lenient/1")[2]
    stack.entries.age(100)
    with stack.gate():
        first = stack.ask_later("/slow/1")
        wait_until(lambda: stack.executions("marker:slow") == 1, "the only slot is taken")
        status, headers, old = stack.ask("/lenient/1")
        assert (status, old) == (200, body)
        assert headers["cache-status"].endswith("; detail=stale-if-error")
        assert headers["cache-control"] == "private, no-cache"
        assert stack.ask("/lenient/2")[0] == 503
        assert stack.ask("/quick/1")[0] == 503
    assert first.result()[0] == 200
    reason = "slot" if bound == "slots" else "waiting"
    text = stack.run("leewayctl", "-c", stack.config, "metrics").stdout
    assert {name: int(value) for name, value in
            re.findall(r"^(leeway_shed_requests_total\{.*\}) (\d*[1-9]\d*)$", text, re.M)} == {
        f'leeway_shed_requests_total{{route="/lenient/{{id}}",reason="{reason}"}}': 2,
        f'leeway_shed_requests_total{{route="/quick/{{id}}",reason="{reason}"}}': 1}

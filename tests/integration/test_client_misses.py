# SPDX-License-Identifier: BSD-2-Clause
"""What one client may start: misses are rationed, and nothing else."""
import json
import os
import signal

import pytest

from harness.postgres import GATE
from harness.wait import wait_until

RATION = 'client_misses = "1/s burst 3"'
ROUTES = f"""
context "c" {{ budget = 60s }}
route "/item/{{id}}" {{ context = "c"  param "id" {{ type = int }}
                       sql = "select $1::int as n -- marker:item"  shape = value }}
route "/gated/{{id}}" {{ context = "c"  param "id" {{ type = int }}
                       sql = "select $1::int as n from {GATE} -- marker:gated"  shape = value }}
route "/live/{{id}}" {{ context = "none"  param "id" {{ type = int }}
                       sql = "select $1::int as n"  shape = value }}
context "none" {{ budget = 0s }}
"""


@pytest.fixture(name="host")
def make_host(stack):
    """Two workers, so that what one counts has to be known to the other."""
    stack.configure(ROUTES, settings=RATION)
    stack.worker = stack.start_worker()
    return stack


def statuses(stack, uris, **variables):
    return [stack.ask(uri, **variables)[0] for uri in uris]


def items(first, count):
    return [f"/item/{n}" for n in range(first, first + count)]


def flood(stack, first=100, count=20, **variables):
    """Ends with the client's ration used up, whichever worker has served it."""
    return statuses(stack, items(first, count), **variables)


def test_beyond_the_burst_misses_are_429_and_hits_go_on(host):
    answered = flood(host)
    assert answered[:3] == [200] * 3
    assert answered.count(200) <= 3 + 15 and 429 in answered
    answers = [host.ask(uri) for uri in items(800, 20)]
    status, headers, body = next(answer for answer in answers if answer[0] == 429)
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert 1 <= int(headers["retry-after"]) <= 3
    assert json.loads(body)["status"] == status
    assert statuses(host, items(100, 3)) == [200] * 3
    assert host.ask("/item/x")[0] == 400
    text = host.ask("/metrics")[2].decode()
    assert "leeway_client_misses_refused_total 0\n" not in text
    assert "leeway_client_misses_refused_total " in text


def test_other_clients_have_rations_of_their_own(host):
    assert 429 in flood(host, REMOTE_ADDR="192.0.2.1")
    assert statuses(host, items(200, 3), REMOTE_ADDR="192.0.2.2") == [200] * 3


def test_ipv6_is_rationed_by_its_64(host):
    assert 429 in flood(host, REMOTE_ADDR="2001:db8:1:2::1")
    answered = [host.ask(f"/item/{300 + n}", REMOTE_ADDR=f"2001:db8:1:2:{n:x}::5")[0]
                for n in range(10)]
    assert 429 in answered
    assert statuses(host, items(400, 3), REMOTE_ADDR="2001:db8:1:3::1") == [200] * 3


def test_who_waits_for_anothers_query_pays_nothing(host):
    gate = host.gate()
    first = host.ask_later("/gated/1", REMOTE_ADDR="192.0.2.9")
    wait_until(lambda: host.executions("marker:gated") == 1, "it runs")
    others = [host.ask_later("/gated/1") for _ in range(10)]
    gate.open()
    assert [later.result()[0] for later in [first, *others]] == [200] * 11
    assert statuses(host, items(500, 3)) == [200] * 3


def test_a_route_without_budget_pays_too(host):
    answered = statuses(host, [f"/live/{n}" for n in range(20)])
    assert answered[:3] == [200] * 3 and 429 in answered


def test_a_variable_tells_clients_apart(stack):
    stack.configure(ROUTES, settings=RATION + '\nclient_misses_by = "API_KEY"')
    stack.worker = stack.start_worker()
    assert 429 in flood(stack, API_KEY="one")
    assert statuses(stack, items(600, 3), API_KEY="two") == [200] * 3


def test_one_client_that_makes_all_requests_is_told_of(host):
    assert 429 in flood(host, count=40)
    wait_until(lambda: 'msg="one client makes all requests that reach the database"' in
               host.worker.log_text(), "it is told")
    assert "127.0.0.1" not in host.worker.log_text()


def test_a_killed_worker_leaves_nothing_locked(host):
    host.expect_deaths = True
    for _ in range(3):
        background = [host.ask_later(f"/item/{n}", REMOTE_ADDR=f"198.51.100.{n}")
                      for n in range(50)]
        os.kill(host.worker.children()[0], signal.SIGKILL)
        for later in background:
            try:
                later.result()
            except Exception:  # pylint: disable=broad-except
                pass  # the killed one's
        wait_until(lambda: host.worker.has_children(2), "it is replaced")
    assert 429 in flood(host, REMOTE_ADDR="192.0.2.77")
    assert statuses(host, items(700, 3), REMOTE_ADDR="192.0.2.78") == [200] * 3


def test_check_warns_of_a_variable_that_clients_can_forge(stack):
    stack.configure(ROUTES, settings=RATION + '\nclient_misses_by = "HTTP_X_FORWARDED_FOR"')
    run = stack.run("leeway-worker", "-t", "-c", stack.config)
    assert run.returncode == 0
    assert "clients can send HTTP_X_FORWARDED_FOR" in run.stderr


def test_without_a_negative_budget_no_404_is_stored(stack):
    stack.configure("""
        context "none" { budget = 60s  negative_budget = 0s }
        context "some" { budget = 60s }
        route "/none/{id}" { context = "none"  param "id" { type = int }
                             sql = "select 1 as n where $1::int = 0"  shape = object }
        route "/some/{id}" { context = "some"  param "id" { type = int }
                             sql = "select 1 as n where $1::int = 0"  shape = object }""")
    stack.worker = stack.start_worker()
    assert statuses(stack, [f"/none/{n}" for n in range(1, 9)]) == [404] * 8
    assert not stack.entries.keys("none.id")
    assert stack.ask("/none/0")[0] == 200
    assert statuses(stack, [f"/some/{n}" for n in range(1, 9)]) == [404] * 8
    assert len(stack.entries.keys("some.id")) == 8

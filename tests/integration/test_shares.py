# SPDX-License-Identifier: BSD-2-Clause
"""Connections that stay spread over the workers, also when each comes while all of them are idle: the
kernel alone would wake the same worker every time. A few of them may stay together."""
import contextlib
import os

import pytest
from harness import fastcgi
from harness.postgres import GATE
from harness.wait import wait_until

# who is woken depends on who has a processor
pytestmark = pytest.mark.alone

WORKERS = 4
EACH = 12  # were they even
ROUTES = f"""
context "c" {{ budget = 60s }}
route "/items/{{id}}" {{ context = "c"  param "id" {{ type = int }}
  sql = "select $1::int as id"  shape = object }}
route "/gated/{{id}}" {{ context = "c"  param "id" {{ type = int }}
  sql = "select $1::int as id from {GATE} -- marker:gated"  shape = object }}
"""


def is_socket(link):
    try:
        return os.readlink(link).startswith("socket:")
    except OSError:
        return False


def sockets(pid):
    """How many it has."""
    folder = f"/proc/{pid}/fd"
    return sum(is_socket(os.path.join(folder, entry)) for entry in os.listdir(folder))


@pytest.fixture(name="shares")
def connections_by_worker(stack):
    stack.configure(ROUTES, workers=WORKERS, settings="drain_timeout = 60s",
                    postgres=f"slots = {2 * WORKERS * EACH}  statement_timeout = 60s")
    pids = stack.start_worker().children()
    wait_until(lambda: f'leeway_workers{{state="serving"}} {WORKERS}' in
               stack.ask("/metrics")[2].decode(), "all workers serve")
    for number in range(3):
        with fastcgi.Connection(stack.socket) as connection:
            assert connection.ask(f"/items/{number}")[0] == 200
            assert connection.is_closed()
    before = {pid: sockets(pid) for pid in pids}

    def shares():
        return sorted(sockets(pid) - count for pid, count in before.items())
    return shares


def test_kept_connections(stack, shares):
    with contextlib.ExitStack() as exits:
        for number in range(WORKERS * EACH):
            kept = exits.enter_context(fastcgi.Connection(stack.socket))
            assert kept.ask(f"/items/{number % 3}", keep=True)[0] == 200
        assert shares()[0] >= EACH // 2, shares()


def test_silent_connections(stack, shares):
    with contextlib.ExitStack() as exits:
        for number in range(WORKERS * EACH):
            exits.enter_context(fastcgi.Connection(stack.socket))
            wait_until(lambda expected=number + 1: sum(shares()) == expected, "it is accepted")
        assert shares()[0] >= EACH // 2, shares()


def test_requests_that_wait(stack, shares):
    with stack.gate():
        crowd = []
        for number in range(WORKERS * EACH):
            crowd.append(stack.ask_later(f"/gated/{number}"))
            wait_until(lambda expected=number + 1: stack.executions("marker:gated") == expected,
                       "its query is under way")
        # a client's connection each, and one to Postgres
        assert shares()[0] >= EACH, shares()
    assert {later.result()[0] for later in crowd} == {200}

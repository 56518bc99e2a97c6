# SPDX-License-Identifier: BSD-2-Clause
"""What others leave in Redis, or take away, is repaired or named."""
import os
import signal

import pytest
from harness.proxy import Proxy
from harness.redis_server import Redis
from harness.wait import wait_until

pytestmark = pytest.mark.transport

ROUTES = """
context "c" { budget = 60s }
route "/n" { context = "c"  sql = "select 1 as n -- marker:n"  shape = value }
"""


def start(stack, routes=ROUTES, **settings):
    stack.configure(routes, workers=1, **settings)
    return stack.start_worker()


def connections(stack):
    return {client["id"] for client in stack.redis.client().client_list()
            if client["name"] == "leeway-worker"}


def lease_of(stack):
    """The key of the only route's lease; nothing is stored afterwards."""
    stack.ask("/n")
    key, = stack.entries.keys()
    stack.redis.client().delete(key)
    return key.replace(":entry", ":lease")


def check_it_is_taken(stack):
    status, headers, body = stack.ask("/n")
    assert (status, body) == (200, b"1")
    assert headers["cache-status"].endswith("stored")


@pytest.mark.parametrize("options", [{}, {"px": 3600 * 1000}], ids=["no expiry", "an hour"])
def test_a_lease_that_would_last_for_ever(stack, options):
    start(stack, postgres="statement_timeout = 1s  slot_timeout = 1s  connect_timeout = 1s")
    stack.redis.client().set(lease_of(stack), "0" * 32, **options)
    check_it_is_taken(stack)


def test_a_lease_of_a_wrong_type(stack):
    start(stack)
    stack.redis.client().rpush(lease_of(stack), "x")
    check_it_is_taken(stack)


def test_an_entry_of_a_wrong_type(stack):
    start(stack)
    key = lease_of(stack).replace(":lease", ":entry")
    stack.redis.client().rpush(key, "x")
    check_it_is_taken(stack)
    assert stack.redis.client().type(key) == "string"


def test_a_reason_that_changes_is_logged(stack):
    start(stack)
    stack.redis.stop()
    wait_until(lambda: "redis is away" in stack.logs(), "it is noticed")
    stack.redis.start("--requirepass", "secret", check=False)
    wait_until(lambda: "NOAUTH" in stack.logs(), "the new reason is told")


def test_an_idle_connection_that_redis_closes(stack):
    """As it does after its `timeout`."""
    worker = start(stack)
    stack.ask("/n")
    before = connections(stack)
    stack.redis.client().client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: len(connections(stack) - before) >= len(before), "all are made anew")
    assert stack.ask("/n")[1]["cache-status"].startswith("leeway; hit")
    assert "redis is away" not in worker.log_text()


def test_a_wake_up_that_is_refused(stack):
    """Users made since Redis 7 may use no channel unless they are given it. A store is a store, and
    who waits looks now and then: the lease of the leader that dies here ends later than that."""
    client = stack.redis.client()
    client.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", "+@all", "~*",
                           "resetchannels")
    start(stack, redis='username = "narrow"  password = "secret"')
    status, headers, _ = stack.ask("/n")
    assert status == 200 and headers["cache-status"].endswith("stored")
    assert "redis refuses PUBLISH" in stack.logs()


def test_a_stopped_redis_is_noticed_and_found_again(stack):
    start(stack, redis="command_timeout = 100ms")
    stack.ask("/n")
    os.kill(stack.redis.process.pid, signal.SIGSTOP)
    status, headers, _ = stack.ask("/n")
    assert status == 200 and "redis-unavailable" in headers["cache-status"]
    os.kill(stack.redis.process.pid, signal.SIGCONT)
    wait_until(lambda: stack.ask("/n")[1]["cache-status"].startswith("leeway; hit"), "a hit")


def test_a_connection_that_comes_to_another_server(stack, folder, request):
    """Only the one for writes was closed, and its address leads elsewhere by now: all go there."""
    os.mkdir(os.path.join(folder, "other"))
    other = Redis(os.path.join(folder, "other"), "unix")
    request.addfinalizer(other.stop)
    with Proxy(stack.path("proxy.sock"), stack.redis.socket) as proxy:
        stack.reach_redis_by(proxy.path)
        start(stack)
        stack.ask("/n")
        proxy.target = other.socket
        client = stack.redis.client()
        client.delete(*stack.entries.keys())
        for connection in client.client_list():
            if connection["name"] == "leeway-worker-writes":
                client.client_kill_filter(_id=connection["id"])
        wait_until(lambda: stack.ask("/n")[1]["cache-status"].startswith("leeway; hit"), "a hit")
        assert other.client().keys("*:entry") and not client.keys("*:entry")

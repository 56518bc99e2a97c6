# SPDX-License-Identifier: BSD-2-Clause
"""What is wrong with one host, one connection or one query stays there."""
import os
import signal
import socket

import pytest

from harness.address import Address
from harness.postgres import GATE
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 60s }}
context "lenient" {{ budget = 60s  stale_if_error = 1h }}
route "/items/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as id -- marker:item"
  shape = object
}}
route "/lenient/{{id}}" {{
  context = "lenient"
  param "id" {{ type = int }}
  sql = "select $1::int as id -- marker:lenient"
  shape = object
}}
route "/gated/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as id from {GATE} -- marker:gated"
  shape = object
}}
"""


class Silent:
    """A server that takes connections and says nothing."""

    def __init__(self, folder):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(folder, ".s.PGSQL.5432"))
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.clients = []

    def has_client(self):
        """Whether one is there that has not gone since."""
        try:
            while True:
                self.clients.append(self.listener.accept()[0])
        except BlockingIOError:
            pass
        self.clients = [client for client in self.clients if not self.has_left(client)]
        return bool(self.clients)

    @staticmethod
    def has_left(client):
        client.setblocking(False)
        try:
            while data := client.recv(4096):
                assert data
            return True
        except BlockingIOError:
            return False


class Hosts:
    """Two that reach one Postgres by addresses of their own, of which one can be taken away."""

    def __init__(self, stack, refreshers=False):
        self.stack = stack
        self.address = Address(stack.path("postgres"))
        self.address.point(stack.postgres)
        self.able = self.make("able", stack.postgres.folder)
        self.unable = self.make("unable", self.address.folder)
        for host in (self.able, self.unable):
            host.start_worker()
            host.refresher = host.start_refresher() if refreshers else None

    def make(self, name, folder):
        host = self.stack.beside(name)
        host.postgres_conninfo = f"host={folder} user=leeway dbname={self.stack.database}"
        host.configure(ROUTES, workers=1, redis='namespace = "fleet"',
                       postgres="connect_timeout = 15s")
        return host

    def cut(self):
        """All sessions end with it, those of the other host too, which makes them anew."""
        self.address.clear()
        self.stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                       " where datname = current_database() and pid <> pg_backend_pid()")


def is_known_away(host):
    return b"\nleeway_postgres_up 0" in host.ask("/metrics")[2]


def test_a_host_without_postgres_leaves_misses_and_a_hot_key_to_others(stack):
    hosts = Hosts(stack)
    hosts.cut()
    for i in range(20):
        both = [host.ask_later(f"/items/{i}") for host in (hosts.unable, hosts.able)]
        assert [later.result()[0] for later in both][1] == 200
    crowd = []
    for i in range(77):
        crowd += [hosts.unable.ask_later("/items/99"), hosts.able.ask_later("/items/99")]
        if i % 7 == 0:
            for key in stack.redis.client().keys("*:=99}"):
                stack.redis.client().delete(key)
    assert [later.result()[0] for later in crowd[1::2]] == [200] * 77


def test_a_host_that_tries_to_connect_holds_no_lease(stack):
    """It tries by itself, and what it is asked meanwhile is refused at once, or answered by another."""
    hosts = Hosts(stack)
    hosts.cut()
    wait_until(lambda: hosts.unable.ask("/items/0")[0] == 503 and is_known_away(hosts.unable),
               "it is known to be away")
    silent = Silent(hosts.address.folder)
    keys, asked = iter(range(1, 10**6)), []

    def ask_unable():
        key = next(keys)
        later = hosts.unable.ask_later(f"/items/{key}")
        asked.append((key, later))
        wait_until(lambda: later.done() or silent.has_client(), "its fate")
        return silent.has_client()

    wait_until(ask_unable, "it tries to connect")
    for key, _ in asked[-4:]:
        later = hosts.able.ask_later(f"/items/{key}")
        wait_until(lambda: later.done() or not silent.has_client(), "an answer")
        assert silent.has_client(), "it was waited for"
        assert later.result()[0] == 200
    assert {later.result()[0] for _, later in asked} <= {200, 503}


def test_where_nobody_can_lead_there_is_an_old_answer_at_once(stack):
    hosts = Hosts(stack)
    assert hosts.able.ask("/lenient/1")[0] == 200
    stack.entries.age(100)
    hosts.cut()
    wait_until(lambda: hosts.unable.ask("/items/0")[0] == 503 and is_known_away(hosts.unable),
               "it is known to be away")
    assert hosts.unable.ask("/items/1")[0] == 503
    _, headers, _ = hosts.unable.ask("/lenient/1")
    assert headers["cache-status"].endswith("detail=stale-if-error")
    assert not stack.redis.client().keys("*:lease")


def test_who_cannot_lead_waits_for_one_who_does(stack):
    hosts = Hosts(stack)
    hosts.cut()
    wait_until(lambda: hosts.unable.ask("/items/0")[0] == 503 and is_known_away(hosts.unable),
               "it is known to be away")
    with stack.gate():
        leading = hosts.able.ask_later("/gated/1")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        waiting = hosts.unable.ask_later("/gated/1")
        client = stack.redis.client()
        wait_until(lambda: waiting.done() or client.pubsub_channels(), "it waits")
        assert not waiting.done()
    assert leading.result()[0] == 200
    status, headers, _ = waiting.result()
    assert (status, headers["cache-status"]) == (200, "leeway; fwd=uri-miss; collapsed")


def test_a_refresher_without_postgres_takes_no_jobs(stack):
    """What it has taken before it knew goes back, and its key is not left alone for longer."""
    hosts = Hosts(stack, refreshers=True)
    for i in range(30):
        assert hosts.able.ask(f"/items/{i}")[0] == 200
    stack.entries.age(55)
    hosts.cut()
    assert {hosts.able.ask(f"/items/{i}")[0] for i in range(30)} == {200}
    wait_until(lambda: all("stale" not in hosts.able.ask(f"/items/{i}")[1]["cache-status"]
                           for i in range(30)), "all are refreshed")
    assert not stack.redis.client().keys("*failures*"), "nobody has failed"
    assert "refresh failed" not in hosts.unable.refresher.log_text()


@pytest.fixture(name="stuck")
def make_stuck(stack):
    """Stops the processes of the server that run a query with a marker; they go on in the end."""
    stopped = []

    def stop(marker):
        for pid, in stack.sql("select pid from pg_stat_activity where state = 'active'"
                              " and query like %s and pid <> pg_backend_pid()", f"%{marker}%"):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)
        assert stopped

    yield stop
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


def test_a_query_that_hangs_is_not_all_of_postgres(stack, stuck):
    stack.configure(ROUTES, workers=1, postgres="statement_timeout = 1s")
    stack.worker = stack.start_worker()
    with stack.gate():
        hung = stack.ask_later("/gated/1")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        stuck("marker:gated")
        assert hung.result()[0] == 504
        assert {stack.ask(f"/items/{i}")[0] for i in range(40)} == {200}
        assert b"\nleeway_postgres_up 1" in stack.ask("/metrics")[2]

# SPDX-License-Identifier: BSD-2-Clause
"""Children are replaced, reloaded without a lost request, and stopped without one."""
import os
import signal
import threading

from harness import fastcgi
from harness.wait import wait_until

ROUTES = """
route "/one" { sql = "select 1 as n"  shape = value }
route "/slow/{id}" { param "id" { type = int }
  sql = "select $1::int as id from pg_sleep(1) -- marker:slow"  shape = object }
"""

TWO = ROUTES + """
route "/two" { sql = "select 2 as n"  shape = value }
"""


def test_a_killed_child_is_replaced(stack):
    stack.expect_deaths = True
    stack.start(ROUTES)
    for process in (stack.worker, stack.refresher):
        before = process.children()
        for child in before:
            os.kill(child, signal.SIGKILL)
        wait_until(lambda p=process, b=before: len(p.children()) == len(b) and
                   not set(p.children()) & set(b), "replaced")
        assert "signal=9" in process.log_text()
    wait_until(lambda: stack.get("/one").status == 200, "served again")


def test_stopping_answers_what_is_parked(stack):
    stack.start(ROUTES)
    parked = stack.get_later("/slow/1")
    wait_until(lambda: stack.executions("marker:slow") == 1, "parked")
    stack.worker.send(signal.SIGTERM)
    answer = parked.result()
    assert (answer.status, answer.json()) == (200, {"id": 1})
    assert stack.worker.wait() == 0
    stack.refresher.send(signal.SIGTERM)
    assert stack.refresher.wait() == 0
    assert not os.path.exists(stack.socket)


def test_what_is_parked_too_long_gets_503(stack):
    stack.configure(ROUTES, settings="drain_timeout = 300ms",
                    postgres="statement_timeout = 300ms")
    worker = stack.start_worker("-n", "1")
    stack.ask("/one")
    client = stack.redis.client()
    entry = client.keys("*:entry")[0]
    client.delete(entry)
    client.set(entry.replace(":entry", ":lease"), "0" * 32)
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(fastcgi.request("/one"))
        wait_until(lambda: client.pubsub_channels("*:done"), "it waits for somebody else")
        worker.send(signal.SIGTERM)
        status, headers, _ = connection.read_answer()
    assert (status, headers["retry-after"]) == (503, "1")
    assert worker.wait() == 0


class Load:
    """Asks for one path all the time, from several threads."""

    def __init__(self, stack, path):
        self.statuses = []
        self.stopping = False

        def ask():
            while not self.stopping:
                self.statuses.append(stack.get(path).status)

        self.threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(10)
        return self.statuses


def test_reload_loses_no_request(stack):
    stack.start(ROUTES)
    before = stack.worker.children()
    load = Load(stack, "/one")
    stack.configure(TWO)
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: stack.get("/two").status == 200, "the new route")
    wait_until(lambda: not set(stack.worker.children()) & set(before), "all replaced")
    wait_until(lambda: len(load.statuses) > 200, "some load")
    statuses = load.stop()
    assert set(statuses) == {200}
    assert len(stack.worker.children()) == 2


def test_reloading_the_refresher(stack):
    stack.configure(ROUTES)
    refresher = stack.start_refresher()
    wait_until(lambda: stack.redis.client().smembers("{leeway:jobs}:refreshers"), "enrolled")
    before = refresher.children()
    refresher.send(signal.SIGHUP)
    wait_until(lambda: refresher.children() and not set(refresher.children()) & set(before),
               "replaced")
    wait_until(lambda: len(stack.redis.client().smembers("{leeway:jobs}:refreshers")) == 1,
               "the old one has left")


def test_a_broken_file_is_not_taken_over(stack):
    stack.start(ROUTES)
    before = stack.worker.children()
    stack.configure(TWO + "nonsense = 1")
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: "configuration not reloaded" in stack.worker.log_text(), "refused")
    assert stack.worker.children() == before
    assert stack.get("/one").status == 200
    assert stack.get("/two").status == 404


def test_another_number_of_children(stack):
    stack.start(ROUTES)
    with open(stack.config, encoding="utf-8") as conf:
        text = conf.read()
    with open(stack.config, "w", encoding="utf-8") as conf:
        conf.write(text.replace("workers = 2", "workers = 4"))
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: len(stack.worker.children()) == 4, "four workers")


def test_children_of_a_dead_parent_end(stack):
    stack.start(ROUTES)
    children = stack.worker.children() + stack.refresher.children()
    for process in (stack.worker, stack.refresher):
        process.send(signal.SIGKILL)
        process.wait()

    def gone(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    wait_until(lambda: all(gone(pid) for pid in children), "all have ended")

# SPDX-License-Identifier: BSD-2-Clause
"""leeway-refresher is stopped and started again while stale hits keep coming: no job is lost, none
is done twice, and the counters in shared memory go on where they were."""
import signal
import threading

import pytest

from harness.manager import Manager
from harness.stack import program
from harness.wait import wait_until
from test_metrics import value
from test_stale_refresh import in_hand, queue_keys

KEYS = 12
# Half a second after each refresh hits are stale again, and for a minute no key can expire.
ROUTES = """
context "c" { budget = 60s  refresh_at = 0.01 }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name, pg_sleep(0.01)::text from items where id = $1 -- marker:item"
  shape = object
}
"""
REFRESHES = "leeway_cache_refreshes_total"
QUERIES = "leeway_database_queries_total"


class StaleHits:
    """All keys in turn, without a break; not over TCP, whose ports would run out."""

    def __init__(self, stack):
        self.stack = stack
        self.statuses = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.over.is_set():
            for number in range(KEYS):
                self.statuses.append(self.stack.ask(f"/items/{number}")[0])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.thread.join(30)


def snapshots(stack):
    return {entry.key: entry.snapshot_us for entry in stack.entries.all("items.id")}


def counters(stack):
    return {result: value(stack, REFRESHES, route="/items/{id}", result=result)
            for result in ("stored", "failed", "dropped")}


def await_all_renewed(stack, since):
    wait_until(lambda: all(snapshots(stack)[key] > before for key, before in since.items()),
               "every key is refreshed")


def start(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql(f"insert into items select i, 'x' from generate_series(0, {KEYS - 1}) i")
    stack.start(ROUTES, refresher=False)
    stack.get_many([f"/items/{number}" for number in range(KEYS)])


def start_refreshers(stack, number):
    """Two of them."""
    started = stack.start_process(f"refresher{number}", [program("leeway-refresher"), "-c",
                                                         stack.config, "-n", "2"])
    stack.await_start(started, lambda: started.has_children(2))
    return started


def sums_agree(stack):
    """Whether every query was counted, and each was a miss or a refresh that was stored."""
    refreshes = value(stack, QUERIES, route="/items/{id}", origin="refresh")
    assert value(stack, QUERIES, route="/items/{id}", origin="miss") == KEYS
    assert counters(stack)["failed"] == 0
    return stack.executions("marker:item") - KEYS == refreshes == counters(stack)["stored"]


def await_the_end(stack):
    """A worker offers a job after its answer, so the last one may still be on its way."""
    wait_until(lambda: not stack.redis.client().llen(stack.jobs()) and not in_hand(stack) and
               not queue_keys(stack, "mark") and sums_agree(stack),
               "all is done, and counted once")


@pytest.mark.parametrize("overlap", [False, True])
def test_restarts_lose_no_job_and_no_count(stack, overlap):
    """One after the other, or each started before the one before it is told to stop."""
    start(stack)
    refresher = start_refreshers(stack, 0)
    seen = counters(stack)
    with StaleHits(stack) as load:
        for number in range(1, 6):
            await_all_renewed(stack, snapshots(stack))
            if overlap:
                successor = start_refreshers(stack, number)
                assert refresher.stop() == 0
            else:
                assert refresher.stop() == 0
                assert not in_hand(stack), "it leaves nothing behind"
                stopped = counters(stack)
                wait_until(lambda: stack.redis.client().llen(stack.jobs()) == KEYS,
                           "each key is waiting to be refreshed, once")
                assert counters(stack) == stopped, "what it has counted stays"
                successor = start_refreshers(stack, number)
            refresher = successor
            now = counters(stack)
            assert all(now[result] >= seen[result] for result in seen)
            seen = now
        await_all_renewed(stack, snapshots(stack))
    assert set(load.statuses) == {200}
    await_the_end(stack)
    assert refresher.stop() == 0
    assert sums_agree(stack)


def test_restarts_by_a_service_manager_and_reloads(stack):
    """The successor is started as soon as the one before it has exited, and once it is ready, it
    is reloaded."""
    start(stack)
    with StaleHits(stack) as load:
        for number in range(4):
            manager = Manager(stack)
            refresher = manager.start_refresher(f"refresher{number}")
            manager.await_states("READY")
            await_all_renewed(stack, snapshots(stack))
            refresher.send(signal.SIGHUP)
            manager.await_states("READY", "RELOADING", "READY")
            await_all_renewed(stack, snapshots(stack))
            assert refresher.stop() == 0
            assert not in_hand(stack)
            manager.close()
    assert set(load.statuses) == {200}
    last = stack.start_refresher(name="last")
    await_the_end(stack)
    assert last.stop() == 0

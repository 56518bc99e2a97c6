# SPDX-License-Identifier: BSD-2-Clause
"""Under systemd: what the daemons tell their manager and when, restarts behind a socket that stays,
the units, and the journal's levels. The test plays systemd, which is not run."""
import os
import signal
import time

import pytest

from harness.manager import Manager
from harness.postgres import GATE
from harness.wait import wait_until
from test_supervisor import Load

ROUTES = f"""
context "c" {{ budget = 60s }}
route "/hello" {{ context = "c"  sql = "select 'hello'::text as t"  shape = value }}
route "/items/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as id"
  shape = object
}}
route "/gated" {{ context = "c"  sql = "select 1 as n from {GATE} -- marker:gated"  shape = value }}
"""
BOTH = ["worker", "refresher"]


@pytest.fixture(name="manager")
def make_manager(stack):
    made = Manager(stack)
    yield made
    stack.stop()
    made.close()


def start(manager, role):
    """Up to READY=1."""
    if manager.listener is None:
        manager.listen()
    process = getattr(manager, "start_" + role)()
    manager.await_states("READY")
    return process


@pytest.mark.parametrize("role", BOTH)
@pytest.mark.parametrize("abstract", [False, True])
def test_from_the_start_to_the_end(stack, role, abstract):
    stack.configure(ROUTES)
    manager = Manager(stack, abstract)
    process = start(manager, role)
    assert len(process.children()) == (2 if role == "worker" else 1)
    manager.await_status("2 of 2 workers ready" if role == "worker" else "1 of 1 refreshers ready")
    assert process.stop() == 0
    manager.await_states("READY", "STOPPING")
    assert manager.status().startswith("stopping, ")
    manager.close()


def test_ready_means_that_all_workers_accept(stack, manager):
    """While runtime_dir is no folder, no worker can serve: nothing but the status is said."""
    stack.expect_deaths = True
    with open(stack.path("run"), "w", encoding="utf-8"):
        pass
    stack.configure(ROUTES)
    manager.listen()
    worker = manager.start_worker()
    waiting = stack.ask_later("/hello")
    wait_until(lambda: worker.log_text().count('msg="child died"') >= 2, "workers fail")
    manager.await_status("0 of 2 workers ready, starting")
    # a reload of a wrong file in the meantime does not make it ready
    stack.configure(ROUTES + "workerz = 8\n")
    worker.send(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in worker.log_text(), "the log says why")
    manager.await_status("0 of 2 workers ready, starting; the configuration was not reloaded, "
                         "the log says why")
    assert manager.states() == ["RELOADING"] and not waiting.done()
    os.unlink(stack.path("run"))
    manager.await_states("RELOADING", "READY")
    assert len(worker.children()) == 2
    assert waiting.result()[::2] == (200, b'"hello"')


def test_ready_means_that_the_refresher_takes_jobs(stack, manager):
    stack.configure(ROUTES)
    start(manager, "refresher")
    client = stack.redis.client()
    wait_until(lambda: [one for one in client.client_list() if one["name"] == "leeway-refresher"],
               "it is connected")
    client.lpush("leeway:jobs", "nonsense")
    wait_until(lambda: client.llen("leeway:jobs") == 0, "the job is taken")


@pytest.mark.parametrize("role", BOTH)
def test_ready_without_redis(stack, manager, role):
    """It serves without, so nothing that is started after it has to wait."""
    stack.configure(ROUTES)
    stack.redis.stop()
    start(manager, role)


@pytest.mark.parametrize("role", BOTH)
def test_a_reload_is_announced_and_ends_when_all_are_replaced(stack, manager, role):
    stack.configure(ROUTES)
    process = start(manager, role)
    before = process.children()
    earliest = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    process.send(signal.SIGHUP)
    manager.await_states("READY", "RELOADING", "READY")
    latest = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    announced = next(message for message in manager.said if "RELOADING" in message)
    assert earliest <= int(announced["MONOTONIC_USEC"]) <= latest
    wait_until(lambda: not set(before) & set(process.children()), "all are replaced")
    manager.await_status("2 of 2 workers ready" if role == "worker" else "1 of 1 refreshers ready")


def test_a_refused_reload_ends_too_and_the_status_keeps_it(stack, manager):
    stack.configure(ROUTES)
    worker = start(manager, "worker")
    stack.configure(ROUTES + "workerz = 8\n")
    worker.send(signal.SIGHUP)
    manager.await_states("READY", "RELOADING", "READY")
    manager.await_status("2 of 2 workers ready; the configuration was not reloaded, "
                         "the log says why")
    stack.configure(ROUTES)
    worker.send(signal.SIGHUP)
    manager.await_states("READY", "RELOADING", "READY", "RELOADING", "READY")
    manager.await_status("2 of 2 workers ready")


def test_the_status_tells_of_a_missing_worker_and_of_what_a_stop_waits_for(stack, manager):
    stack.expect_deaths = True
    stack.configure(ROUTES)
    worker = start(manager, "worker")
    stack.kill_child(worker)
    manager.await_status("2 of 2 workers ready")
    assert "1 of 2 workers ready" in [message.get("STATUS") for message in manager.said]
    assert manager.states() == ["READY"]
    with stack.gate():
        parked = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        worker.send(signal.SIGTERM)
        manager.await_status("stopping, 1 worker to finish")
    assert parked.result()[0] == 200 and worker.wait() == 0


def test_requests_wait_in_the_socket_while_nobody_serves(stack, manager):
    stack.configure(ROUTES)
    assert start(manager, "worker").stop() == 0
    waiting = [stack.ask_later("/hello") for _ in range(20)]
    assert not any(later.done() for later in waiting)
    manager.start_worker("successor")
    assert {later.result()[0] for later in waiting} == {200}


def test_restarts_under_load_lose_no_request(stack, manager):
    stack.configure(ROUTES)
    worker = start(manager, "worker")
    stack.start_lighttpd()
    with Load(stack) as load:
        for number in range(4):
            assert worker.stop() == 0
            worker = manager.start_worker(f"worker{number}")
            load.await_more(20)
        assert os.path.exists(stack.socket), "the socket is the manager's to remove"
    assert not load.errors
    assert set(load.statuses) == {200}


def log_to_journal(stack, name):
    """As systemd would say if the log of process `name` were a stream to the journal."""
    with open(stack.path(name + ".log"), "ab") as log:
        found = os.fstat(log.fileno())
    stack.environment = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}


@pytest.mark.parametrize("role", BOTH)
def test_the_journal_gets_levels(stack, manager, role):
    log_to_journal(stack, role)
    stack.configure(ROUTES)
    process = start(manager, role)
    stack.configure(ROUTES + "workerz = 8\n")
    process.send(signal.SIGHUP)
    manager.await_states("READY", "RELOADING", "READY")
    lines = process.log_text().splitlines()
    assert lines[0].startswith("<6>info pid=") and " msg=started " in lines[0]
    assert [line for line in lines
            if line.startswith("<3>error pid=") and 'msg="configuration not reloaded"' in line]
    assert all(line[0] == "<" and line[2] == ">" for line in lines)


def test_another_log_gets_no_levels(stack, manager):
    """JOURNAL_STREAM is inherited by what a service starts with its output elsewhere."""
    log_to_journal(stack, "other")
    stack.configure(ROUTES)
    assert start(manager, "worker").log_text().startswith("info pid=")


def test_why_it_does_not_start_is_an_error_in_the_journal(stack, manager):
    log_to_journal(stack, "worker")
    stack.configure(ROUTES + "workerz = 8\n")
    manager.listen()
    worker = manager.start_worker()
    assert worker.wait() == 1
    assert worker.log_text().startswith(f"<3>{stack.config}:")
    assert not manager.said

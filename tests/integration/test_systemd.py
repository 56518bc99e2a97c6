# SPDX-License-Identifier: BSD-2-Clause
"""Under systemd: what the daemons tell their manager and when, restarts behind a socket that stays,
the units, and the journal's levels. The test plays systemd, which is not run."""
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from harness import seccomp
from harness.manager import Manager
from harness.postgres import GATE
from harness.stack import program
from harness.wait import wait_until
from harness.load import Load

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
    jobs = stack.jobs()
    client.lpush(jobs, "nonsense")
    wait_until(lambda: client.llen(jobs) == 0, "the job is taken")


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
    assert start(manager, "worker").log_text().startswith("info time=")


def test_why_it_does_not_start_is_an_error_in_the_journal(stack, manager):
    log_to_journal(stack, "worker")
    stack.configure(ROUTES + "workerz = 8\n")
    manager.listen()
    worker = manager.start_worker()
    assert worker.wait() == 1
    assert worker.log_text().startswith(f"<3>{stack.config}:")
    assert not manager.said


UNITS = ["leeway-worker.socket", "leeway-worker.service", "leeway-refresher.service"]


@pytest.fixture(name="units")
def make_units(folder):
    """The units of this build in a folder of their own, with its programs, which need not be
    installed."""
    made = os.path.join(folder, "units")
    os.mkdir(made)
    for name in UNITS:
        with open(program(os.path.join("systemd", name)), encoding="utf-8") as unit:
            text = unit.read()
        assert not re.search(r"@\w+@", text.replace("@system-service", "")), "all is filled in"
        with open(os.path.join(made, name), "w", encoding="utf-8") as out:
            out.write(re.sub(r"=\S*/sbin/(leeway-\w+)",
                             lambda found: "=" + program(found[1]), text))
    return made


def analyze(units, *arguments, names=tuple(UNITS)):
    return subprocess.run(["systemd-analyze", *arguments,
                           *[os.path.join(units, name) for name in names]],
                          capture_output=True, text=True, timeout=60, check=False)


def settings_of(units, name):
    """Each name's values, in their order."""
    found = {}
    with open(os.path.join(units, name), encoding="utf-8") as unit:
        for line in unit:
            key, equals, value = line.rstrip("\n").partition("=")
            if equals and not line.startswith("#"):
                found.setdefault(key, []).append(value)
    return found


def test_the_units_are_right(units):
    run = analyze(units, "verify", "--man=no")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("name, right, wrong", [
    ("leeway-worker.service", "ProtectSystem=", "ProtectSytem="),
    ("leeway-refresher.service", "Type=notify", "Type=notifies"),
    ("leeway-worker.socket", "SocketMode=0660", "SocketMode=rw"),
    ("leeway-refresher.service", "leeway-refresher\n", "no-such-program\n"),
])
def test_a_mistake_in_a_unit_is_found(units, name, right, wrong):
    """So the test before this one shows something."""
    path = os.path.join(units, name)
    with open(path, encoding="utf-8") as unit:
        text = unit.read()
    assert right in text
    with open(path, "w", encoding="utf-8") as out:
        out.write(text.replace(right, wrong, 1))
    assert name in analyze(units, "verify", "--man=no").stderr


@pytest.mark.parametrize("name", UNITS[1:])
def test_the_services_are_confined(units, name):
    """systemd's own measure of exposure, from 0 to 100; below 20 it says OK."""
    run = analyze(units, "security", "--offline=true", "--threshold=20", "--no-pager", names=[name])
    assert run.returncode == 0, run.stdout


def test_the_services_suit_the_programs_and_each_other(units, stack):
    worker, refresher = (settings_of(units, name) for name in UNITS[1:])
    for service in (worker, refresher):
        # the default runtime_dir, which outlives both
        assert service["RuntimeDirectory"] == ["leeway"]
        assert service["RuntimeDirectoryPreserve"] == ["yes"]
        assert service["Type"] == ["notify"] and service["NotifyAccess"] == ["main"]
        assert service["WatchdogSec"] == ["30s"]
        # more than the default drain_timeout and the second until children are killed
        assert int(service["TimeoutStopSec"][0].rstrip("s")) > 10 + 1
    assert (worker["User"], worker["Group"]) == (refresher["User"], refresher["Group"])
    # its folder must not be one that a service takes over
    assert settings_of(units, UNITS[0])["ListenStream"] == ["/run/leeway.sock"]
    # what a reload does first
    stack.configure(ROUTES + "workerz = 8\n")
    for service in (worker, refresher):
        first, second = service["ExecReload"]
        assert stack.run(*first.split(), "-c", stack.config).returncode == 1
        assert second.endswith("kill -HUP $MAINPID")


def test_the_programs_get_by_with_the_services_system_calls(units, stack):
    """Start, misses, hits, a refresh, reload and stop."""
    calls = ",".join(sorted(seccomp.allowed(settings_of(units, UNITS[1])["SystemCallFilter"])))
    # the search for leaks traces the process, which a service may not
    stack.environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    stack.configure(ROUTES)
    confined = [sys.executable, seccomp.__file__, calls]
    worker = stack.start_process("worker", confined + stack.worker_command())
    refresher = stack.start_process(
        "refresher", confined + [program("leeway-refresher"), "-c", stack.config])
    wait_until(lambda: worker.has_children(2) and refresher.has_children(1), "all are there")
    assert [stack.ask("/items/1")[0] for _ in range(3)] == [200] * 3
    before = stack.entries.only().snapshot_us
    stack.entries.age(55)
    wait_until(lambda: stack.ask("/items/1") and stack.entries.only().snapshot_us > before,
               "it is refreshed")
    for process in (worker, refresher):
        children = process.children()
        process.send(signal.SIGHUP)
        wait_until(lambda: process.has_children(len(children)) and  # pylint: disable=W0640
                   not set(children) & set(process.children()),  # pylint: disable=W0640
                   "all are replaced")
    assert stack.ask("/metrics")[0] == 200
    assert (worker.stop(), refresher.stop()) == (0, 0)


def test_a_forbidden_system_call_would_be_noticed(units, stack):
    calls = seccomp.allowed(settings_of(units, UNITS[1])["SystemCallFilter"])
    assert {"accept4", "prlimit64"} <= calls and not {"ptrace", "chown", "mount"} & calls
    stack.configure(ROUTES)
    run = subprocess.run([sys.executable, seccomp.__file__, ",".join(calls - {"signalfd4"}),
                          *stack.worker_command()], capture_output=True, timeout=60, check=False)
    assert run.returncode == -signal.SIGSYS

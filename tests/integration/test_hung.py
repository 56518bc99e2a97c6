# SPDX-License-Identifier: BSD-2-Clause
"""A child whose loop does not turn any more is replaced; the service manager hears from a parent
that turns its own."""
import ctypes
import os
import re
import signal
import socket

import pytest

from harness.http import Background
from harness.manager import Manager
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/hello" { context = "c"  sql = "select 'hello'::text as t"  shape = value }
route "/other" { context = "c"  sql = "select 'other'::text as t"  shape = value }
"""
# a child is given ten seconds
PATIENCE_S = 40


def is_full(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(b"", path)
        except BlockingIOError:
            return True
    return False


def hung_lines(process):
    return [line for line in process.log_text().splitlines() if 'msg="child hangs' in line]


def test_a_worker_that_hangs_is_replaced_and_its_route_named(stack):
    stack.expect_deaths = True
    shim = stack.shim()
    stack.configure(ROUTES)
    worker = stack.start_worker()
    before = worker.children()
    assert stack.ask("/other")[0] == 200
    shim.delay_writes(3600)  # one sleeps while it writes
    stuck = stack.ask_later("/hello")
    wait_until(lambda: stack.executions("select 'hello'") == 1, "a worker is at it")
    shim.delay_writes(0)
    wait_until(lambda: hung_lines(worker), "the log says so", PATIENCE_S)
    wait_until(lambda: worker.has_children(2) and worker.children() != before, "it is replaced")
    line, = hung_lines(worker)
    pid = int(re.search(r" child=(\d+)", line)[1])
    assert pid in before and pid not in worker.children()
    assert " route=/hello" in line and " role=worker" in line
    # the other one has worked all the while
    assert len(set(before) & set(worker.children())) == 1
    with pytest.raises(Exception):
        stuck.result()
    assert stack.ask("/hello")[0] == 200


def test_a_stopped_refresher_is_replaced(stack):
    """SIGABRT does not reach it, but SIGKILL does."""
    stack.expect_deaths = True
    stack.configure(ROUTES)
    refresher = stack.start_refresher()
    child, = refresher.children()
    os.kill(child, signal.SIGSTOP)
    wait_until(lambda: hung_lines(refresher), "the log says so", PATIENCE_S)
    wait_until(lambda: refresher.has_children(1) and refresher.children() != [child],
               "it is replaced")
    assert " role=refresher" in hung_lines(refresher)[0]


def test_a_child_that_a_debugger_holds_is_excused(stack):
    """How long it may be held is no matter (tests/unit/test_post.c)."""
    stack.configure(ROUTES)
    worker = stack.start_worker()
    child = worker.children()[0]
    attach, detach = 16, 17
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(attach, child, None, None) != 0:
        pytest.skip("processes may not be traced here: " + os.strerror(ctypes.get_errno()))
    try:
        wait_until(lambda: "held by a debugger" in worker.log_text(), "the log says so")
    finally:
        os.waitpid(child, 0x40000000)  # __WALL
        libc.ptrace(detach, child, None, None)
    assert not hung_lines(worker) and child in worker.children()


@pytest.fixture(name="manager")
def make_manager(stack):
    made = Manager(stack)
    stack.environment = {**os.environ, "WATCHDOG_USEC": "200000"}
    yield made
    stack.stop()
    made.close()


def beats(manager):
    return sum(message.get("WATCHDOG") == "1" for message in list(manager.said))


def await_beats(manager):
    before = beats(manager)
    wait_until(lambda: beats(manager) >= before + 3, "it says that it lives")


@pytest.mark.parametrize("role", ["worker", "refresher"])
def test_the_manager_hears_from_the_parent(stack, manager, role):
    stack.configure(ROUTES)
    manager.listen()
    process = getattr(manager, "start_" + role)()
    manager.await_states("READY")
    await_beats(manager)
    process.send(signal.SIGHUP)
    manager.await_states("READY", "RELOADING", "READY")
    await_beats(manager)
    assert process.stop() == 0


def test_the_manager_hears_from_a_process_without_a_parent(stack, manager):
    stack.configure(ROUTES)
    worker = manager.start("worker", stack.worker_command("-n", "0"))
    manager.await_states("READY")
    await_beats(manager)
    worker.send(signal.SIGHUP)
    await_beats(manager)
    assert worker.stop() == 0
    assert manager.states()[-1] == "STOPPING"


def test_a_manager_that_does_not_read_holds_up_nobody(stack):
    stack.configure(ROUTES)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(stack.path("notify"))
        stack.environment = {**os.environ, "WATCHDOG_USEC": "20000",
                             "NOTIFY_SOCKET": stack.path("notify")}
        stack.start_worker("-n", "0")
        assert stack.ask("/hello")[0] == 200
        wait_until(lambda: is_full(stack.path("notify")), "it takes no more")
        # were each turn of the loop to wait for it, not even ten would be answered in this time
        later = Background(lambda: [stack.ask("/hello")[0] for _ in range(50)])
        wait_until(later.done, "all are answered")
        assert later.result() == [200] * 50

# SPDX-License-Identifier: BSD-2-Clause
"""Processes: replaced when they die, stopped and reloaded without losing a request."""
import contextlib
import os
import re
import signal
import threading
import time

import pytest

from harness import fastcgi, load
from harness.postgres import GATE
from harness.stack import program
from harness.wait import wait_until

ROUTES = load.ROUTES + f"""
route "/gated" {{ context = "c"  sql = "select 1 as n from {GATE} -- marker:gated"  shape = value }}
"""
MORE = ROUTES + 'route "/more" { context = "c"  sql = "select 2 as n"  shape = value }\n'


def start(stack, routes=ROUTES, **options):
    return stack.start(routes, refresher=False, **options)


def all_replaced(stack, process, before):
    wait_until(lambda: process.has_children(stack.workers) and
               not set(before) & set(process.children()), "all children are replaced")


def test_a_killed_worker_is_replaced(stack):
    stack.expect_deaths = True
    start(stack)
    for _ in range(3):
        stack.kill_child(stack.worker)
        assert stack.get("/hello").status == 200
    assert "signal=9" in stack.worker.log_text()


def test_a_killed_refresher_is_replaced(stack):
    stack.expect_deaths = True
    stack.configure(ROUTES)
    stack.kill_child(stack.start_refresher())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_answers_what_waits_and_exits_0(stack, number):
    start(stack)
    with stack.gate():
        parked = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        stack.worker.send(number)
        wait_until(lambda: len(stack.worker.children()) == 1, "the idle worker has stopped")
        assert not parked.done()
    assert parked.result()[::2] == (200, b"1")
    assert stack.worker.wait() == 0
    assert not os.path.exists(stack.socket)


@pytest.mark.parametrize("what", ["worker", "-n 0", "refresher"])
def test_signals_that_mean_nothing_here_end_nobody(stack, what):
    """As of a log rotation that sends what it sends to others."""
    stack.configure(ROUTES, workers=1)
    process = stack.start_refresher() if what == "refresher" else \
        stack.start_worker(*(["-n", "0"] if what == "-n 0" else []))
    before = process.children()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        for pid in [process.pid, *before]:
            os.kill(pid, number)
    process.send(signal.SIGHUP)
    if what == "-n 0":
        wait_until(lambda: process.log_text().count("msg=started") == 2, "it starts anew")
    else:
        stack.await_replaced(process, before)
    assert "signal=" not in process.log_text()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        process.send(number)
    assert process.stop() == 0
    program = "leeway-refresher" if what == "refresher" else "leeway-worker"
    assert process.log_text().endswith(f"msg=stopped program={program} status=0\n")


def test_what_waits_beyond_drain_timeout_gets_503(stack):
    # another worker of this host holds the only slot
    stack.configure(ROUTES, postgres="slots = 1\n  statement_timeout = 20s",
                    settings="drain_timeout = 20s")
    holder = stack.path("holder.sock")
    stack.start_process("holder", [program("leeway-worker"), "-c", stack.config, "-n", "0",
                                   "-s", "unix:" + holder])
    wait_until(lambda: os.path.exists(holder), "it listens")
    with stack.gate(), fastcgi.Connection(holder) as connection:
        connection.send(fastcgi.request("/gated"))
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        stack.configure(ROUTES, settings="drain_timeout = 200ms",
                        postgres="slots = 1\n  statement_timeout = 200ms\n  slot_timeout = 1m")
        worker = stack.start_worker()
        parked = stack.ask_later("/hello")
        wait_until(lambda: len(stack.redis.client().keys("*:lease")) == 2, "it waits for the slot")
        worker.send(signal.SIGTERM)
        status, headers, _ = parked.result()
        assert status == 503 and headers["retry-after"] in ("1", "2")
        assert worker.wait() == 0
    assert stack.executions("select 'hello'") == 0


def test_a_reload_leaves_the_children_before_it_their_drain_timeout(stack):
    """The new one is over, and the parent kills nobody for it."""
    stack.configure(ROUTES, workers=1, settings="drain_timeout = 20s",
                    postgres="statement_timeout = 20s")
    worker = stack.start_worker()
    before = worker.children()
    with stack.gate():
        parked = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        stack.configure(ROUTES, workers=1, settings="drain_timeout = 100ms",
                        postgres="statement_timeout = 100ms")
        worker.send(signal.SIGHUP)
        wait_until(lambda: len(worker.children()) == 2 and stack.ask("/hello")[0] == 200,
                   "the successor serves")
        # one more second is what the parent gives
        time.sleep(2)
        assert before[0] in worker.children()
    assert parked.result()[::2] == (200, b"1")
    stack.await_replaced(worker, before)
    assert "is killed" not in worker.log_text()


@contextlib.contextmanager
def held_by_another(client, lease):
    """As by a leader that renews it."""
    over = threading.Event()

    def hold():
        while not over.wait(0.1):
            client.set(lease, "0" * 32, px=2000)
    client.set(lease, "0" * 32, px=2000)
    leader = threading.Thread(target=hold)
    leader.start()
    try:
        yield
    finally:
        over.set()
        leader.join()


def test_a_lease_that_never_ends_does_not_delay_the_end(stack):
    stack.configure(ROUTES, workers=1, settings="drain_timeout = 300ms",
                    postgres="statement_timeout = 300ms")
    worker = stack.start_worker()
    stack.ask("/hello")
    client = stack.redis.client()
    entry = stack.entries.only().key
    client.delete(entry)
    with held_by_another(stack.redis.client(), entry.replace(":entry", ":lease")):
        parked = stack.ask_later("/hello")
        wait_until(lambda: client.pubsub_channels("*:done"), "it waits for somebody else")
        worker.send(signal.SIGTERM)
        status, headers, _ = parked.result()
        assert status == 503 and headers["retry-after"] in ("1", "2")
        assert worker.wait() == 0


def test_idle_kept_connections_do_not_delay_the_end(stack):
    start(stack)
    with fastcgi.Connection(stack.socket) as kept:
        assert kept.ask("/hello", keep=True)[0] == 200
        stack.worker.send(signal.SIGTERM)
        assert kept.is_closed()
        assert stack.worker.wait() == 0


def test_requests_in_kept_connections_are_answered_before_the_end(stack):
    """Also those that the worker has not seen when it is told to stop."""
    stack.expect_deaths = True
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    child = worker.children()[0]
    kept = [fastcgi.Connection(stack.socket) for _ in range(8)]
    for connection in kept:
        assert connection.ask("/hello", keep=True)[0] == 200
    os.kill(child, signal.SIGSTOP)
    for connection in kept:
        connection.send(fastcgi.request("/hello", keep=True))
    os.kill(child, signal.SIGTERM)
    os.kill(child, signal.SIGCONT)
    for connection in kept:
        assert connection.read_answer()[0] == 200
        connection.close()


def test_a_stop_right_after_the_start(stack):
    stack.configure(ROUTES, workers=8)
    for number in range(5):
        worker = stack.start_process(f"brief{number}", stack.worker_command())
        wait_until(worker.children, "the first child")
        assert worker.stop() == 0


def test_a_reload_under_load_loses_no_request(stack):
    start(stack)
    with load.Load(stack) as clients:
        for round_number in range(3):
            before = stack.worker.children()
            stack.configure(MORE if round_number % 2 == 0 else ROUTES)
            stack.worker.send(signal.SIGHUP)
            all_replaced(stack, stack.worker, before)
            clients.await_more(20)
    clients.assert_none_lost()
    assert stack.get("/more").status == 200


def test_a_reload_lets_parked_requests_finish(stack):
    start(stack)
    with stack.gate():
        parked = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        stack.configure(MORE)
        stack.worker.send(signal.SIGHUP)
        wait_until(lambda: stack.get("/more").status == 200, "the new configuration serves")
        assert not parked.done()
    assert parked.result()[::2] == (200, b"1")


def test_a_reload_changes_the_number_of_workers(stack):
    start(stack)
    for count in (4, 1):
        before = stack.worker.children()
        stack.configure(ROUTES, workers=count)
        stack.worker.send(signal.SIGHUP)
        all_replaced(stack, stack.worker, before)
        assert stack.get("/hello").status == 200


def test_a_broken_file_changes_nothing(stack):
    start(stack)
    children = stack.worker.children()
    stack.configure(MORE + "\nworkerz = 8\n")
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in stack.worker.log_text(), "the log says why")
    assert f"file={stack.config}" in stack.worker.log_text()
    assert "workerz" in stack.worker.log_text()
    assert stack.get("/hello").status == 200 and stack.get("/more").status == 404
    assert stack.worker.children() == children
    # and a good one is taken afterwards
    stack.configure(MORE)
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: stack.get("/more").status == 200, "the new configuration serves")


def test_a_refresher_is_reloaded(stack):
    stack.configure(ROUTES)
    refresher = stack.start_refresher()
    client = stack.redis.client()
    names = stack.jobs("refreshers")
    enrolled = wait_until(lambda: client.smembers(names), "it is enrolled")
    before = refresher.children()
    refresher.send(signal.SIGHUP)
    wait_until(lambda: refresher.has_children(1) and refresher.children() != before,
               "the refresher is replaced")
    wait_until(lambda: not enrolled & client.smembers(names),
               "the old one has left")
    assert refresher.stop() == 0


def test_without_children_a_reload_keeps_process_and_socket(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker("-n", "0")
    assert stack.ask("/more")[0] == 404
    stack.configure(MORE + "workerz = 8\n")
    worker.send(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in worker.log_text(), "the log says why")
    stack.configure(MORE)
    worker.send(signal.SIGHUP)
    wait_until(lambda: stack.ask("/more")[0] == 200, "the new configuration serves")
    assert worker.is_running()
    assert worker.stop() == 0


def test_without_children_a_reload_loses_no_request(stack):
    stack.configure(ROUTES)
    stack.worker = stack.start_worker("-n", "0")
    stack.start_lighttpd()
    with stack.gate():
        parked = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        stack.configure(MORE)
        stack.worker.send(signal.SIGHUP)
        others = [stack.ask_later("/more") for _ in range(10)]
        assert not parked.done()
    assert parked.result()[::2] == (200, b"1")
    # answered by the old configuration or the new, depending on when the signal was seen
    assert {later.result()[0] for later in others} <= {200, 404}
    wait_until(lambda: stack.ask("/more")[::2] == (200, b"2"), "the new configuration serves")


def test_without_children_a_file_that_breaks_while_it_drains_changes_nothing(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker("-n", "0")
    for change in ("workerz = 8\n", None):
        with stack.gate():
            parked = stack.ask_later("/gated")
            wait_until(lambda: stack.redis.client().keys("*:lease"), "the query is under way")
            stack.configure(MORE)
            worker.send(signal.SIGHUP)
            wait_until(lambda: not listens(stack), "it drains")
            stack.configure(MORE + (change or ""))
            # neither another one nor a second thought makes a difference now
            worker.send(signal.SIGHUP)
        assert parked.result()[0] == 200
        wait_until(lambda: stack.ask("/hello")[0] == 200, "it serves")
        stack.redis.client().flushall()
        assert (stack.ask("/more")[0] == 200) == (change is None)
        assert worker.is_running()
    assert worker.log_text().count("not reloaded") == 1
    assert worker.stop() == 0


def test_a_file_that_breaks_while_it_starts_anew_is_waited_for(stack):
    stack.environment = {**os.environ, "LEEWAY_ANEW": "1"}
    stack.configure(ROUTES + "workerz = 8\n")
    for end in ("mended", "stopped"):
        worker = stack.start_process(end, stack.worker_command("-n", "0"))
        wait_until(lambda: "waiting for a right configuration" in worker.log_text(),  # pylint: disable=W0640
                   "it waits")
        if end == "mended":
            stack.configure(ROUTES)
            wait_until(stack.worker_answers, "it serves")
            stack.configure(ROUTES + "workerz = 8\n")
        assert worker.stop() == 0


def listens(stack):
    with fastcgi.Connection(stack.socket) as connection:
        connection.socket.settimeout(0.2)
        connection.send(fastcgi.request("/health"))
        try:
            connection.read_answer()
            return True
        except OSError:
            return False


def test_without_children_a_stop_is_not_taken_for_a_reload(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker("-n", "0")
    with stack.gate():
        parked = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        worker.send(signal.SIGHUP)
        wait_until(lambda: not listens(stack), "it drains")
        worker.send(signal.SIGTERM)
        worker.send(signal.SIGHUP)
    assert parked.result()[0] == 200
    assert worker.wait() == 0


def test_children_that_cannot_work_are_tried_again_at_growing_intervals(stack):
    stack.expect_deaths = True
    with open(stack.path("run"), "w", encoding="utf-8"):
        pass  # a file where runtime_dir should be
    stack.configure(ROUTES, workers=1)
    worker = stack.start_process("failing", stack.worker_command())
    wait_until(lambda: worker.log_text().count('msg="child died"') >= 3, "some attempts")
    assert worker.is_running()
    os.unlink(stack.path("run"))
    wait_until(lambda: worker.has_children(1), "it works at last")
    assert stack.ask("/hello")[0] == 200


@pytest.mark.parametrize("alone", [False, True], ids=["pre-forked", "-n 0"])
def test_a_reload_without_a_runtime_dir_changes_nothing(stack, alone):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker(*(["-n", "0"] if alone else []))
    before = worker.children()
    with open(stack.config, encoding="utf-8") as file:
        text = file.read()
    with open(stack.config, "w", encoding="utf-8") as file:
        file.write(text.replace(stack.path("run"), stack.config + "/run"))
    worker.send(signal.SIGHUP)
    wait_until(lambda: re.search('msg="configuration not reloaded" .*runtime_dir cannot be used: ',
                                 worker.log_text()), "it says why not")
    assert worker.is_running() and worker.children() == before
    assert stack.ask("/hello")[0] == 200


@pytest.mark.parametrize("alone", [False, True], ids=["pre-forked", "-n 0"])
def test_a_reload_that_takes_all_descriptors_changes_nothing(stack, alone):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_process("worker", ["prlimit", "--nofile=300"] +
                                 stack.worker_command(*(["-n", "0"] if alone else [])))
    stack.await_start(worker, stack.worker_answers)
    before = worker.children()
    stack.configure(ROUTES, workers=1, postgres="slots = 1024")
    worker.send(signal.SIGHUP)
    wait_until(lambda: "too few descriptors for so many slots" in worker.log_text(),
               "it says why not")
    assert worker.children() == before
    assert "configuration reloaded" not in worker.log_text()
    assert stack.ask("/hello")[0] == 200


@pytest.mark.parametrize("alone", [False, True], ids=["pre-forked", "-n 0"])
def test_a_reload_makes_nobody_take_another_s_socket_for_its_own(stack, alone):
    stack.configure(ROUTES, workers=1)
    first = stack.start_process("first", stack.worker_command(*(["-n", "0"] if alone else [])))
    stack.await_start(first, stack.worker_answers)
    os.unlink(stack.socket)
    second = stack.start_process("second", stack.worker_command())
    stack.await_start(second, stack.worker_answers)
    first.send(signal.SIGHUP)
    wait_until(lambda: "is no longer the socket that was made here" in first.log_text(),
               "it says so")
    assert first.stop() == 0
    assert stack.ask("/hello")[0] == 200

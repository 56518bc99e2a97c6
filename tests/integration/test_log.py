# SPDX-License-Identifier: BSD-2-Clause
"""The log: it holds up nobody, is told what it left out, and is opened anew where it is moved."""
import contextlib
import os
import pty
import re
import resource
import signal
import stat
import subprocess
import time

import pytest

from harness.process import unprivileged_account
from harness.stack import program
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/hit" { context = "c"  sql = "select 1 as n"  shape = value }
route "/wrong/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select 1/($1::int - $1::int) as n"
  shape = value
}
"""
TIME = re.compile(r"^\w+ time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z pid=\d+ msg=", re.MULTILINE)


def fill(writing):
    os.set_blocking(writing, False)
    for piece in (b"x" * 4096, b"\n"):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, piece)
    os.set_blocking(writing, True)


@contextlib.contextmanager
def unread_pipe():
    """A pipe that is full as it is; (reading end, writing end)."""
    reading, writing = os.pipe()
    fill(writing)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def start_with_stderr(stack, writing, **options):
    # what a sanitizer finds must not go there
    stack.environment = stack.sanitizer_environment()
    worker = stack.start_process("worker", stack.worker_command(), stderr=writing, **options)
    stack.await_start(worker, stack.worker_answers)
    wait_until(lambda: worker.has_children(stack.workers), "all workers are there")
    return worker


def dropped(stack):
    text = stack.ask("/metrics")[2].decode()
    return int(re.search(r"^leeway_log_dropped_total (\d+)$", text, re.MULTILINE).group(1))


def test_a_pipe_that_nobody_reads(stack):
    """The workers log more than fits, and serve; when somebody reads, what is missing is said."""
    stack.configure(ROUTES, workers=2)
    with unread_pipe() as (reading, writing):
        worker = start_with_stderr(stack, writing)
        for number in range(40):
            assert stack.ask(f"/wrong/{number}")[0] == 400
            assert stack.ask("/hit")[0] == 200
        wait_until(lambda: dropped(stack) > 0, "what was dropped is counted")
        os.set_blocking(reading, False)
        read = b""

        def said():
            nonlocal read
            with contextlib.suppress(BlockingIOError):
                read += os.read(reading, 1 << 20)
            return re.search(rb"whoever reads the log does not take the lines\" dropped=\d+\n", read)
        wait_until(said, "what was dropped is said")
        fill(writing)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_a_pipe_of_another_user(stack):
    """Who may not open it anew writes to it without waiting all the same."""
    account = unprivileged_account()
    if account is None:
        pytest.skip("only root can start a program as another user")
    stack.configure(ROUTES, workers=1)
    os.chmod(stack.folder, 0o777)
    with unread_pipe() as (_, writing):
        worker = start_with_stderr(stack, writing, account=account)
        for number in range(20):
            # Postgres may not know that user
            assert stack.ask(f"/wrong/{number}")[0] in (400, 503)
        wait_until(lambda: dropped(stack) > 0, "what was dropped is counted")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_a_pipe_that_is_closed(stack):
    """Who writes to it would be killed, the parent too."""
    stack.configure(ROUTES, workers=2)
    reading, writing = os.pipe()
    worker = start_with_stderr(stack, writing)
    os.close(writing)
    os.close(reading)
    before = worker.children()
    worker.send(signal.SIGHUP)
    stack.await_replaced(worker, before)
    assert stack.ask("/hit")[0] == 200
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_terminal_that_nobody_reads(stack):
    stack.configure(ROUTES, workers=2)
    master, slave = pty.openpty()
    worker = start_with_stderr(stack, slave)
    hold = time.monotonic() + 20
    number = 0
    while dropped(stack) == 0 and time.monotonic() < hold:
        # each is a line of its own kind, so that the terminal is soon full
        number += 1
        before = worker.children()
        worker.send(signal.SIGHUP)
        for _ in range(20):
            assert stack.ask(f"/wrong/{number}")[0] == 400
        stack.await_replaced(worker, before)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    os.close(slave)
    os.close(master)


def test_what_the_parent_has_dropped_is_counted_once(stack):
    stack.configure(ROUTES, workers=4)
    with unread_pipe() as (_, writing):
        worker = start_with_stderr(stack, writing)
        wait_until(lambda: dropped(stack) > 0, "what was dropped is counted")
        at_start = dropped(stack)
        before = worker.children()
        worker.send(signal.SIGHUP)
        stack.await_replaced(worker, before)
        # what each says of itself it says after it has counted
        client = stack.redis.client()
        wait_until(lambda: all(client.keys(f"*{{peers.*}}:*.{pid}.*") for pid in worker.children()),
                   "each of them has counted")
        # of the start there are two lines at most, of a reload one
        assert at_start <= 2 and dropped(stack) <= at_start + 1


def test_what_the_parent_left_out_is_told(stack):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    with open(stack.config, "a", encoding="utf-8") as out:
        out.write("nonsense\n")
    for _ in range(30):
        worker.send(signal.SIGHUP)
        wait_until(lambda: not worker.has_pending(signal.SIGHUP), "it has heard that")
    wait_until(lambda: 'msg="log lines were left out" of="configuration not reloaded"'
               in worker.log_text(), "how many were left out is said")


def test_lines_carry_the_time(stack):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    assert stack.ask("/wrong/1")[0] == 400
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    lines = worker.log_text().splitlines()
    assert lines and all(TIME.match(line) for line in lines), worker.log_text()


def text_of(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_a_file_is_opened_anew_by_hup(stack):
    path = stack.path("leeway.log")
    stack.configure(ROUTES, workers=2, settings=f'log = "file:{path}"')
    worker = stack.start_worker()
    assert 'msg=started program=leeway-worker' in text_of(path)
    assert worker.log_text() == ""
    os.rename(path, path + ".1")
    before = worker.children()
    worker.send(signal.SIGHUP)
    stack.await_replaced(worker, before)
    wait_until(lambda: 'msg="configuration reloaded"' in text_of(path), "the parent has opened it")
    moved = text_of(path + ".1")
    for number in range(10):
        assert stack.ask(f"/wrong/{number}")[0] == 400
    wait_until(lambda: "route=/wrong/{id}" in text_of(path), "the workers have too")
    assert text_of(path + ".1") == moved
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_file_that_is_moved_needs_no_hup(stack):
    path = stack.path("leeway.log")
    stack.configure(ROUTES, workers=1, settings=f'log = "file:{path}"')
    stack.start_worker()
    os.rename(path, path + ".1")

    def comes():
        assert stack.ask("/wrong/1")[0] == 400
        return "route=/wrong/{id}" in text_of(path)
    wait_until(comes, "the line is in the new file")


@pytest.mark.parametrize("log, why", [
    ("file:/nonexistent/leeway.log", "the log /nonexistent/leeway.log cannot be opened: "
                                     "No such file or directory"),
    ("file:leeway.log", "must be stderr, syslog or file:PATH with an absolute path"),
    ("file:", "must be stderr, syslog or file:PATH with an absolute path"),
])
def test_a_file_that_cannot_be_opened(stack, log, why):
    """At the start it ends the program; at a reload, what there was stays."""
    stack.configure(ROUTES, workers=1, settings=f'log = "{log}"')
    ended = stack.run("leeway-worker", "-c", stack.config, "-s", "unix:" + stack.socket)
    assert (ended.returncode, ended.stdout) == (1, "") and why in ended.stderr
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    before = worker.children()
    stack.configure(ROUTES, workers=1, settings=f'log = "{log}"')
    worker.send(signal.SIGHUP)
    wait_until(lambda: why in worker.log_text(), "the log says why")
    assert worker.children() == before
    assert stack.ask("/hit")[0] == 200


def test_a_file_that_is_lost_does_not_end_a_process_without_a_parent(stack):
    folder = stack.path("logs")
    os.mkdir(folder)
    stack.configure(ROUTES, workers=1, settings=f'log = "file:{folder}/leeway.log"')
    worker = stack.start_worker("-n", "0")
    os.rename(folder, folder + ".away")
    worker.send(signal.SIGHUP)
    wait_until(lambda: "cannot be opened: No such file" in
               text_of(folder + ".away/leeway.log"), "the log says why")
    assert stack.ask("/hit")[0] == 200


def test_hup_leaves_children_the_time_they_had(stack):
    """A shorter drain_timeout is that of the children to come."""
    stack.configure(ROUTES + 'route "/slow" { context = "c"  sql = "select 1 as n from pg_sleep(4)"'
                    '  shape = value }', workers=1)
    worker = stack.start_worker()
    slow = stack.ask_later("/slow")
    wait_until(lambda: stack.executions("pg_sleep") > 0, "it is asked for")
    stack.configure(ROUTES, workers=1, settings="drain_timeout = 1s",
                    postgres="statement_timeout = 1s")
    worker.send(signal.SIGHUP)
    assert slow.result()[0] == 200


@pytest.mark.parametrize("alone", [False, True], ids=["pre-forked", "-n 0"])
def test_hup_applies_what_concerns_the_socket(stack, alone):
    def mode():
        return stat.S_IMODE(os.stat(stack.socket).st_mode)
    stack.configure(ROUTES, workers=1, settings="socket_mode = 0600")
    worker = stack.start_worker(*(["-n", "0"] if alone else []))
    assert mode() == 0o600
    stack.configure(ROUTES, workers=1, settings="socket_mode = 0660")
    worker.send(signal.SIGHUP)
    wait_until(lambda: mode() == 0o660, "the mode is the new one")
    wait_until(stack.worker_answers, "it serves")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert not os.path.exists(stack.socket)


def test_workers_follow_the_processors_that_may_be_used(stack):
    stack.configure(ROUTES, workers="auto")
    first = min(os.sched_getaffinity(0))
    worker = stack.start_process("worker", ["taskset", "-c", str(first)] + stack.worker_command())
    wait_until(stack.worker_answers, "it serves")
    assert " children=1\n" in worker.log_text()


def test_hup_changes_the_number_of_workers(stack):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    stack.configure(ROUTES, workers=3)
    worker.send(signal.SIGHUP)
    wait_until(lambda: worker.has_children(3), "there are three")


def test_check_reads_the_log_s_file_name_only(stack):
    """-t opens nothing."""
    stack.configure(ROUTES, settings='log = "file:/nonexistent/leeway.log"')
    done = subprocess.run([program("leeway-worker"), "-t", "-c", stack.config], check=False,
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_hup_tells_of_a_socket_that_is_gone(stack):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    os.unlink(stack.socket)
    before = worker.children()
    worker.send(signal.SIGHUP)
    stack.await_replaced(worker, before)
    assert "is no longer the socket that was made here" in worker.log_text()


def test_a_file_that_may_not_grow(stack):
    """Nobody dies of it, and to half a line, which still found room, no other process glues its."""
    log = stack.path("leeway.log")
    many = "".join(ROUTES[ROUTES.index('route "/wrong'):].replace("/wrong/", f"/wrong{i}/")
                   for i in range(40))
    stack.configure('context "c" { budget = 60s }' + many, workers=2,
                    settings=f'log = "file:{log}"')
    worker = stack.start_worker()
    pids = [worker.pid] + worker.children()

    def allow(size):
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    for number in range(8):
        allow(os.path.getsize(log) + 60)
        for route in range(40):
            assert stack.ask(f"/wrong{route}/{number}")[0] == 400
        allow(resource.RLIM_INFINITY)
        for route in range(40):
            assert stack.ask(f"/wrong{route}/{1000 + number}")[0] == 400
    assert [worker.pid] + worker.children() == pids
    wait_until(lambda: dropped(stack) > 0, "what was dropped is counted")
    assert not [line for line in text_of(log).splitlines() if line.count(" time=") > 1]

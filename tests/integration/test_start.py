# SPDX-License-Identifier: BSD-2-Clause
"""Command lines, configuration checks, and the ways in which a listening socket arrives."""
import grp
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from harness import fastcgi
from harness.manager import ACTIVATE
from harness.network import free_port
from harness.stack import program
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/hello" { context = "c"  sql = "select 'hello'::text as t"  shape = value }
"""
PROGRAMS = ["leeway-worker", "leeway-refresher"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_check_version_help_and_misuse(stack, name):
    stack.configure(ROUTES)
    good = stack.run(name, "-t", "-c", stack.config)
    assert (good.returncode, good.stdout) == (0, f"{stack.config}: configuration ok\n")
    version = stack.run(name, "-V")
    assert version.returncode == 0 and version.stdout.startswith(name + " 0.")
    help_text = stack.run(name, "-h")
    assert help_text.returncode == 0 and "-c FILE" in help_text.stdout
    for misuse in (["-x"], ["-c"], ["-n", "many"], ["-n", "-1"], ["argument"]):
        run = stack.run(name, *misuse)
        assert run.returncode not in (0, 1) and "usage:" in run.stderr and not run.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_file_is_named(stack, name):
    run = stack.run(name, "-t", "-c", stack.path("nowhere.conf"))
    assert run.returncode == 1
    assert run.stderr.startswith(stack.path("nowhere.conf") + ": ")


def test_a_check_connects_to_nothing(stack):
    stack.configure(ROUTES)
    stack.redis.stop()
    for name in PROGRAMS:
        assert stack.run(name, "-t", "-c", stack.config).returncode == 0
    assert not os.path.exists(stack.path("run")), "nor does it make anything"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_header_that_is_trusted_is_warned_of(stack, name):
    with open(stack.config, "w", encoding="utf-8") as out:
        out.write('route "/me" {\n  param "u" {\n    from = "HTTP_X_USER"\n  }\n'
                  '  sql = "select $1"\n}\n')
    run = stack.run(name, "-t", "-c", stack.config)
    assert (run.returncode, run.stdout) == (0, f"{stack.config}: configuration ok\n")
    assert run.stderr.startswith(f'{stack.config}:3: warning: param "u": HTTP_X_USER is a request header')
    assert run.stderr.count("\n") == 1


WRONG = {
    "an unknown key": ("workerz = 8\n", 1),
    "a duplicate scalar": ("mount = \"/\"\nmount = \"/\"\n", 2),
    "a budget out of range": ('context "c" {\n  budget = 500ms\n}\n', 2),
    "refresh_at out of range": ('context "c" {\n  budget = 1m\n  refresh_at = 1.5\n}\n', 3),
    "an unknown context": ('route "/a" {\n  sql = "select 1"\n  context = "x"\n}\n', 3),
    "a duplicate route": ('route "/a" { sql = "select 1" }\nroute "/a" { sql = "select 1" }\n', 2),
    "a duplicate context": ('context "c" { budget = 1m }\n\ncontext "c" { budget = 1m }\n', 3),
    "no SQL": ('\nroute "/a" { shape = array }\n', 2),
    "both kinds of SQL": ('route "/a" {\n  sql = "select 1"\n  sql_file = "x"\n}\n', None),
    "a $2 without its param": (
        'route "/a/{b}" {\n  param "b" { type = int }\n  sql = "select $2"\n}\n', 3),
    "a {name} without its param": ('route "/a/{b}" {\n  sql = "select 1"\n}\n', 1),
    "a missing sql_file": ('route "/a" {\n  sql_file = "nowhere.sql"\n}\n', 2),
    "an unclosed block": ('context "c" {\n  budget = 1m\n', None),
    "a collision with a built-in path": ('route "/health" { sql = "select 1" }\n', 1),
    "a collision with another route": (
        'route "/{x}" {\n  param "x" { }\n  sql = "select $1"\n}\n'
        'route "/{y}" {\n  param "y" { }\n  sql = "select $1"\n  name = "n"\n}\n', 5),
    "a default of another type": (
        'route "/a" {\n  param "n" {\n    type = int\n    default = "x"\n  }\n'
        '  sql = "select $1"\n}\n', 4),
    "stale_if_error without a budget": ('context "c" {\n budget = 0s\n stale_if_error = 1h\n}\n',
                                        3),
}


@pytest.mark.parametrize("kind", WRONG)
def test_mistakes_are_named_with_file_and_line(stack, kind):
    text, line = WRONG[kind]
    path = stack.path("wrong.conf")
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    for name in PROGRAMS:
        run = stack.run(name, "-t", "-c", path)
        assert run.returncode == 1 and not run.stdout
        assert run.stderr.startswith(f"{path}:{line or ''}")
        assert run.stderr.count("\n") == 1


def test_a_mistake_in_an_included_file_names_that_file(stack):
    os.mkdir(stack.path("routes.d"))
    included = stack.path("routes.d/b.conf")
    with open(included, "w", encoding="utf-8") as out:
        out.write('\nroute "/a" { sql = "select 1"  shape = circle }\n')
    stack.configure(ROUTES + 'include("routes.d/*.conf")\n')
    run = stack.run("leeway-worker", "-t", "-c", stack.config)
    assert run.returncode == 1
    assert "routes.d/b.conf:2: " in run.stderr


def test_routes_of_included_files_are_served(stack):
    os.mkdir(stack.path("routes.d"))
    for name, number in (("a", 1), ("b", 2)):
        with open(stack.path(f"routes.d/{name}.conf"), "w", encoding="utf-8") as out:
            out.write(f'route "/{name}" {{ sql = "select {number}"  shape = value }}\n')
    stack.configure(ROUTES + 'include("routes.d/*.conf")\n')
    stack.start_worker()
    assert [stack.ask(path)[2] for path in ("/a", "/b", "/hello")] == [b"1", b"2", b'"hello"']


def test_wrong_configuration_starts_nothing(stack):
    stack.configure("workerz = 8")
    run = stack.run("leeway-worker", "-c", stack.config, "-s", "unix:" + stack.socket)
    assert run.returncode == 1 and stack.config + ":" in run.stderr
    assert not os.path.exists(stack.socket)


def test_descriptor_0_by_spawn_fcgi(stack):
    stack.configure(ROUTES)
    spawned = stack.start_process(
        "spawned", ["spawn-fcgi", "-n", "-s", stack.socket, "-M", "0660", "--",
                    program("leeway-worker"), "-c", stack.config])
    wait_until(lambda: spawned.has_children(2), "the workers are there")
    assert stack.ask("/hello")[2] == b'"hello"'
    assert spawned.stop() == 0


def test_no_children(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker("-n", "0")
    assert worker.children() == []
    assert stack.ask("/hello")[2] == b'"hello"'
    assert worker.stop() == 0


def test_a_count_on_the_command_line(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker("-n", "3")
    assert len(worker.children()) == 3


def test_descriptor_3_by_listen_fds(stack):
    stack.configure(ROUTES)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(stack.socket)
        listener.listen()
        worker = stack.start_process(
            "activated", [sys.executable, "-c", ACTIVATE, listener.fileno(),
                          program("leeway-worker"), "-c", stack.config],
            pass_fds=(listener.fileno(),))
        wait_until(lambda: worker.has_children(2), "the workers are there")
        assert stack.ask("/hello")[2] == b'"hello"'


def test_a_tcp_socket(stack):
    stack.configure(ROUTES)
    port = free_port()
    worker = stack.start_process("tcp", [program("leeway-worker"), "-c", stack.config,
                                         "-s", f"tcp:127.0.0.1:{port}"])
    wait_until(lambda: worker.has_children(2), "the workers are there")
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(fastcgi.request("/hello"))
        client.settimeout(20)
        assert b"hello" in client.makefile("rb").read()


def test_without_a_socket(stack):
    stack.configure(ROUTES)
    run = subprocess.run([program("leeway-worker"), "-c", stack.config], text=True, timeout=30,
                         stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert run.returncode == 1 and "-s unix:PATH" in run.stderr


def without(closed, argv):
    """A command line that runs `argv` without these descriptors."""
    gone = " ".join(f"{fd}>&-" for fd in closed)
    return ["/bin/sh", "-c", f'exec "$@" {gone}', "sh", *argv]


def leads_to(pid, fd):
    return os.readlink(f"/proc/{pid}/fd/{fd}")


CLOSED = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_missing_descriptors_lead_nowhere(stack, closed):
    """Redis, which is not there, would be complained of into whatever had become descriptor 2."""
    stack.configure(ROUTES, workers=1)
    stack.redis.stop()
    worker = stack.start_process("worker", without(closed, stack.worker_command()))
    refresher = stack.start_process(
        "refresher", without(closed, [program("leeway-refresher"), "-c", stack.config]))
    for process in (worker, refresher):
        wait_until(lambda: process.has_children(1), "the child is there")
        for pid in [process.pid, *process.children()]:
            assert {leads_to(pid, fd) for fd in closed} == {"/dev/null"}
    assert stack.ask("/hello")[0] == 503  # nothing says yet that it is the right database
    for name in os.listdir(stack.path("run")):
        with open(stack.path("run/" + name), "rb") as file:
            assert b"msg=" not in file.read(), name


def test_no_descriptor_0_to_listen_on(stack):
    stack.configure(ROUTES)
    run = subprocess.run(without([0], [program("leeway-worker"), "-c", stack.config]), text=True,
                         timeout=30, capture_output=True, check=False)
    assert run.returncode == 1 and "-s unix:PATH" in run.stderr


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_leewayctl_without_descriptors(stack, closed):
    """Without its standard output it says so, if it can."""
    stack.configure(ROUTES)
    os.mkdir(stack.path("run"))
    run = subprocess.run(without(closed, [program("leewayctl"), "-c", stack.config, "metrics"]),
                         text=True, timeout=30, capture_output=True, check=False)
    assert run.returncode == (3 if 1 in closed else 0)
    assert ("standard output" in run.stderr) == (1 in closed and 2 not in closed)
    assert ("leeway_build_info{" in run.stdout) == (1 not in closed)


def test_the_socket_file_s_mode_and_end(stack):
    stack.configure(ROUTES, settings="socket_mode = 0600")
    worker = stack.start_worker()
    assert stat.S_IMODE(os.stat(stack.socket).st_mode) == 0o600
    worker.stop()
    assert not os.path.exists(stack.socket)


def test_the_socket_file_s_group(stack):
    """By its name; what there is no group of is a mistake in the file."""
    group = grp.getgrnam("daemon") if os.geteuid() == 0 else grp.getgrgid(os.getegid())
    stack.configure(ROUTES, settings=f'socket_group = "{group.gr_name}"')
    stack.start_worker()
    assert os.stat(stack.socket).st_gid == group.gr_gid
    assert stat.S_IMODE(os.stat(stack.socket).st_mode) == 0o660
    stack.configure(ROUTES, settings='socket_group = "no-such-group"')
    run = stack.run("leeway-worker", "-t", "-c", stack.config)
    assert run.returncode == 1
    assert "socket_group: \"no-such-group\" is not the name of a group" in run.stderr


def test_a_stale_socket_file_is_replaced(stack):
    stack.configure(ROUTES)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(stack.socket)
    stack.start_worker()
    assert stack.ask("/hello")[0] == 200


def test_a_socket_that_answers_is_not(stack):
    stack.configure(ROUTES)
    stack.start_worker()
    run = stack.run("leeway-worker", "-c", stack.config, "-s", "unix:" + stack.socket)
    assert run.returncode == 1 and "in use" in run.stderr
    assert stack.ask("/hello")[0] == 200


def test_the_parent_s_death_ends_the_children(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker()
    refresher = stack.start_refresher()
    children = worker.children() + refresher.children()
    for process in (worker, refresher):
        process.send(signal.SIGKILL)
        process.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in children), "the children have ended")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as text:
            return text.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_log_line_is_level_and_pairs(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker()
    first = worker.log_text().splitlines()[0]
    assert first.startswith("info ") and " msg=started " in first


def test_running_as_root_is_warned_of_once(stack):
    """And only then."""
    wanted = 1 if os.geteuid() == 0 else 0
    stack.configure(ROUTES, workers=2)
    worker, refresher = stack.start_worker(), stack.start_refresher()
    for process in (worker, refresher):
        lines = [line for line in process.log_text().splitlines() if "root" in line]
        assert len(lines) == wanted and all(line.startswith("warn ") for line in lines)
    alone = stack.start_process("alone", [program("leeway-worker"), "-c", stack.config, "-n", "0",
                                          "-s", "unix:" + stack.path("alone.sock")])
    wait_until(lambda: alone.log_text().count("root") == wanted, "it is said without a parent too")
    for name, *options in (("leeway-worker", "-t"), ("leeway-refresher", "-t"),
                           ("leewayctl", "metrics")):
        run = stack.run(name, "-c", stack.config, *options)
        assert run.returncode == 0 and "root" not in run.stderr


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def test_a_byte_order_mark_is_skipped(stack):
    """In the file itself, an included one and one of SQL; elsewhere it is text like any other."""
    stack.configure('route "/sql" { sql_file = "query.sql"  shape = value }\n'
                    'include("included.conf")\n')
    for name, text in ((stack.config, None), ("included.conf", ROUTES),
                       ("query.sql", "select '\ufeffx' as t")):
        path = stack.path(name)
        if text is None:
            with open(path, encoding="utf-8") as file:
                text = file.read().lstrip()
        with open(path, "wb") as file:
            file.write(BYTE_ORDER_MARK + text.encode())
    stack.start_worker()
    assert stack.ask("/hello")[::2] == (200, b'"hello"')
    assert stack.ask("/sql")[::2] == (200, b'"%sx"' % BYTE_ORDER_MARK)

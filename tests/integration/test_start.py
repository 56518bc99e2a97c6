# SPDX-License-Identifier: BSD-2-Clause
"""How the programs start, check their configuration, and say what is wrong."""
import os
import signal
import socket
import stat
import subprocess

import pytest

from harness import fastcgi
from harness.stack import program
from harness.wait import wait_until

ROUTES = """
route "/one" { sql = "select 1 as n"  shape = value }
"""


@pytest.mark.parametrize("name", ["leeway-worker", "leeway-refresher"])
def test_version_help_and_mistakes(stack, name):
    version = stack.run(name, "-V")
    assert version.returncode == 0
    assert version.stdout.startswith(name + " ")
    usage = stack.run(name, "-h")
    assert usage.returncode == 0
    assert "-c FILE" in usage.stdout
    for options in (["-x"], ["-n", "many"], ["-n", "-1"], ["further"]):
        wrong = stack.run(name, *options)
        assert wrong.returncode == 2, options
        assert "usage:" in wrong.stderr


@pytest.mark.parametrize("name", ["leeway-worker", "leeway-refresher"])
def test_a_good_configuration(stack, name):
    stack.configure(ROUTES)
    stack.redis.stop()
    checked = stack.run(name, "-t", "-c", stack.config)
    assert (checked.returncode, checked.stdout) == (0, f"{stack.config}: configuration ok\n")
    assert not os.path.exists(stack.path("run")), "it touches nothing"


BROKEN = [
    ("nonsense = 1", 1, "nonsense"),
    ('route "/a" {\n  shape = object\n}', 1, "sql"),
    ('route "/a" {\n  sql = "select 1"\n  context = "none"\n}', 3, "none"),
    ('route "/{id}" { sql = "select 1" }', 1, "id"),
    ('route "/a" { sql = "select $2" }', 1, "$2"),
    ('route "/a" { sql = "select 1" }\nroute "/a" { sql = "select 1" }', 2, "/a"),
    ('route "/{x}" { param "x" { } sql = "select $1" }\n'
     'route "/{y}" { param "y" { } name = "n" sql = "select $1" }', 2, "/{x}"),
    ('route "/a" {\n  param "n" {\n    type = int\n    default = "x"\n  }\n'
     '  sql = "select $1"\n}', 4, "n"),
    ('route "/health" { sql = "select 1" }', 1, "health"),
    ('context "c" { budget = 31d }', 1, "budget"),
    ('context "c" {\n  budget = 0s\n  stale_if_error = 1s\n}', 3, "stale_if_error"),
    ('route "/a" { sql_file = "missing.sql" }', 1, "missing.sql"),
    ('route "/a" { sql = "select 1"', 1, "}"),
    ("workers = 2\nworkers = 3", 2, "workers"),
]


@pytest.mark.parametrize("text,line,word", BROKEN)
def test_a_broken_configuration(stack, text, line, word):
    with open(stack.config, "w", encoding="utf-8") as out:
        out.write("\n\n" + text + "\n")
    checked = stack.run("leeway-worker", "-t", "-c", stack.config)
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"{stack.config}:{line + 2}: "), checked.stderr
    assert word in checked.stderr.split(": ", 1)[1]


def test_a_mistake_in_an_included_file(stack):
    os.mkdir(stack.path("routes.d"))
    with open(stack.path("routes.d/a.conf"), "w", encoding="utf-8") as out:
        out.write('route "/a" { sql = "select 1" }\nroute "/b" { sql = 1 sql = 2 }\n')
    stack.configure('include("routes.d/*.conf")')
    checked = stack.run("leeway-worker", "-t", "-c", stack.config)
    assert checked.returncode == 1
    assert "routes.d/a.conf:2: " in checked.stderr


def test_a_missing_file(stack):
    checked = stack.run("leeway-worker", "-t", "-c", stack.path("none.conf"))
    assert checked.returncode == 1
    assert checked.stderr.startswith(stack.path("none.conf") + ": ")


def is_served(path, uri="/one"):
    try:
        with fastcgi.Connection(path) as connection:
            return connection.ask(uri)[0] == 200
    except (OSError, fastcgi.Closed):
        return False


def test_under_spawn_fcgi(stack):
    stack.configure(ROUTES)
    stack.start_process("spawned", ["spawn-fcgi", "-s", stack.socket, "-M", "0660", "-n", "--",
                                    program("leeway-worker"), "-c", stack.config])
    wait_until(lambda: is_served(stack.socket), "served")


def test_socket_activation(stack):
    stack.configure(ROUTES)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(stack.socket)
        listener.listen()
        # the descriptor has to be number 3, and the pid that of the program
        script = ('exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; '
                  f'exec "{program("leeway-worker")}" -c "{stack.config}"')
        stack.start_process("activated", ["sh", "-c", script], stdin=listener.fileno())
    wait_until(lambda: is_served(stack.socket), "served")


def test_without_a_socket(stack):
    stack.configure(ROUTES)
    started = subprocess.run([program("leeway-worker"), "-c", stack.config], text=True, timeout=30,
                             stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert started.returncode == 1
    assert "-s unix:PATH" in started.stderr


def test_a_socket_in_use_or_left_behind(stack):
    stack.configure(ROUTES, settings="socket_mode = 0600")
    worker = stack.start_worker()
    assert stat.S_IMODE(os.stat(stack.socket).st_mode) == 0o600
    second = stack.run("leeway-worker", "-c", stack.config, "-s", "unix:" + stack.socket)
    assert second.returncode == 1
    assert "in use" in second.stderr
    worker.send(signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not is_served(stack.socket), "its children have ended")
    assert os.path.exists(stack.socket)
    stack.start_worker(name="next")


def test_serving_in_the_process_itself(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker("-n", "0")
    assert not worker.children()
    # HUP: the same process on the same socket, with the new file
    stack.configure(ROUTES + 'route "/two" { sql = "select 2 as n"  shape = value }')
    worker.send(signal.SIGHUP)
    wait_until(lambda: is_served(stack.socket, "/two"), "the new route")
    assert worker.is_running()
    stack.configure("nonsense = 1")
    worker.send(signal.SIGHUP)
    wait_until(lambda: "configuration not reloaded" in worker.log_text(), "refused")
    assert is_served(stack.socket, "/two")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_runtime_dir_that_cannot_be_made(stack):
    stack.expect_deaths = True
    with open(stack.path("file"), "w", encoding="utf-8"):
        pass
    stack.configure(ROUTES)
    with open(stack.config, encoding="utf-8") as conf:
        text = conf.read()
    with open(stack.config, "w", encoding="utf-8") as conf:
        conf.write(text.replace(stack.path("run"), stack.path("file/run")))
    worker = stack.start_process("worker", [program("leeway-worker"), "-c", stack.config, "-s",
                                            "unix:" + stack.socket])
    wait_until(lambda: "runtime_dir cannot be used" in worker.log_text(), "it says so")

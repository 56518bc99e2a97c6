# SPDX-License-Identifier: BSD-2-Clause
"""Several servers in conninfo: each has a time of its own, and one in trouble is passed over."""
import json
import os
import socket
import threading

import pytest

from harness.postgres import Postgres
from harness.wait import wait_until

ROUTES = """
context "none" { budget = 0s }
route "/one" { context = "none"  sql = "select 1 as n"  shape = value }
route "/where" { context = "none"  sql = "select pg_is_in_recovery()"  shape = value }
"""


class Silent:
    """A server that takes connections and says nothing."""

    def __init__(self, folder):
        os.makedirs(folder)
        self.folder = folder
        self.taken = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(folder, ".s.PGSQL.5432"))
        self.listener.listen(64)
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                self.taken.append(self.listener.accept()[0])
            except OSError:
                return


@pytest.fixture(name="silent")
def make_silent(stack):
    server = Silent(stack.path("silent"))
    yield server
    server.listener.close()


def lead_to(stack, *hosts, more=""):
    stack.postgres_conninfo = \
        f"host={','.join(hosts)} user=leeway dbname={stack.database} {more}"


def await_first_answer(stack, path="/one"):
    return wait_until(
        lambda: next((answer for answer in [stack.ask(path)] if answer[0] == 200), None),
        "a server is found")


def end_sessions(stack):
    """They are gone then: a query that is sent to one which is about to end may have been read by
    it, and is not sent again before the server is known not to run it."""
    stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
              " where datname = current_database() and pid <> pg_backend_pid()")
    wait_until(lambda: stack.sql("select count(*) from pg_stat_activity"
                                 " where datname = current_database() and pid <> pg_backend_pid()")
               == [(0,)], "the sessions are gone")


def findings(stack):
    run = stack.run("leewayctl", "-c", stack.config, "check", "--json")
    return run.returncode, json.loads(run.stdout)["findings"]


def test_a_silent_server_costs_its_time_once(stack, silent):
    lead_to(stack, silent.folder, stack.postgres.folder)
    stack.configure(ROUTES, workers=1, postgres="connect_timeout = 500ms")
    stack.start_worker()
    assert await_first_answer(stack)[2] == b"1"
    tried = len(silent.taken)
    assert tried >= 1
    for _ in range(5):
        end_sessions(stack)
        assert stack.ask("/one")[0] == 200
    assert len(silent.taken) == tried, "the process begins with the one that works"


def test_the_server_that_falls_silent_is_passed_over(stack, silent):
    """Now the one, now the other."""
    links = [stack.path("first"), stack.path("second")]
    lead_to(stack, *links)

    def point(*folders):
        for link, folder in zip(links, folders):
            os.symlink(folder, link + ".new")
            os.rename(link + ".new", link)
    point(stack.postgres.folder, silent.folder)
    stack.configure(ROUTES, workers=1, postgres="connect_timeout = 500ms")
    stack.start_worker()
    await_first_answer(stack)
    for folders in ((silent.folder, stack.postgres.folder), (stack.postgres.folder, silent.folder)):
        point(*folders)
        end_sessions(stack)
        assert stack.ask("/one")[0] == 200


def test_each_servers_failure_is_told(stack, silent):
    gone = stack.path("gone")
    lead_to(stack, silent.folder, gone)
    stack.configure(ROUTES, workers=1, postgres="connect_timeout = 300ms")
    worker = stack.start_worker()
    assert stack.ask("/one")[0] == 503
    line = wait_until(
        lambda: next((line for line in worker.log_text().splitlines()
                      if "cannot connect to postgres" in line and gone in line), None),
        "it is logged")
    assert f"{silent.folder}: no answer in time" in line
    assert f"{gone}: " in line.replace(f"{silent.folder}: no answer in time", "")


def test_check_connects_as_the_workers_do(stack, silent):
    lead_to(stack, silent.folder, stack.postgres.folder)
    stack.configure(ROUTES, workers=1, postgres="connect_timeout = 300ms")
    code, found = findings(stack)
    assert code == 0
    texts = [(each["level"], each["text"]) for each in found if each["subject"] == "postgres"]
    assert ("warning", f"{silent.folder}: no answer in time") in texts
    assert any(level == "ok" and text.startswith("version ") for level, text in texts)


def test_check_tells_each_servers_failure(stack, silent):
    gone = stack.path("gone")
    lead_to(stack, silent.folder, gone)
    stack.configure(ROUTES, workers=1, postgres="connect_timeout = 300ms")
    code, found = findings(stack)
    assert code != 0
    text = next(each["text"] for each in found if each["level"] == "unreachable")
    assert f"{silent.folder}: no answer in time" in text and f"{gone}: " in text


def test_a_name_that_does_not_resolve_is_passed_over(stack):
    lead_to(stack, "nowhere.invalid", stack.postgres.folder)
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    await_first_answer(stack)
    end_sessions(stack)
    assert stack.ask("/one")[0] == 200
    assert findings(stack)[0] == 0


@pytest.fixture(name="standby")
def make_standby(stack):
    folder = stack.postgres.folder + "-standby"
    server = Postgres.copy_of(stack.postgres, folder)
    server.stop()
    with open(server.data + "/standby.signal", "w", encoding="ascii"):
        pass
    server.start()
    yield server
    server.stop()
    os.rename(folder, stack.path("standby"))


@pytest.mark.parametrize("more", ["", "target_session_attrs=read-write"])
def test_a_standby_is_passed_over(stack, standby, more):
    lead_to(stack, standby.folder, stack.postgres.folder, more=more)
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    assert await_first_answer(stack, "/where")[2] == b"false"
    end_sessions(stack)
    assert stack.ask("/where")[2] == b"false"
    assert findings(stack)[0] == 0

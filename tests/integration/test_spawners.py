# SPDX-License-Identifier: BSD-2-Clause
"""Without a parent of its own (-n 0), under the spawners that fork by themselves: spawn-fcgi -F,
whose processes share one socket, and mod_fcgid, which gives each a socket and ends them at will."""
import os
import signal
import subprocess
import threading

import pytest

from harness.postgres import GATE
from harness.stack import program
from harness.wait import wait_until
from harness.web_servers import ApacheFcgid

ROUTES = f"""
context "c" {{ budget = 60s }}
route "/hello" {{ context = "c"  sql = "select 'hello'::text as t -- marker:hello"  shape = value }}
route "/echo/{{text}}" {{
  context = "c"
  param "text" {{ type = text }}
  param "n" {{ type = int  default = "1" }}
  sql = "select $1::text as text, $2::int as n"
  shape = object
}}
route "/gated" {{ context = "c"  sql = "select 1 as n from {GATE} -- marker:gated"  shape = value }}
"""
MORE = ROUTES + 'route "/more" { context = "c"  sql = "select 2 as n"  shape = value }\n'


class Load:
    """Requests without a break through the web server."""

    def __init__(self, stack, path):
        self.stack = stack
        self.path = path
        self.statuses = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(3)]

    def run(self):
        while not self.over.is_set():
            self.statuses.append(self.ask())

    def ask(self):
        try:
            return self.stack.get(self.path).status
        except OSError as error:
            return error

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.await_more(10)
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def await_more(self, count):
        target = len(self.statuses) + count
        wait_until(lambda: len(self.statuses) >= target, "requests are answered")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def addresses(pid):
    """Where things lie in its memory, which is different after each execve."""
    with open(f"/proc/{pid}/auxv", "rb") as vector:
        return vector.read()


@pytest.fixture(name="spawn")
def make_spawn(stack):
    """spawn-fcgi -F COUNT: its pids. Their standard error goes nowhere, a sanitizer's to files."""
    pids = []

    def spawn(count):
        listing = stack.path("pids")
        said = stack.path("findings")
        subprocess.run(["spawn-fcgi", "-F", str(count), "-s", stack.socket, "-M", "0660",
                        "-P", listing, "--", program("leeway-worker"), "-c", stack.config,
                        "-n", "0"],
                       check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "ASAN_OPTIONS": f"log_path={said}",
                            "UBSAN_OPTIONS": f"log_path={said}"})
        with open(listing, encoding="ascii") as text:
            pids.extend(int(line) for line in text.read().split())
        wait_until(stack.worker_answers, "one answers")
        wait_until(lambda: f'leeway_workers{{state="serving"}} {count}\n' in
                   stack.ask("/metrics")[2].decode(), "all are there")
        return pids

    yield spawn
    for pid in filter(is_alive, pids):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not any(map(is_alive, pids)), "all have ended")
    assert not [name for name in os.listdir(stack.folder) if name.startswith("findings")]


def test_spawn_fcgi_s_processes_share_a_socket_and_each_ends_when_told(stack, spawn):
    stack.configure(ROUTES)
    pids = spawn(3)
    assert len(pids) == 3
    with stack.gate():
        parked = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        for pid in pids:
            assert stack.ask("/hello")[0] == 200
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: sum(map(is_alive, pids)) == 1, "those with nothing to do have ended")
        assert not parked.done()
    assert parked.result()[::2] == (200, b"1")
    wait_until(lambda: not any(map(is_alive, pids)), "the last has ended")


def test_spawn_fcgi_s_processes_reload_under_load(stack, spawn):
    stack.configure(ROUTES)
    pids = spawn(3)
    stack.start_lighttpd()
    with Load(stack, "/hello") as load:
        stack.configure(MORE)
        before = {pid: addresses(pid) for pid in pids}
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        wait_until(lambda: all(addresses(pid) != before[pid] for pid in pids),
                   "each has executed itself anew")
        assert [stack.ask("/more")[0] for _ in range(20)] == [200] * 20
        stack.configure(MORE + "nonsense = 1\n")
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        load.await_more(100)
        assert [stack.ask("/more")[0] for _ in range(20)] == [200] * 20, "a wrong file is refused"
    assert set(load.statuses) == {200}
    assert all(map(is_alive, pids))


def test_spawn_fcgi_s_processes_outlive_one_that_is_killed(stack, spawn):
    """spawn-fcgi does not replace it."""
    stack.configure(ROUTES)
    pids = spawn(3)
    stack.ask("/hello")
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: not is_alive(pids[0]), "it is dead")
    assert {stack.ask("/hello")[0] for _ in range(20)} == {200}
    assert all(map(is_alive, pids[1:]))


@pytest.fixture(name="fcgid")
def make_fcgid(stack):
    """Apache below /api with a few processes and further settings, and a check that nothing of
    leeway outlives it."""
    made = []

    def start(settings="", routes=ROUTES):
        stack.configure(routes, settings='mount = "/api"')
        made.append(ApacheFcgid(stack, "/api", changes={
            "\nFcgidMaxProcesses 32": "\nFcgidMaxProcesses 4",
            "\nFcgidMinProcessesPerClass 4": "\nFcgidMinProcessesPerClass 1\n" + settings}))
        return made[0]

    yield start
    made[0].stop()
    wait_until(lambda: not made[0].processes(), "none of its processes is left")


def test_requests_through_mod_fcgid(stack, fcgid):
    fcgid()
    miss = stack.get("/api/hello")
    assert (miss.status, miss.body) == (200, b'"hello"')
    assert miss.cache == "leeway; fwd=uri-miss; fwd-status=200; stored"
    hit = stack.get("/api/hello")
    assert hit.cache.startswith("leeway; hit; ttl=") and hit.body == miss.body
    head = stack.get("/api/hello", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(hit.body))
    assert stack.get("/api/hello", If_None_Match=hit.headers["etag"]).status == 304
    assert stack.get("/api/echo/a%2Fb%20c?n=7&x=1").json() == {"text": "a/b c", "n": 7}
    assert stack.get("/api/nothing").status == 404
    assert stack.get("/api/echo/a?n=x").status == 400
    assert stack.get("/api/hello", method="DELETE").status == 405


def test_mod_fcgid_s_processes_share_a_query(stack, fcgid):
    server = fcgid()
    with stack.gate():
        crowd = [stack.get_later("/api/gated") for _ in range(3)]
        wait_until(lambda: len(server.processes()) == 3, "a process for each request")
        wait_until(lambda: stack.redis.client().pubsub_channels(), "the others wait")
    assert {later.result().body for later in crowd} == {b"1"}
    assert stack.executions("marker:gated") == 1


def test_processes_that_mod_fcgid_ends_lose_no_request(stack, fcgid):
    """Each is told to end after ten requests, while others come."""
    server = fcgid("FcgidMaxRequestsPerProcess 10\nFcgidIdleTimeout 1\nFcgidProcessLifeTime 2")
    seen = set()
    with Load(stack, "/api/hello") as load:
        while len(seen) < 6:
            load.await_more(5)
            seen |= set(server.processes())
    assert set(load.statuses) == {200}
    wait_until(lambda: seen - set(server.processes()), "they end")

# SPDX-License-Identifier: BSD-2-Clause
"""`leeway-worker -n 0` under spawners that fork by themselves: spawn-fcgi -F, where all processes
share one socket, and Apache's mod_fcgid, which gives each its own."""
import os
import signal
import subprocess

import pytest

from harness import fastcgi, load
from harness.apache import MOUNT, Apache
from harness.postgres import GATE
from harness.spawn_fcgi import alone, spawn
from harness.stack import program
from harness.wait import wait_until

ROUTES = load.ROUTES + f"""
route "/gated/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select $1::int as id from {GATE} -- marker:gated"
  shape = object
}}
route "/texts/{{text}}" {{
  context = "c"
  param "text" {{ }}
  param "more" {{ default = "none" }}
  sql = "select $1::text as text, $2::text as more"
  shape = object
}}
"""
MORE = ROUTES + 'route "/more" { context = "c"  sql = "select 2 as n"  shape = value }\n'
BROKEN = MORE + "workerz = 8\n"
COUNT = 3


class Spawned:
    """The processes that share a socket."""

    def __init__(self, stack, **options):
        self.stack = stack
        self.configure(ROUTES, **options)
        self.processes = spawn(stack, COUNT, program("leeway-worker"), "-c", stack.config,
                               "-n", "0")
        stack.start_lighttpd()
        for process in self.processes:
            assert self.ask(process, "/hello")[0] == 200

    def configure(self, routes, settings="", **options):
        # their standard error is /dev/null
        self.stack.configure(routes, settings='log = "syslog"\n' + settings, **options)

    def ask(self, process, path):
        with alone(process, self.processes):
            return self.stack.ask(path)

    def park(self, process, path="/gated/1"):
        """Within stack.gate(): a request whose query `process` waits for."""
        before = self.stack.executions("marker:gated")
        with alone(process, self.processes):
            parked = self.stack.ask_later(path)
            wait_until(lambda: self.stack.executions("marker:gated") > before,
                       "the query is under way")
        return parked

    def reload(self, process):
        """Sends HUP, whose outcome two answers later is settled: the signal comes before the
        first one's request, and is looked at before the second one's."""
        process.send(signal.SIGHUP)
        for _ in range(2):
            self.ask(process, "/hello")

    def others(self, process):
        return [other for other in self.processes if other is not process]


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listing:
        return [int(child) for child in listing.read().split()]


def has_ended(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_spawn_fcgi_in_the_background_starts_a_parent(stack):
    """As the manual page has it: one pid to signal, and who dies is replaced."""
    stack.configure(ROUTES, settings='log = "syslog"')
    listing, said = stack.path("pid"), stack.path("findings")
    subprocess.run(["spawn-fcgi", "-s", stack.socket, "-M", "0660", "-P", listing, "--",
                    program("leeway-worker"), "-c", stack.config],
                   check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "ASAN_OPTIONS": f"log_path={said}",
                        "UBSAN_OPTIONS": f"log_path={said}"})
    with open(listing, encoding="ascii") as text:
        parent = int(text.read())
    try:
        assert os.stat(stack.socket).st_mode & 0o777 == 0o660
        assert stack.ask("/hello")[0] == 200
        before = wait_until(lambda: len(children_of(parent)) == 2 and children_of(parent),
                            "the workers are there")
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(children_of(parent)) == 2 and before[0] not in children_of(parent),
                   "it is replaced")
        assert stack.ask("/hello")[0] == 200
    finally:
        os.kill(parent, signal.SIGTERM)
    wait_until(lambda: has_ended(parent), "it has ended")
    assert not [name for name in os.listdir(stack.folder) if name.startswith("findings")]


def test_spawn_fcgi_a_stop_answers_what_waits(stack):
    spawned = Spawned(stack)
    stopped = spawned.processes[0]
    with load.Load(stack) as clients:
        with stack.gate():
            parked = spawned.park(stopped)
            stopped.send(signal.SIGTERM)
            clients.await_more(20)
            assert not parked.done() and stopped.is_running()
        status, _, body = parked.result()
        assert stopped.wait() == 0
        clients.await_more(20)
    assert (status, body) == (200, b'{"id":1}')
    clients.assert_none_lost()
    for other in spawned.others(stopped):
        assert spawned.ask(other, "/hello")[0] == 200


def test_spawn_fcgi_all_stop_one_after_the_other(stack):
    spawned = Spawned(stack)
    with load.Load(stack) as clients:
        for process in spawned.processes[1:]:
            assert process.stop() == 0
            clients.await_more(20)
    clients.assert_none_lost()
    assert spawned.processes[0].stop() == 0


def test_spawn_fcgi_a_reload_under_load_keeps_process_and_socket(stack):
    spawned = Spawned(stack)
    spawned.configure(MORE)
    with load.Load(stack) as clients:
        for process in spawned.processes:
            socket = process.descriptor(0)
            assert spawned.ask(process, "/more")[0] == 404
            process.send(signal.SIGHUP)
            wait_until(lambda process=process: spawned.ask(process, "/more")[::2] == (200, b"2"),
                       "the new configuration serves")
            assert process.is_running() and process.descriptor(0) == socket
            clients.await_more(20)
    clients.assert_none_lost()


def test_spawn_fcgi_a_reload_lets_parked_requests_finish(stack):
    spawned = Spawned(stack)
    reloaded = spawned.processes[0]
    with stack.gate():
        parked = spawned.park(reloaded)
        spawned.configure(MORE)
        reloaded.send(signal.SIGHUP)
        assert stack.ask("/hello")[0] == 200
        assert not parked.done()
    assert parked.result()[::2] == (200, b'{"id":1}')
    wait_until(lambda: spawned.ask(reloaded, "/more")[0] == 200, "the new configuration serves")
    for other in spawned.others(reloaded):
        assert spawned.ask(other, "/more")[0] == 404


def test_spawn_fcgi_reloads_leave_no_descriptors_behind(stack):
    spawned = Spawned(stack)
    process = spawned.processes[0]
    before = None
    for number, routes in enumerate((MORE, ROUTES, MORE, ROUTES)):
        spawned.configure(routes)
        process.send(signal.SIGHUP)
        wanted = 200 if routes is MORE else 404
        wait_until(lambda wanted=wanted: spawned.ask(process, "/more")[0] == wanted, "it reloads")
        with alone(process, spawned.processes), fastcgi.Connection(stack.socket) as connection:
            assert connection.ask(f"/items/{number}")[0] == 200
            assert connection.is_closed()
        before = before or process.count_descriptors()
        wait_until(lambda: process.count_descriptors() == before, "as many as before")


def test_spawn_fcgi_a_broken_file_changes_nothing(stack):
    spawned = Spawned(stack)
    spawned.configure(BROKEN)
    with load.Load(stack) as clients:
        for process in spawned.processes:
            spawned.reload(process)
            assert process.is_running()
            assert spawned.ask(process, "/more")[0] == 404
        clients.await_more(20)
    clients.assert_none_lost()
    # and a good one is taken afterwards
    spawned.configure(MORE)
    for process in spawned.processes:
        process.send(signal.SIGHUP)
        wait_until(lambda process=process: spawned.ask(process, "/more")[0] == 200, "it is taken")


def test_spawn_fcgi_a_killed_process_takes_only_its_own_requests_along(stack):
    spawned = Spawned(stack, settings="drain_timeout = 20s",
                      postgres="slots = 1\n  slot_timeout = 1m\n  statement_timeout = 20s")
    killed = spawned.processes[0]
    client = stack.redis.client()
    with stack.gate():
        lost = spawned.park(killed)
        killed.suspend()  # it takes nothing more
        waiting = stack.ask_later("/items/1")
        wait_until(lambda: len(client.keys("*:lease")) == 2, "it waits for the only slot")
        assert not waiting.done()
        # misses wait for the slot too, hits do not
        hits = [stack.get_later("/hello") for _ in range(20)]
        killed.send(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        assert waiting.result()[::2] == (200, b'{"id":1}'), "the slot of the dead is free"
        with load.Load(stack) as clients:
            clients.await_more(20)
    assert {later.result().status for later in hits} == {200}
    clients.assert_none_lost()
    with pytest.raises((fastcgi.Closed, ConnectionError)):
        lost.result()
    # its lease ends too
    assert stack.ask("/gated/1")[::2] == (200, b'{"id":1}')


def served_by_apache(stack, settings="", routes=ROUTES):
    stack.configure(routes, settings=f'mount = "{MOUNT}"')
    return Apache(stack, settings)


def test_mod_fcgid_starts_as_many_processes_as_requests_wait(stack):
    apache = served_by_apache(stack)
    with stack.gate():
        parked = [stack.get_later(f"{MOUNT}/gated/{number}") for number in range(COUNT)]
        wait_until(lambda: stack.executions("marker:gated") == COUNT, "all queries are under way")
        assert len(apache.workers()) >= COUNT
        assert not any(later.done() for later in parked)
    responses = [later.result() for later in parked]
    assert [response.status for response in responses] == [200] * COUNT
    assert [response.json() for response in responses] == [{"id": n} for n in range(COUNT)]


def test_mod_fcgid_one_query_across_processes(stack):
    apache = served_by_apache(stack)
    client = stack.redis.client()
    with stack.gate():
        parked = [stack.get_later(f"{MOUNT}/gated/7") for _ in range(2)]
        wait_until(lambda: client.pubsub_channels("*:done"), "the other process waits")
        wait_until(lambda: stack.executions("marker:gated") > 0, "the query is under way")
        assert len(apache.workers()) >= 2
    first, second = [later.result() for later in parked]
    assert (first.status, first.body) == (second.status, second.body) == (200, b'{"id":7}')
    caches = [first.cache, second.cache]
    assert caches.count("leeway; fwd=uri-miss; fwd-status=200; stored") == 1
    # a hit, if the response was stored just before the other had begun to wait
    assert any(cache == "leeway; fwd=uri-miss; collapsed" or cache.startswith("leeway; hit")
               for cache in caches)
    assert stack.executions("marker:gated") == 1


def test_mod_fcgid_hands_on_requests_and_responses(stack):
    served_by_apache(stack)
    miss, hit = [stack.get(f"{MOUNT}/items/7") for _ in range(2)]
    assert miss.cache == "leeway; fwd=uri-miss; fwd-status=200; stored"
    assert hit.cache.startswith("leeway; hit; ttl=")
    assert (miss.status, hit.status, hit.body) == (200, 200, miss.body)
    for name in ("content-type", "content-length", "etag"):
        assert hit.headers[name] == miss.headers[name]
    head = stack.get(f"{MOUNT}/items/7", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-type", "content-length", "etag"):
        assert head.headers[name] == miss.headers[name]
    known = stack.get(f"{MOUNT}/items/7", If_None_Match=miss.headers["etag"])
    assert (known.status, known.body) == (304, b"")
    assert known.headers["etag"] == miss.headers["etag"]
    assert known.cache.startswith("leeway; hit; ttl=")
    assert known.control.startswith("private, max-age=")


@pytest.mark.parametrize("path, status", [("/nowhere", 404), ("", 404), ("/items/x", 400),
                                          ("/texts/a?more=1&more=2", 400)])
def test_mod_fcgid_hands_on_errors(stack, path, status):
    served_by_apache(stack)
    for method in ("GET", "HEAD"):
        response = stack.get(MOUNT + path, method=method)
        assert response.status == status
        assert response.headers["content-type"] == "application/problem+json"
        assert method == "HEAD" or response.json()["status"] == status


@pytest.mark.parametrize("path, text, more", [
    ("a%2Fb", "a/b", "none"),
    ("a%20b%25c", "a b%c", "none"),
    ("%C3%A9", "\u00e9", "none"),
    ("a?more=b", "a", "b"),
    ("a%3Fb?more=%2F%26%3D+%2B", "a?b", "/&= +"),
])
def test_mod_fcgid_leaves_paths_and_queries_as_they_are(stack, path, text, more):
    served_by_apache(stack)
    response = stack.get(f"{MOUNT}/texts/{path}")
    assert (response.status, response.json()) == (200, {"text": text, "more": more})


SCANS = """
FcgidIdleScanInterval 1
FcgidErrorScanInterval 1
FcgidZombieScanInterval 1
FcgidMinProcessesPerClass 0
"""


class Ended:
    """How many workers of an Apache were seen and are gone."""

    def __init__(self, apache):
        self.apache = apache
        self.seen = set()

    def count(self):
        running = set(self.apache.workers())
        self.seen |= running
        return len(self.seen - running)


@pytest.mark.parametrize("setting", ["FcgidProcessLifeTime 1", "FcgidMaxRequestsPerProcess 10"])
def test_mod_fcgid_replaces_processes_under_load(stack, setting):
    apache = served_by_apache(stack, SCANS + setting)
    ended = Ended(apache)
    with load.Load(stack, prefix=MOUNT) as clients:
        wait_until(lambda: ended.count() >= 3, "some processes have ended")
        clients.await_more(20)
    clients.assert_none_lost()
    apache.assert_ends_were_orderly()


def test_mod_fcgid_ends_idle_processes_under_load(stack):
    apache = served_by_apache(stack, SCANS + "FcgidIdleTimeout 1")
    ended = Ended(apache)
    with stack.gate():
        crowd = [stack.get_later(f"{MOUNT}/gated/{number}") for number in range(COUNT)]
        wait_until(lambda: stack.executions("marker:gated") == COUNT, "all queries are under way")
        ended.count()
    assert {later.result().status for later in crowd} == {200}
    # one client keeps one process busy, the one that was used last
    with load.Load(stack, prefix=MOUNT, threads=1) as clients:
        wait_until(lambda: ended.count() >= COUNT - 1, "the others have ended")
        clients.await_more(20)
    clients.assert_none_lost()
    apache.assert_ends_were_orderly()


def test_mod_fcgid_leaves_no_process_behind(stack):
    apache = served_by_apache(stack)
    with load.Load(stack, prefix=MOUNT):
        assert apache.workers()
    assert apache.process.stop() == 0
    wait_until(lambda: not apache.workers(), "all workers have ended")
    apache.assert_ends_were_orderly()


def test_mod_fcgid_a_graceful_restart_replaces_all_processes(stack):
    # not under load: until the old children of Apache have left, they may ask mod_fcgid's
    # process manager for a process, which has ended, and wait for its reply for ever
    apache = served_by_apache(stack)
    assert stack.get(f"{MOUNT}/more").status == 404
    children, workers = apache.process.children(), apache.workers()
    stack.configure(MORE, settings=f'mount = "{MOUNT}"')
    apache.process.send(signal.SIGUSR1)
    wait_until(lambda: not set(children) & set(apache.process.children()), "Apache's children end")
    wait_until(lambda: not set(workers) & set(apache.workers()), "their processes end")
    with load.Load(stack, prefix=MOUNT) as clients:
        assert stack.get(f"{MOUNT}/more").status == 200
    clients.assert_none_lost()
    apache.assert_ends_were_orderly()

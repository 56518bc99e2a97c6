# SPDX-License-Identifier: BSD-2-Clause
"""Whether a balancer may send requests here: what is one host's own trouble takes it out, what all
share takes nobody out; and programs that ask a running pool."""
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

from harness.address import Address
from harness.network import free_port
from harness.redis_server import Redis
from harness.wait import wait_until

ROUTES = """
context "none" { budget = 0s }
route "/now" { context = "none"  sql = "select 1"  shape = value }
"""


def ready(host):
    """`shared` comes and goes with what the others say."""
    status, _, body = host.ask("/ready", REMOTE_ADDR="127.0.0.1")
    return status, json.loads(body)


def words(stack):
    """What processes say of themselves, by key."""
    client = stack.redis.client()
    found = {}
    for key in client.scan_iter("leeway:{peers.*}:*", _type="string"):
        word = client.get(key)
        if word is not None:
            found[key] = word.decode() if isinstance(word, bytes) else word
    return found


def hosts_in_trouble(stack):
    return sum("postgres" in word for word in words(stack).values())


class Fleet:
    """Hosts over the same servers, each of which reaches Postgres by an address of its own."""

    def __init__(self, stack):
        self.stack = stack
        self.hosts = []
        for number in range(2):
            host = stack.beside(f"host{number}")
            host.address = Address(host.path("postgres"))
            host.address.point(stack.postgres)
            host.postgres_conninfo = (
                f"host={host.address.folder} user=leeway dbname={stack.database}")
            host.configure(ROUTES, workers=1, redis='namespace = "fleet"')
            host.start_worker()
            self.hosts.append(host)
        wait_until(lambda: len(words(stack)) == 2, "each says how it is")

    def lose(self, *hosts):
        for host in hosts:
            host.address.clear()
        self.stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                       " where datname = current_database() and pid <> pg_backend_pid()")
        for host in hosts:
            # it finds out by trying
            wait_until(lambda: host.ask("/now")[0] == 503, "it is away")  # pylint: disable=W0640


def test_each_process_says_how_it_is_until_it_dies(stack):
    stack.expect_deaths = True
    stack.configure(ROUTES)
    worker = stack.start_worker()
    stack.start_refresher()
    wait_until(lambda: len(words(stack)) == 3, "two workers and a refresher")
    client = stack.redis.client()
    assert all(0 < client.pttl(key) <= 3000 for key in words(stack))
    worker.kill_tree()
    wait_until(lambda: len(words(stack)) == 1, "only the refresher is left")


def test_a_host_s_own_trouble_takes_it_out_and_a_shared_one_nobody(stack):
    fleet = Fleet(stack)
    first, second = fleet.hosts
    assert [ready(host) for host in fleet.hosts] == [(200, {"status": "ready"})] * 2
    client = stack.redis.client()
    names, = [key for key in client.scan_iter("leeway:{peers.*}", _type="set")]
    client.sadd(names, "ghost")
    fleet.lose(first)
    wait_until(lambda: ready(first)[0] == 503, "it is out")
    wait_until(lambda: not client.sismember(names, "ghost"), "the dead are forgotten")
    assert client.scard(names) == 2 and client.pttl(names) != -2
    assert ready(first)[1]["reasons"] == ["postgres"] and len(ready(first)[1]["details"]) == 1
    assert ready(second)[0] == 200
    # now the other one too
    fleet.lose(second)
    wait_until(lambda: hosts_in_trouble(stack) == 2, "both say so")
    wait_until(lambda: [ready(host)[0] for host in fleet.hosts] == [200, 200], "nobody is out")
    assert first.ask("/health")[0] == 200
    # the second one is well again
    second.address.point(stack.postgres)
    wait_until(lambda: second.ask("/now")[0] == 200, "it is back")
    wait_until(lambda: ready(first)[0] == 503 and ready(second)[0] == 200, "the first is out again")
    first.address.point(stack.postgres)
    wait_until(lambda: first.ask("/now")[0] == 200, "it is back")
    wait_until(lambda: ready(first)[0] == 200, "it is in again")


def test_many_dead_keep_a_sick_host_in_the_balancer_for_a_moment_only(stack):
    """As after a deploy of a large fleet that was killed: their words have ended, their names not."""
    fleet = Fleet(stack)
    first, second = fleet.hosts
    client = stack.redis.client()
    names, = client.scan_iter("leeway:{peers.*}", _type="set")
    client.sadd(names, *(f"ghost{number}" for number in range(20000)))
    fleet.lose(first)
    wait_until(lambda: ready(first)[0] == 503, "it is out")
    assert ready(second)[0] == 200
    wait_until(lambda: client.scard(names) == 2, "the dead are forgotten")


def test_a_trouble_of_all_takes_nobody_out_in_its_first_moments_either(stack):
    """A Redis that is full keeps what all said when they were well, until it ends; a word that never
    ends is nobody's."""
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    other = stack.beside("other")
    other.configure(ROUTES, workers=1)
    other.start_worker()
    wait_until(lambda: len(words(stack)) == 2, "each says how it is")
    client = stack.redis.client()
    names, = client.scan_iter("leeway:{peers.*}", _type="set")
    assert client.pttl(names) > 0
    client.sadd(names, "ghost")
    client.set(names + ":ghost", "1 worker elsewhere 1.0 -")
    client.config_set("maxmemory", "1")
    seen = []

    def is_over():
        seen.extend(ready(host)[0] for host in (stack, other))
        return len(words(stack)) == 1
    wait_until(is_over, "what they said has ended")
    for _ in range(20):
        is_over()
        time.sleep(0.1)  # in which each of them looks
    assert set(seen) == {200}
    client.config_set("maxmemory", "0")


def test_one_that_has_not_found_out_yet_is_no_proof(stack):
    """A Postgres that falls silent is noticed at once by who asks it for something, and by others
    only after a while."""
    hosts = [stack.beside(f"host{number}") for number in range(2)]
    for host in hosts:
        host.configure(ROUTES, workers=1, postgres="connect_timeout = 3s")
        host.start_worker()
    asked, idle = hosts
    assert [host.ask("/now")[0] for host in hosts] == [200, 200]
    wait_until(lambda: len(words(stack)) == 2, "each says how it is")
    seen = []

    def is_over():
        seen.append(ready(asked)[0])
        return hosts_in_trouble(stack) == 2
    stack.postgres.hang()
    try:
        asking = asked.ask_later("/now")
        wait_until(lambda: hosts_in_trouble(stack) == 1, "it is noticed", 20)
        wait_until(is_over, "the other one has noticed, too", 20)
    finally:
        stack.postgres.go_on()
    assert asking.result()[0] in (503, 504) and len(seen) > 5 and set(seen) == {200}
    assert ready(idle)[0] == 200


def test_one_host_takes_a_replica_for_the_primary(stack):
    """Where Redis is away nothing is known of others, and that takes nobody out."""
    port = free_port()
    stack.redis.client().config_set("port", port)
    os.mkdir(stack.path("replica"))
    replica = Redis(stack.path("replica"), "unix")
    try:
        hosts = [stack.beside(f"host{number}") for number in range(2)]
        hosts[1].reach_redis_by(replica.socket)
        for host in hosts:
            host.configure(ROUTES, workers=1)
            host.start_worker()
            wait_until(lambda: ready(host)[0] == 200, "it is ready")  # pylint: disable=W0640
        replica.client().replicaof("127.0.0.1", port)
        wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up",
                   "it is a replica")
        wait_until(lambda: ready(hosts[1])[0] == 503, "it is out")
        assert ready(hosts[1])[1]["reasons"] == ["redis"]
        assert ready(hosts[0]) == (200, {"status": "ready"})
        replica.stop()
        stack.redis.stop()
        wait_until(lambda: [ready(host)[0] for host in hosts] == [200, 200], "nobody is out")
    finally:
        replica.stop()


def test_the_refreshers_of_one_host_have_died(stack):
    """One that was stopped is not missed."""
    stack.expect_deaths = True
    hosts = [stack.beside(f"host{number}") for number in range(2)]
    workers = []
    for host in hosts:
        host.configure(ROUTES, workers=1)
        workers.append(host.start_worker())
        host.refresher = host.start_refresher()
    hosts[0].refresher.stop()
    hosts[1].refresher.kill_tree()
    wait_until(lambda: ready(hosts[1])[0] == 503, "it is out", 40)
    assert ready(hosts[1])[1]["reasons"] == ["refresher"]
    assert ready(hosts[0]) == (200, {"status": "ready"})
    # nor do workers that are started after that forget it
    before = workers[1].children()
    workers[1].send(signal.SIGHUP)
    hosts[1].await_replaced(workers[1], before)
    wait_until(lambda: ready(hosts[1])[0] == 503, "it is out again", 40)
    hosts[1].start_refresher(name="again")
    wait_until(lambda: ready(hosts[1])[0] == 200, "it is in again")


def test_where_the_refreshers_of_all_have_died_a_reload_takes_nobody_out(stack):
    stack.expect_deaths = True
    hosts = [stack.beside(f"host{number}") for number in range(2)]
    workers = []
    for host in hosts:
        host.configure(ROUTES, workers=1)
        workers.append(host.start_worker())
        host.refresher = host.start_refresher()
    for host in hosts:
        host.refresher.kill_tree()
    wait_until(lambda: sum("refresher" in word.split()[4] for word in words(stack).values()) == 2,
               "both say so", 40)
    before = workers[1].children()
    workers[1].send(signal.SIGHUP)
    hosts[1].await_replaced(workers[1], before)
    seen = []

    def is_known():
        seen.append(ready(hosts[0])[0])
        said = [word.split()[4] for word in words(stack).values()]
        return len(said) == 2 and all("refresher" in codes.split(",")[0] and "?" not in codes
                                      for codes in said)
    wait_until(is_known, "the new one has found out", 40)
    assert len(seen) > 5 and set(seen) == {200}


ASK = ["--ready", "--health"]


def ask_pool(stack, *options, address=None):
    return stack.run("leeway-worker", "-c", stack.config, "-s",
                     address or "unix:" + stack.socket, *options)


@pytest.mark.parametrize("option", ASK)
def test_a_program_asks_a_running_pool(stack, option):
    stack.configure(ROUTES, settings='mount = "/api"\nready_path = "/is/ready"')
    stack.start_worker()
    run = ask_pool(stack, option)
    assert run.returncode == 0, run
    assert json.loads(run.stdout)["status"] in ("ready", "ok")


def test_a_program_asks_a_pool_that_is_not_ready(stack):
    address = Address(stack.path("postgres"))
    stack.postgres_conninfo = f"host={address.folder} user=leeway dbname={stack.database}"
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    run = ask_pool(stack, "--ready")
    assert run.returncode == 1 and json.loads(run.stdout)["reasons"] == ["identity"]
    assert ask_pool(stack, "--health").returncode == 0


@pytest.mark.parametrize("option", ASK)
def test_nobody_who_could_be_asked(stack, option):
    stack.configure(ROUTES)
    run = ask_pool(stack, option)
    assert run.returncode == 2 and stack.socket in run.stderr
    run = stack.run("leeway-worker", "-c", stack.config, option)
    assert run.returncode == 2 and "-s" in run.stderr
    stack.configure(ROUTES, settings='ready_path = ""\nhealth_path = ""')
    run = ask_pool(stack, option)
    assert run.returncode == 2 and re.search(r"(ready|health)_path", run.stderr)


def fcgi(kind, content):
    return bytes([1, kind, 0, 1]) + len(content).to_bytes(2, "big") + b"\0\0" + content


def say(content, whole=True):
    return fcgi(6, content) * bool(content) + (fcgi(6, b"") + fcgi(3, bytes(8)) if whole else b"")


@pytest.mark.parametrize("answer", [
    b"", say(b""), say(b"Content-Type: text/plain\r\n\r\nready"),
    say(b'Content-Type: application/json\r\nContent-Length: 18\r\n\r\n{"status":"ready"}'),
    say(b"Status: 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    say(b'Status: 200 OK\r\nContent-Length: 18\r\n\r\n{"status":"rea'),
    say(b'Status: 200 OK\r\nContent-Length: 18\r\n\r\n{"status":"ready"}', whole=False),
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
], ids=["nothing", "empty", "no status", "no status, and leeway's body", "another program's", "torn",
        "not ended", "HTTP"])
def test_what_is_no_answer_of_leeway_s_is_not_ready(stack, answer):
    """Another program listens there, or one that dies while it answers."""
    stack.configure(ROUTES)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(stack.socket)
        other.listen()

        def serve():
            client, _ = other.accept()
            with client:
                client.recv(65536)
                client.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        run = ask_pool(stack, "--ready")
        thread.join()
    assert run.returncode == 2 and "answer" in run.stderr and not run.stdout, run


def test_a_pool_that_does_not_answer(stack):
    """Each worker is stopped: the question ends by itself."""
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    stack.others.clear()
    worker.send(19)
    child, = worker.children()
    os.kill(child, 19)
    try:
        run = ask_pool(stack, "--ready")
        assert run.returncode == 2 and "no answer" in run.stderr
    finally:
        os.kill(child, 18)
        worker.send(18)


def test_the_question_ends_although_alarms_are_blocked(stack):
    """Who asks may be a monitor that takes its signals elsewhere."""
    stack.configure(ROUTES)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(stack.socket)
        silent.listen()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        try:
            run = ask_pool(stack, "--ready")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    assert run.returncode == 2 and "no answer" in run.stderr

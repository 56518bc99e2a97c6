# SPDX-License-Identifier: BSD-2-Clause
"""The promise itself, judged from outside: a row that changes all the time is read through short
budgets and slow queries while things break, and no answer lags behind by more than its budget."""
import collections
import json
import os
import random
import select
import signal
import threading
import time

from harness import fastcgi, report
from harness.network import free_port
from harness.ticker import Ticker
from harness.wait import wait_until

ENOUGH = 1000      # answers of each kind
LONGEST_S = 150    # until there are enough
FAULTS_S = 1.5     # between two faults
BUDGETS = {"hot": 1.0, "wide": 2.0, "crowd": 1.5}
# every tenth query takes 600 ms, the others up to 60
SLEEP = "pg_sleep(case when random() < 0.1 then 0.6 else random() * 0.06 end)"
# the row is read in the statement's own snapshot, that is, before the sleep
ROUTES = "".join(f"""
context "{name}" {{ budget = {int(budget * 1000)}ms  refresh_at = 0.6 }}
route "/{name}/{{key}}" {{
  context = "{name}"
  param "key" {{ type = int }}
  sql = "select n, extract(epoch from statement_timestamp()) as asked, $1::bigint as key
           from tick, {SLEEP}"
  shape = object
}}
""" for name, budget in BUDGETS.items())


class Readers:
    """Clients of all hosts. `lost` are requests that got no answer, `late` the promise broken."""

    def __init__(self, sockets, ticker):
        self.sockets = sockets
        self.ticker = ticker
        self.kinds = collections.Counter()
        self.oldest = collections.Counter()
        self.lost = collections.Counter()
        self.late = []
        self.latest_reader = 0  # by how much one saw an answer after it came
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(pick,), daemon=True)
                        for pick in [self.hot] * 6 + [self.wide] * 8 + [self.crowd] * 12]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    @staticmethod
    def hot():
        return "hot", random.randrange(4)

    @staticmethod
    def wide():
        return "wide", random.randrange(1000)

    @staticmethod
    def crowd():
        """Everybody wants the same new key several times a second."""
        return "crowd", int(time.time() * 4)

    def run(self, pick):
        while not self.stopping.is_set():
            name, key = pick()
            try:
                self.ask(name, key)
            except (OSError, fastcgi.Closed) as error:
                with self.lock:
                    self.lost[type(error).__name__] += 1
                time.sleep(0.01)

    def ask(self, name, key):
        with fastcgi.TimedConnection(random.choice(self.sockets)) as connection:
            connection.send(fastcgi.request(f"/{name}/{key}"))
            came = connection.await_first()
            seen = time.time()
            status, headers, body = connection.read_answer()
        with self.lock:
            self.latest_reader = max(self.latest_reader, seen - came)
            if status == 200:
                self.judge(name, headers["cache-status"], json.loads(body), came)
            else:
                self.kinds[str(status)] += 1

    def judge(self, name, cache_status, body, came):
        """Nothing may be past its budget when its first byte comes, as the kernel says: a reader
        that runs late sees it later, and is no matter."""
        kind = kind_of(cache_status)
        lag = self.ticker.lag(body, came)
        self.kinds[kind] += 1
        self.oldest[kind] = max(self.oldest[kind], lag / BUDGETS[name])
        if lag >= BUDGETS[name]:
            self.late.append((name, cache_status, lag))

    def are_enough(self):
        return all(self.kinds[kind] >= ENOUGH for kind in ("fresh", "stale", "missed", "collapsed"))


def kind_of(cache_status):
    if cache_status.startswith("leeway; hit"):
        return "stale" if cache_status.endswith("detail=stale") else "fresh"
    if cache_status.endswith("; collapsed"):
        return "collapsed"
    return "bypass" if "fwd=bypass" in cache_status else "missed"


def start_host(stack, name, minutes):
    """A host whose time of day is wrong."""
    host = stack.beside(name)
    host.clock = host.shim()
    host.clock.move_time_of_day(minutes * 60)
    host.expect_deaths = True
    host.tcp_port = free_port()
    host.configure(ROUTES, postgres="slots = 40", settings="log = \"stderr\"")
    host.start_worker()
    host.refresher = host.start_refresher()
    return host


def kill_refresher_child(_, host):
    os.kill(host.refresher.children()[0], signal.SIGKILL)


def kill_refresher(_, host):
    children = host.refresher.children()
    for pid in [host.refresher.pid, *children]:
        os.kill(pid, signal.SIGKILL)
    host.refresher.wait()
    host.refresher = host.start_refresher(name=f"refresher-{time.monotonic_ns()}")


def restart_redis(stack, _):
    stack.redis.stop()
    stack.redis.start()


def stop_redis_for_a_moment(stack, _):
    stack.redis.process.send(signal.SIGSTOP)
    time.sleep(0.6)
    stack.redis.process.send(signal.SIGCONT)


def kill_worker(_, host):
    children = host.processes[0].children()
    if children:
        os.kill(children[0], signal.SIGKILL)


def set_the_clock(_, host):
    host.clock.move_time_of_day(random.choice((-600, 600, 0)) * 60)


FAULTS = (kill_refresher_child, kill_refresher, restart_redis, set_the_clock, kill_worker,
          stop_redis_for_a_moment)


def break_things(stack, hosts, readers):
    """Every fault at least twice, and until the readers have seen enough."""
    done = collections.Counter()
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end and (sum(done.values()) < 2 * len(FAULTS) or
                                      not readers.are_enough()):
        fault = FAULTS[sum(done.values()) % len(FAULTS)]
        fault(stack, hosts[sum(done.values()) % len(hosts)])
        done[fault.__name__] += 1
        time.sleep(FAULTS_S)
    return done


def exceeded(host):
    _, _, text = host.ask("/metrics")
    lines = [line for line in text.decode().splitlines()
             if line.startswith("leeway_budget_exceeded_total{")]
    return sum(float(line.split()[-1]) for line in lines)


def test_no_answer_is_older_than_its_budget_whatever_breaks(stack):
    ticker = Ticker(stack)
    hosts = [start_host(stack, "ahead", 7), start_host(stack, "behind", -7)]
    readers = Readers([host.socket for host in hosts], ticker)
    readers.start()
    try:
        done = break_things(stack, hosts, readers)
    finally:
        readers.stop()
        ticker.stop()
    rows = [(kind, count, f"{readers.oldest[kind]:.3f}") for kind, count
            in sorted(readers.kinds.items())]
    rows += [(f"lost ({kind})", count, "") for kind, count in sorted(readers.lost.items())]
    rows += [(f"fault: {name}", count, "") for name, count in sorted(done.items())]
    rows += [("readers saw an answer later than it came", "",
              f"by up to {readers.latest_reader * 1000:.0f} ms")]
    report.table("promise", ("answers", "count", "oldest, in budgets"), rows)
    assert not readers.late, readers.late[:5]
    assert readers.are_enough(), readers.kinds
    wait_until(lambda: [exceeded(host) for host in hosts] == [0.0, 0.0], "the counters are 0")


def judge_one(stack, shim=None, delay_s=0, reader_s=0):
    """What the judge says of one hit that is half its budget old."""
    stack.tcp_port = free_port()
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    ticker = Ticker(stack)
    readers = Readers([], ticker)
    try:
        assert stack.ask("/wide/1")[0] == 200
        stack.entries.age(1.0)
        if shim:
            shim.delay_writes(delay_s)
        with fastcgi.TimedConnection(stack.socket) as connection:
            connection.send(fastcgi.request("/wide/1"))
            select.select([connection.socket], [], [])
            time.sleep(reader_s)
            came = connection.await_first()
            status, headers, body = connection.read_answer()
        assert status == 200
        row = json.loads(body)
        row["asked"] -= 1.0  # as its entry says
        readers.judge("wide", headers["cache-status"], row, came)
    finally:
        ticker.stop()
    return readers.late


def test_the_judge_sees_an_answer_that_is_late(stack):
    shim = stack.shim()
    assert judge_one(stack, shim, delay_s=1.5)


def test_the_judge_does_not_mind_a_reader_that_is_late(stack):
    assert not judge_one(stack, reader_s=1.5)

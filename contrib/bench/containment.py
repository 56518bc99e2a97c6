#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What clients of a healthy route on a healthy host see while everything around is in trouble at
once: another host without PostgreSQL, a hung route, a flood of ids, slow readers, a log that nobody
reads, a hung worker, a Redis that is restarted. Beside the same without the faults. The route that
hangs has a share of the slots, as one whose queries may take long should have."""
import collections
import contextlib
import itertools
import os
import random
import signal
import socket
import threading
import time

# it is measure that makes harness known
from measure.markdown import table
from measure.world import World

from harness import fastcgi
from harness.load import Loop
from harness.postgres import GATE
from harness.postgres_proxy import PostgresProxy
from harness.wait import wait_until

CALM_S = 15
FAULTS_S = 40
BUDGET_S = 4
KEYS = 20
CLIENTS = 2
SLOW_READERS = 200
HUNG = 10
FLOOD = 6
LIMIT_S = 30  # for one answer
ROUTES = f"""
context "c" {{ budget = {BUDGET_S}s }}
route "/healthy/{{id}}" {{ context = "c"  param "id" {{ type = int }}
  sql = "select extract(epoch from clock_timestamp())::float8 as at where $1::int >= 0"
  shape = value }}
route "/flood/{{id}}" {{ context = "c"  param "id" {{ type = int }}
  sql = "select $1::int as id, pg_sleep(0.01)" shape = object }}
route "/hung/{{id}}" {{ context = "c"  slots = 2  param "id" {{ type = int }}
  sql = "select $1::int as id from {GATE}"  shape = object }}
route "/large" {{ context = "c"  sql = "select repeat('x', 1000000) as text"  shape = object }}
"""


class Clients(Loop):
    """Of the healthy route. A connection that a hung worker had taken ends without an answer when
    that worker is replaced; a web server asks again then, and so do they, once, and count it."""

    def __init__(self, path):
        super().__init__(CLIENTS, self.ask)
        self.path = path
        self.took, self.errors, self.again = [], collections.Counter(), 0
        self.oldest = 0.0
        self.said = collections.Counter()

    def ask_once(self, uri):
        with fastcgi.Connection(self.path) as connection:
            connection.socket.settimeout(LIMIT_S)
            return connection.ask(uri)

    def ask(self):
        uri = f"/healthy/{random.randrange(KEYS)}"
        began, at = time.perf_counter(), time.time()
        try:
            try:
                status, headers, body = self.ask_once(uri)
            except (fastcgi.Closed, ConnectionError):
                self.again += 1
                at = time.time()
                status, headers, body = self.ask_once(uri)
        except Exception as error:
            self.errors[repr(error)] += 1
            raise
        self.took.append((time.perf_counter() - began) * 1000)
        if status != 200:
            self.errors[f"{status} {body.decode()}"] += 1
            return
        self.said[headers["cache-status"].split(";")[1].split("=")[0].strip()] += 1
        self.oldest = max(self.oldest, (at - float(body)) / BUDGET_S)

    def row(self, name):
        took = sorted(self.took)
        return [name, str(len(took)), str(sum(self.errors.values())), str(self.again),
                *(took[int(len(took) * share)] for share in (0.5, 0.99)), took[-1],
                f"{self.said['hit']} / {self.said['fwd']}", f"{self.oldest:.3f}"]


def read_slowly(path, ends):
    for _ in range(SLOW_READERS):
        client = socket.socket(socket.AF_UNIX)
        ends.callback(client.close)
        client.settimeout(1)
        with contextlib.suppress(OSError):
            client.connect(path)
            client.sendall(fastcgi.request("/large"))


def ask(path, uri):
    with fastcgi.Connection(path) as connection:
        connection.socket.settimeout(LIMIT_S)
        connection.ask(uri)


def full_pipe(ends):
    reading, writing = os.pipe()
    ends.callback(os.close, reading)
    ends.callback(os.close, writing)
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return writing


def start_host(host, postgres, stderr=None):
    host.postgres_conninfo = postgres
    host.configure(ROUTES, workers=3, redis='namespace = "shop"',
                   postgres="slots = 6  statement_timeout = 2s")
    options = {"stderr": stderr} if stderr is not None else {}
    host.worker = host.start_process("worker", host.worker_command(), **options)
    host.refresher = host.start_refresher()
    wait_until(host.worker_answers, "it is there")
    wait_until(lambda: host.ask("/healthy/0")[0] == 200, "it serves")


def measure(path, seconds):
    with Clients(path) as clients:
        time.sleep(seconds)
    return clients


def run(world):
    stack = world.stack
    numbers = itertools.count()
    with contextlib.ExitStack() as ends:
        proxy = PostgresProxy(stack.path("away"), world.postgres.folder)
        sick = stack.beside("sick")
        start_host(stack, world.postgres.conninfo(world.DATABASE), full_pipe(ends))
        start_host(sick, f"host={proxy.folder} user=leeway dbname={world.DATABASE}")
        calm = measure(stack.socket, CALM_S)
        ends.enter_context(stack.gate())
        for loop in (Loop(HUNG, lambda: ask(stack.socket, f"/hung/{next(numbers)}")),
                     Loop(FLOOD, lambda: ask(stack.socket, f"/flood/{next(numbers)}")),
                     Loop(2, lambda: ask(sick.socket, f"/healthy/{next(numbers) % KEYS}"))):
            ends.enter_context(loop)
        read_slowly(stack.socket, ends)
        proxy.go_away()
        hung = stack.worker.children()[0]
        ends.callback(hang_and_restart(world, hung).join)
        faults = measure(stack.socket, FAULTS_S)
        replaced = hung not in stack.worker.children()
    table(f"A healthy route on a healthy host; two hosts, {CLIENTS} clients",
          ["", "answers", "errors", "asked again", "p50 ms", "p99", "max", "hits / queries",
           "oldest, in budgets"], [calm.row("no fault"), faults.row("all faults at once")])
    print(f"\nThe hung worker was {'' if replaced else 'not '}replaced. "
          f"{dict(calm.errors + faults.errors) or 'No errors'}.")


def hang_and_restart(world, pid):
    """A quarter of the way a worker hangs; half-way Redis is restarted, empty."""
    def act():
        time.sleep(FAULTS_S / 4)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(FAULTS_S / 4)
        world.redis.stop()
        world.redis.start()
    thread = threading.Thread(target=act)
    thread.start()
    return thread


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)

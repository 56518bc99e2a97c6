#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""How long hits take beside what might hold workers up: slow misses, silent clients, half-sent
requests, readers that take a byte at a time. Each is measured in turns with the same hits alone,
so that the ratios mean something on a machine that is never quiet."""
import collections
import multiprocessing
import socket
import statistics
import threading
import time

# it is measure that makes harness known
from measure.world import World

from harness import fastcgi
from harness.wait import wait_until

ROUNDS = 5
HITS = 600             # a round
SLOW_MISSES = 80
SLOT_TIMEOUT_S = 1
ROUTES = """
context "c" { budget = 1h }
route "/hit" { context = "c"  sql = "select repeat('x', 2000) as text"  shape = object }
route "/large" { context = "c"  sql = "select repeat('x', 500000) as text"  shape = object }
route "/slow/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select $1::int as id, pg_sleep(0.4)"
  shape = object
}
"""


def time_hits(path):
    """Milliseconds of each, one after another, each on a connection of its own."""
    took = []
    for _ in range(HITS):
        began = time.perf_counter()
        with fastcgi.Connection(path) as connection:
            status, headers, _ = connection.ask("/hit")
        took.append((time.perf_counter() - began) * 1000)
        assert status == 200 and "hit" in headers["cache-status"], (status, headers)
    return took


def measured_apart(path):
    """In a process of its own, so that the clients of the load don't slow the clock's down."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(time_hits, (path,))


class Nothing:
    """Beside: nothing."""

    def __init__(self, path):
        self.path = path
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


class SlowMisses(Nothing):
    """New misses of 400 ms on other keys take the place of those that were answered."""

    def __enter__(self):
        self.stopping = threading.Event()
        self.statuses = collections.Counter()
        self.longest_refusal = 0.0
        self.numbers = iter(range(time.time_ns() % 10 ** 9, 10 ** 10))
        self.threads = [threading.Thread(target=self.run) for _ in range(SLOW_MISSES)]
        for thread in self.threads:
            thread.start()
        time.sleep(0.3)
        return self

    def run(self):
        while not self.stopping.is_set():
            began = time.perf_counter()
            with fastcgi.Connection(self.path) as connection:
                status, _, _ = connection.ask(f"/slow/{next(self.numbers)}")
            self.statuses[status] += 1
            if status == 503:
                self.longest_refusal = max(self.longest_refusal, time.perf_counter() - began)

    def __exit__(self, *exception):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        self.said = (f"{self.statuses[200]} answered, {self.statuses[503]} got 503 within "
                     f"{self.longest_refusal * 1000:.0f} ms (slot_timeout {SLOT_TIMEOUT_S} s)")


class Silent(Nothing):
    count, sent = 50, b""

    def __enter__(self):
        self.connections = [fastcgi.Connection(self.path) for _ in range(self.count)]
        for connection in self.connections:
            connection.send(self.sent)
        time.sleep(0.3)
        return self

    def __exit__(self, *exception):
        for connection in self.connections:
            connection.close()


class HalfSent(Silent):
    sent = fastcgi.request("/hit")[:50]


class SlowReaders(Silent):
    """They ask for 500 kB and take a byte every 10 ms."""
    count, sent = 20, fastcgi.request("/large")

    def __enter__(self):
        super().__enter__()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        return self

    def read(self):
        while not self.stopping.wait(0.01):
            for connection in self.connections:
                connection.socket.recv(1, socket.MSG_DONTWAIT)

    def __exit__(self, *exception):
        self.stopping.set()
        self.thread.join()
        super().__exit__()


LOADS = {
    f"{SLOW_MISSES} slow misses": SlowMisses,
    "50 silent clients": Silent,
    "50 half-sent requests": HalfSent,
    "20 readers of 500 kB, a byte at a time": SlowReaders,
}


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def row(name, took, alone, said):
    ratio = f"{percentile(took, 0.99) / percentile(alone, 0.99):.2f}" if alone else ""
    cells = [name, *(f"{percentile(took, share):.2f}" for share in (0.5, 0.95, 0.99)),
             f"{max(took):.2f}", ratio, said]
    print("| " + " | ".join(cells) + " |", flush=True)


def compare(path, name, load):
    alone, beside, said = [], [], []
    for _ in range(ROUNDS):
        alone.append(measured_apart(path))
        with load(path) as running:
            beside.append(measured_apart(path))
        said.append(running.said)
    row(name, sum(beside, []), sum(alone, []), said[-1])
    row("the same alone", sum(alone, []), None,
        f"p50 of rounds {min(map(statistics.median, alone)):.2f} to "
        f"{max(map(statistics.median, alone)):.2f}")


def run(world):
    stack = world.stack
    stack.configure(ROUTES, workers=8, settings="client_timeout = 5m",
                    postgres=f"slot_timeout = {SLOT_TIMEOUT_S}s")
    stack.start_worker()
    for uri in ("/hit", "/large"):
        wait_until(lambda: stack.ask(uri)[0] == 200, uri)  # pylint: disable=W0640
    print(f"\nHits of 2 kB, one after another, {ROUNDS} times {HITS}; 8 workers\n\n"
          "| beside | p50 ms | p95 | p99 | max | p99 against alone | |\n|---|---|---|---|---|---|---|")
    for name, load in LOADS.items():
        compare(stack.socket, name, load)


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)

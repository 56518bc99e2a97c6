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
HITS_LIMIT_S = 60
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
        try:
            return pool.apply_async(time_hits, (path,)).get(HITS_LIMIT_S)
        except multiprocessing.TimeoutError:
            raise AssertionError(f"{HITS} hits were not answered in {HITS_LIMIT_S} s") from None


class Beside:
    """A load while it is used in a `with`. What goes wrong in its threads is in `failures`."""

    def __init__(self, path):
        self.path = path
        self.stopping = threading.Event()
        self.failures = []
        self.threads = []

    def start_threads(self, count):
        self.threads = [threading.Thread(target=self.attempt) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def attempt(self):
        try:
            self.run()
        except Exception as failure:  # pylint: disable=broad-except
            self.failures.append(failure)

    def run(self):
        """Until `stopping` is set."""

    def join(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def check(self):
        """The hits were not measured beside what they should be if some of it has ended."""
        assert not self.failures, f"{len(self.failures)} of {len(self.threads)} clients failed, " \
            f"the first with {self.failures[0]!r}"

    @staticmethod
    def told(_rounds):
        """What there is to say of the loads of all rounds."""
        return ""


class SlowMisses(Beside):
    """New misses of 400 ms on other keys take the place of those that were answered."""

    def __enter__(self):
        self.answers = []  # status and seconds
        self.numbers = iter(range(time.time_ns() % 10 ** 9, 10 ** 10))
        self.start_threads(SLOW_MISSES)
        time.sleep(0.3)
        return self

    def run(self):
        while not self.stopping.is_set():
            began = time.perf_counter()
            with fastcgi.Connection(self.path) as connection:
                status, _, _ = connection.ask(f"/slow/{next(self.numbers)}")
            self.answers.append((status, time.perf_counter() - began))

    def __exit__(self, *exception):
        self.join()

    @staticmethod
    def told(rounds):
        answers = sum((one.answers for one in rounds), [])
        counts = collections.Counter(status for status, _ in answers)
        refused = max((took for status, took in answers if status == 503), default=0)
        others = "".join(f", {count} got {status}" for status, count in sorted(counts.items())
                         if status not in (200, 503))
        return (f"{counts[200]} answered, {counts[503]} got 503 within {refused * 1000:.0f} ms "
                f"(slot_timeout {SLOT_TIMEOUT_S} s){others}")


class Silent(Beside):
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
        self.taken = collections.Counter()  # bytes by connection
        self.start_threads(1)
        return self

    def run(self):
        while not self.stopping.wait(0.01):
            for connection in self.connections:
                self.take(connection)

    def take(self, connection):
        """A byte; the worker may not have sent the next yet."""
        try:
            taken = connection.socket.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        assert taken, "the worker has closed the connection"
        self.taken[connection] += 1

    def __exit__(self, *exception):
        self.join()
        super().__exit__()

    @staticmethod
    def told(rounds):
        taken = [one.taken[connection] for one in rounds for connection in one.connections]
        return f"each took {min(taken)} to {max(taken)} bytes a round"


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
    alone, beside, rounds = [], [], []
    for _ in range(ROUNDS):
        alone.append(measured_apart(path))
        with load(path) as running:
            beside.append(measured_apart(path))
        running.check()
        rounds.append(running)
    row(name, sum(beside, []), sum(alone, []), load.told(rounds))
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

#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a hit costs behind each web server, against a plain libfcgi program that sends the same
bytes from memory, and the same with one GET; in turns, in one run."""
import collections
import os

from measure.cost import Meter
from measure.fronts import FRONTS
from measure.markdown import table
from measure.world import World, start_leeway, start_plain
from measure.wrk import run

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "2"))
ONLY = os.environ.get("BENCH_FRONTS")  # their names, with semicolons between
CONNECTIONS = (8, 64)
BODY = int(os.environ.get("BENCH_BODY", "2000"))
WORKERS = 8
ROUTES = f"""
context "c" {{ budget = 1h }}
route "/hit" {{ context = "c"  sql = "select repeat('x', {BODY - 11}) as text"  shape = object }}
"""
PLAIN = f"libfcgi + GET, {WORKERS}"


def start_backends(world):
    leeway = start_leeway(world, f"leeway, {WORKERS}", ROUTES, WORKERS)
    default = start_leeway(world, f"leeway, {os.cpu_count()} (default)", ROUTES, os.cpu_count())
    leeway.stack.ask("/hit")
    _, _, stored = world.redis.client().get(world.stack.entries.only().key).partition("\n")
    world.redis.client().set("plain", "Status: 200 OK\r\n" + stored)
    return [start_plain(world, f"libfcgi, {WORKERS}", WORKERS, "fixed", BODY),
            start_plain(world, PLAIN, WORKERS, "get", world.redis.socket, "plain"),
            leeway, default]


def measure(world, front, backend, connections):
    port = front.ports[backend.name]
    run(port, "/hit", connections, 1)
    with Meter({"worker": [backend.process], "web server": [front.process],
                "Redis": [world.redis.process]}) as meter:
        result = run(port, "/hit", connections, SECONDS)
    result.cpu = meter.per(result.requests)
    return result


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def row(name, runs, base):
    def of(what, among=None):
        return mean(what(one) for one in among or runs)
    return [name, of(lambda one: one.rate), of(lambda one: one.rate) / of(lambda one: one.rate, base),
            *(of(lambda one, p=p: one.percentile(p)) for p in (50, 95, 99)),
            max(one.slowest for one in runs), of(lambda one: one.cpu["worker"]),
            of(lambda one: one.cpu["worker"]) / of(lambda one: one.cpu["worker"], base),
            of(lambda one: one.cpu["web server"]), of(lambda one: one.cpu["Redis"]),
            str(sum(sum(one.errors.values()) for one in runs))]


def compare(world, front, connections):
    runs = collections.defaultdict(list)
    for _ in range(ROUNDS):
        for backend in front.backends:
            runs[backend.name].append(measure(world, front, backend, connections))
    table(f"{front.name}, {connections} connections",
          ["program, workers", "req/s", "ratio", "p50 ms", "p95", "p99", "max",
           "worker us/hit", "ratio", "web server us", "Redis us", "errors"],
          [row(name, those, runs[PLAIN]) for name, those in runs.items()])


def main():
    with World() as world:
        backends = start_backends(world)
        print(f"Hits of {BODY} bytes on one key, {ROUNDS} rounds of {SECONDS} s each; "
              f"{os.cpu_count()} processors")
        for kind in FRONTS:
            if ONLY is None or kind.name in ONLY.split(";"):
                front = kind(world, backends)
                for connections in CONNECTIONS:
                    compare(world, front, connections)
                front.process.stop()


if __name__ == "__main__":
    main()

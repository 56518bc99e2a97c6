#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a hit costs behind each web server, against a plain libfcgi program that sends the same
bytes from memory, and the same with one GET; in turns, in one run. BENCH_FRONTS, BENCH_ROUNDS and
BENCH_SECONDS limit it."""
import os

from measure.contest import behind, hold
from measure.fronts import FRONTS
from measure.markdown import table
from measure.world import World, start_leeway, start_plain

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "6"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "1"))
ONLY = os.environ.get("BENCH_FRONTS")  # their names, with semicolons between
CONNECTIONS = (8, 64)
BODY = int(os.environ.get("BENCH_BODY", "2000"))
WORKERS = 8
PLAIN_WORKERS = (2, WORKERS, max(CONNECTIONS))
ROUTES = f"""
context "c" {{ budget = 1h }}
route "/hit" {{ context = "c"  sql = "select repeat('x', {BODY - 11}) as text"  shape = object }}
"""
FIXED = "libfcgi"
PLAIN = "libfcgi + GET"
LEEWAY = "leeway"


def start_backends(world):
    """Eight workers each; leeway with its default of one per processor too, and the plain program
    with few workers and as many as there may be clients, for they can only wait."""
    leeway = [start_leeway(world, f"{LEEWAY}, {workers}", ROUTES, workers)
              for workers in sorted({WORKERS, os.cpu_count()}, reverse=True)]
    for backend in leeway:
        backend.stack.ask("/hit")
    key = world.stack.entries.only().key
    _, _, stored = world.redis.client().get(key).partition("\n")
    world.redis.client().set("plain", "Status: 200 OK\r\n" + stored)
    plain = [start_plain(world, f"{PLAIN}, {workers}", workers, "get", world.redis.socket, "plain")
             for workers in PLAIN_WORKERS]
    return [start_plain(world, f"{FIXED}, {WORKERS}", WORKERS, "fixed", BODY), *plain, *leeway]


def row(name, figures, base, best):
    rounds = figures.application_us
    return [name, figures.rate, figures.rate / best.rate,
            *(figures.percentile(percent) for percent in (50, 95, 99)), figures.slowest,
            figures.cpu["application"], f"{min(rounds):.1f} to {max(rounds):.1f}",
            figures.cpu["application"] / base.cpu["application"],
            f"{100 * figures.kernel_share:.0f} %", figures.sleeps,
            figures.cpu["web server"], figures.cpu["Redis"], figures.errors_told]


def best_plain(found):
    """The one with the most requests a second; none under which clients starve, if there is
    another."""
    plain = {name: one for name, one in found.items() if name.startswith(PLAIN)}
    return max(plain, key=lambda name: (not plain[name].starves, plain[name].rate))


def print_table(title, found):
    base, best = found[f"{PLAIN}, {WORKERS}"], best_plain(found)
    table(f"{title} (the best number of workers for the plain one: {best})",
          ["program, workers", "req/s", "of the best GET", "p50 ms", "p95", "p99", "max",
           "worker us/hit", "in the rounds", f"of GET, {WORKERS}", "in the kernel", "sleeps/hit",
           "web server us", "Redis us", "errors"],
          [row(name, figures, base, found[best]) for name, figures in found.items()])


def run(world):
    """Figures by (web server, connections), then by program."""
    backends = start_backends(world)
    found = {}
    print(f"\nHits of {BODY} bytes on one key, {ROUNDS} rounds of {SECONDS} s each in turns")
    for kind in FRONTS:
        if ONLY is not None and kind.name not in ONLY.split(";"):
            continue
        front = kind(world, backends)
        contestants = [behind(world, front, backend) for backend in backends]
        for connections in CONNECTIONS:
            these = hold(contestants, "/hit", connections, ROUNDS, SECONDS)
            print_table(f"{kind.name}, {connections} connections", these)
            found[kind.name, connections] = these
        front.process.stop()
    for backend in backends:
        backend.process.stop()
    return found


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)

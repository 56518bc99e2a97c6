#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""How the cost of a hit grows with routes, keys, workers and the size of the body; behind nginx
with kept connections, each series in turns."""
import os

from measure.contest import behind, hold
from measure.cost import memory_mb
from measure.entries import copies
from measure.fronts import NginxKept
from measure.markdown import number, table
from measure.world import World, start_leeway, start_plain

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "2"))
CONNECTIONS = 16
BODY_CONNECTIONS = (8, 64)
PROCESSORS = os.cpu_count()
ROUTES = (10, 100, 1000, 10000)
KEYS = (1, 1000, 100000)
WORKERS = (1, 2, 4, 8, 16, 32, 64)
BODIES = (300, 2000, 30000, 500000)
CONTEXT = 'context "c" { budget = 1h }\n'
TEXT = "select $1::int as id, repeat('x', 1970) as text"


def resources(count):
    return CONTEXT + "".join(
        f'route "/api/resource{number}/{{id}}/detail" {{ context = "c"  param "id" {{ type = int }} '
        f'sql = "{TEXT}"  shape = object }}\n' for number in range(count))


def fixed_body(size):
    return (CONTEXT + f'route "/hit" {{ context = "c"  sql = "select repeat(\'x\', {size - 11}) as '
            'text"  shape = object }')


def worker_us(figures):
    return figures.cpu["application"]


def print_series(title, what, series):
    """`series`: figures by the point's name; ratios are to the first."""
    first = next(iter(series.values()))
    table(f"{title}; nginx keeping connections, {CONNECTIONS} clients",
          [what, "worker us/hit", "in the rounds", "ratio", "Redis us", "req/s", "p50 ms", "p95",
           "p99", "max", "errors"],
          [[name, worker_us(one),
            f"{min(one.application_us):.1f} to {max(one.application_us):.1f}",
            worker_us(one) / worker_us(first), one.cpu["Redis"], one.rate,
            *(one.percentile(percent) for percent in (50, 95, 99)), one.slowest, one.errors_told]
           for name, one in series.items()])


def stop(*things):
    for thing in things:
        thing.process.stop()


def by_routes(world):
    """One route among many is asked for: the one in the middle of the file."""
    backends = [start_leeway(world, f"routes-{count}", resources(count), PROCESSORS)
                for count in ROUTES]
    front = NginxKept(world, backends)
    series = hold([behind(world, front, backend, str(count),
                          f"/api/resource{count // 2}/7/detail")
                   for count, backend in zip(ROUTES, backends)],
                  None, CONNECTIONS, ROUNDS, SECONDS)
    print_series(f"Number of routes, of which one is asked for; {PROCESSORS} workers", "routes",
                 series)
    print(f"\nProportional set size with {max(ROUTES):,} routes, parent and {PROCESSORS} workers: "
          f"{memory_mb(backends[-1].process):.0f} MB")
    stop(front, *backends)
    world.redis.client().flushall()
    return series


def by_keys(world):
    """Each key as likely as any other."""
    backend = start_leeway(world, "keys", CONTEXT + 'route "/items/{id}" { context = "c"  '
                           f'param "id" {{ type = int }}  sql = "{TEXT}"  shape = object }}',
                           PROCESSORS)
    backend.stack.ask("/items/1")
    copies(world, lambda number, key: key.replace("=1}", f"={number}}}"), max(KEYS))
    front = NginxKept(world, [backend])
    series = hold([behind(world, front, backend, f"{count:,}", ("keys", "/items/", count))
                   for count in KEYS], None, CONNECTIONS, ROUNDS, SECONDS)
    client = world.redis.client()
    print_series(f"Number of keys, each as likely as any other; {PROCESSORS} workers", "keys", series)
    print(f"\nMemory of Redis for an entry of 2 kB: {client.memory_usage(client.randomkey())} bytes")
    stop(front, backend)
    world.redis.client().flushall()
    return series


def by_workers(world):
    backends = [start_leeway(world, f"workers-{count}", fixed_body(2000), count)
                for count in WORKERS]
    front = NginxKept(world, backends)
    series = hold([behind(world, front, backend, str(count))
                   for count, backend in zip(WORKERS, backends)],
                  "/hit", CONNECTIONS, ROUNDS, max(1, SECONDS // 2))
    print_series("Number of workers", "workers", series)
    memory = [memory_mb(backend.process) for backend in backends]
    each = (memory[-1] - memory[0]) / (WORKERS[-1] - WORKERS[0])
    print("\nProportional set size of parent and workers together, all of these running: " +
          ", ".join(f"{count}: {mb:.1f} MB" for count, mb in zip(WORKERS, memory)) +
          f"; for each further worker {each:.2f} MB")
    stop(front, *backends)
    world.redis.client().flushall()
    return series, each


def backends_for_body(world, size):
    leeway = {f"leeway, {workers}": start_leeway(world, f"leeway-{size}-{workers}",
                                                 fixed_body(size), workers)
              for workers in sorted({8, PROCESSORS}, reverse=True)}
    asked = leeway["leeway, 8"].stack
    asked.ask("/hit")
    _, _, stored = world.redis.client().get(world.stack.entries.only().key).partition("\n")
    world.redis.client().flushall()
    asked.ask("/hit")
    world.redis.client().set(f"plain{size}", "Status: 200 OK\r\n" + stored)
    return {"libfcgi, 8": start_plain(world, f"fixed-{size}", 8, "fixed", size),
            "libfcgi + GET, 8": start_plain(world, f"get-{size}", 8, "get", world.redis.socket,
                                            f"plain{size}"), **leeway}


def for_body(world, size):
    """Figures by the program's name, for each number of connections."""
    backends = backends_for_body(world, size)
    front = NginxKept(world, list(backends.values()))
    contestants = [behind(world, front, backend, name) for name, backend in backends.items()]
    found = [hold(contestants, "/hit", connections, max(1, ROUNDS - 1), max(1, SECONDS // 2))
             for connections in BODY_CONNECTIONS]
    stop(front, *backends.values())
    world.redis.client().flushall()
    return found


def print_bodies(found):
    """`found`: figures by (size, connections), then by program."""
    table("Size of the body; nginx keeping connections",
          ["bytes", "clients", "program, workers", "req/s", "p50 ms", "p95", "p99", "max",
           "worker us/hit", "web server us", "Redis us", "errors"],
          [[f"{size:,}", str(connections), name, one.rate,
            *(one.percentile(percent) for percent in (50, 95, 99)), one.slowest, worker_us(one),
            one.cpu["web server"], one.cpu["Redis"], one.errors_told]
           for (size, connections), these in found.items() for name, one in these.items()])


def by_body(world):
    """Figures by (size, connections), then by program."""
    found = {(size, connections): these for size in BODIES
             for connections, these in zip(BODY_CONNECTIONS, for_body(world, size))}
    print_bodies(found)
    few = BODY_CONNECTIONS[0]
    steps = list(zip(BODIES[1:], BODIES[2:]))

    def further(name, small, large):
        """Nanoseconds for each byte more."""
        return (worker_us(found[large, few][name]) - worker_us(found[small, few][name])) / \
            (large - small) * 1000

    table(f"What each byte more costs the workers, in ns; {few} clients",
          ["program, workers", *(f"{small:,} to {large:,} B" for small, large in steps)],
          [[name, *(number(further(name, small, large), 3) for small, large in steps)]
           for name in found[BODIES[0], few]])
    return found


def run(world):
    return {"routes": by_routes(world), "keys": by_keys(world), "workers": by_workers(world),
            "body": by_body(world)}


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)

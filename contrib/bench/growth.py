#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""How the cost of a hit grows with routes, keys, workers and the size of the body; behind nginx
with kept connections, each series in turns."""
import os

from measure.contest import behind, hold
from measure.cost import pss_kb, tree
from measure.entries import copies
from measure.fronts import NginxKept
from measure.markdown import number, table
from measure.world import World, start_leeway, start_plain

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "2"))
CONNECTIONS = 16
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
    table(title, [what, "worker us/hit", "ratio", "Redis us", "req/s", "p50 ms", "p99"],
          [[name, worker_us(one), worker_us(one) / worker_us(first), one.cpu["Redis"], one.rate,
            one.percentile(50), one.percentile(99)] for name, one in series.items()])


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
    print_series("Number of routes", "routes", series)
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
    print_series("Number of keys", "keys", series)
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
    memory = [sum(pss_kb(pid) for pid in tree(backend.process.pid)) for backend in backends]
    each = (memory[-1] - memory[0]) / (WORKERS[-1] - WORKERS[0])
    print("\nProportional set size of parent and workers together: " +
          ", ".join(f"{count}: {kb / 1024:.1f} MB" for count, kb in zip(WORKERS, memory)) +
          f"; for each further worker {each / 1024:.2f} MB")
    stop(front, *backends)
    world.redis.client().flushall()
    return series, each


def backends_for_body(world, size):
    leeway = start_leeway(world, f"leeway-{size}", fixed_body(size), 8)
    default = start_leeway(world, f"leeway-default-{size}", fixed_body(size), PROCESSORS)
    leeway.stack.ask("/hit")
    _, _, stored = world.redis.client().get(world.stack.entries.only().key).partition("\n")
    world.redis.client().flushall()
    leeway.stack.ask("/hit")
    world.redis.client().set(f"plain{size}", "Status: 200 OK\r\n" + stored)
    return {"libfcgi, 8": start_plain(world, f"fixed-{size}", 8, "fixed", size),
            "libfcgi + GET, 8": start_plain(world, f"get-{size}", 8, "get", world.redis.socket,
                                            f"plain{size}"),
            "leeway, 8": leeway, f"leeway, {PROCESSORS}": default}


def for_body(world, size):
    backends = backends_for_body(world, size)
    front = NginxKept(world, list(backends.values()))
    found = hold([behind(world, front, backend, name) for name, backend in backends.items()],
                 "/hit", 8, ROUNDS, max(1, SECONDS // 2))
    stop(front, *backends.values())
    world.redis.client().flushall()
    return found


def by_body(world):
    """Figures by size, then by program."""
    found = {size: for_body(world, size) for size in BODIES}
    names = list(found[BODIES[0]])
    steps = list(zip(BODIES[1:], BODIES[2:]))

    def further(name, small, large):
        """Nanoseconds for each byte more."""
        return (worker_us(found[large][name]) - worker_us(found[small][name])) / \
            (large - small) * 1000

    table("Size of the body, 8 connections: worker us/hit, and ns for each byte more",
          ["program, workers", *(f"{size:,} B" for size in BODIES),
           *(f"{small:,} to {large:,} B" for small, large in steps)],
          [[name, *(worker_us(found[size][name]) for size in BODIES),
            *(number(further(name, small, large), 3) for small, large in steps)]
           for name in names])
    return found


def run(world):
    return {"routes": by_routes(world), "keys": by_keys(world), "workers": by_workers(world),
            "body": by_body(world)}


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)

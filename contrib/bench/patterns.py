#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The same hits served in other ways: rows cached and formatted for each request ("before") and
finished responses cached ("after") in Node, and the caches of nginx and of Varnish. The caches
answer out of their own memory or files, on one host, and are told to keep everything: that is
their cost, not leeway's promise."""
import os

from measure.contest import Contestant, behind, hold
from measure.cost import memory_mb
from measure.fronts import NginxCache, NginxKept
from measure.markdown import table
from measure.node import start_node
from measure.varnish import Varnish
from measure.world import World, start_leeway

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "4"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "1"))
CONNECTIONS = (8, 64)
BUDGET_S = 3600
# about 100 bytes a row
SQL = ("select i as id, 'name of number ' || i as name, i * 1.25 as price, "
       "repeat('x', 40) as note from generate_series(1, {rows}) i")
SIZES = {"2kb": 19, "30kb": 290}
LEEWAY, AFTER = "leeway behind nginx", "article, after"


def routes():
    blocks = "".join(
        f'route "/{name}" {{ context = "c"  shape = array  sql = "{SQL.format(rows=rows)}" }}\n'
        for name, rows in SIZES.items())
    return f'context "c" {{ budget = {BUDGET_S}s }}\n{blocks}'


def node_routes():
    return [{"path": f"/{name}", "sql": SQL.format(rows=rows), "params": [], "shape": "array",
             "budget_s": BUDGET_S} for name, rows in SIZES.items()]


def start_contestants(world):
    """What can be started; Node may not be there, and says so itself."""
    leeway = start_leeway(world, LEEWAY, routes(), os.cpu_count())
    kept, cache = NginxKept(world, [leeway]), NginxCache(world, [leeway])
    varnish = Varnish(world, kept.ports[leeway.name], {"/": (BUDGET_S, 0)})
    contestants = [behind(world, kept, leeway),
                   Contestant("nginx's own cache", cache.ports[leeway.name],
                              {"web server": [cache.process]}),
                   Contestant("Varnish", varnish.port, {"web server": [varnish.process]})]
    for kind, name in (("before", "article, before"), ("after", AFTER)):
        node = start_node(world, kind, node_routes())
        if node is not None:
            contestants.append(Contestant(name, node.port, {
                "application": [node.process], "Redis": [world.redis.process]}))
    return contestants


def memory_of(contestant):
    """Of what answers, without Redis."""
    return memory_mb(*(process for name, processes in contestant.watched.items()
                       if name != "Redis" for process in processes))


def row(contestant, figures, base):
    def cpu(what):
        return figures.cpu.get(what, "-")
    return [contestant.name, figures.rate, figures.rate / base.rate if base else "-",
            *(figures.percentile(percent) for percent in (50, 95, 99)), figures.slowest,
            cpu("web server"), cpu("application"), cpu("Redis"), figures.all_cpu,
            memory_of(contestant), figures.errors_told]


def run(world):
    """Figures by (size, connections), then by contestant."""
    contestants = start_contestants(world)
    found = {}
    for size in SIZES:
        for connections in CONNECTIONS:
            these = hold(contestants, f"/{size}", connections, ROUNDS, SECONDS)
            table(f"{size}, {connections} connections; microseconds of processor a request, memory as "
                  "proportional set size of web server and application",
                  ["", "req/s", "of article, after", "p50 ms", "p95", "p99", "max", "web server us",
                   "application us", "Redis us", "in all", "MB", "errors"],
                  [row(one, these[one.name], these.get(AFTER)) for one in contestants])
            found[size, connections] = these
    return found


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)

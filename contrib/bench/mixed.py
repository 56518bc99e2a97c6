#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A load as an API has it: three contexts, keys as Zipf's law has them, budgets that end many times
during the run, queries that take their time. All get about the same requests a second (each of the
connections pauses between an answer and its next request), so that latencies compare. The load
generator looks into each body for how old it is, which costs it the same for all. Postgres logs each
statement, by which queries are counted. One contestant after another, each from a cold start."""
import os

from measure.contest import Contestant
from measure.cost import Meter
from measure.fronts import Nginx, NginxKept
from measure.markdown import number, table
from measure.node import start_node
from measure.varnish import Varnish
from measure.world import World, start_leeway
from measure.wrk import errors_told, run as load

SECONDS = int(os.environ.get("BENCH_MIXED_SECONDS", "14"))
WARM_UP_S = 4
CONNECTIONS = 64
PAUSE_MS = 40  # 64 connections: about 1,500 requests a second
ZIPF = 1.1
REFRESHERS = 4
# name: share of the requests, keys, budget in seconds, milliseconds of its query
CONTEXTS = {"profile": (70, 200, 2, 20), "dashboard": (25, 100, 5, 60), "analytics": (5, 20, 10, 150)}
MARKER = "marker:mixed"


def sql(context):
    _, _, budget_s, query_ms = CONTEXTS[context]
    return (f"select extract(epoch from statement_timestamp()) as asked, {budget_s} as budget, "
            f"$1::int as key, repeat('x', 1000) as text from pg_sleep({query_ms / 1000}) -- {MARKER}")


def routes():
    """/NAME/KEY with its budget, /each/NAME/KEY without."""
    text = 'context "none" { budget = 0s }\n'
    for name, (_, _, budget_s, _) in CONTEXTS.items():
        text += f'context "{name}" {{ budget = {budget_s}s }}\n'
        for prefix, context in (("", name), ("/each", "none")):
            text += f"""route "{prefix}/{name}/{{key}}" {{
  context = "{context}"  param "key" {{ type = int }}  sql = "{sql(name)}"  shape = object
}}
"""
    return text


class NginxUpdating(Nginx):
    """Its own cache over an application that runs each query."""

    name = "nginx, use_stale updating"
    locations = tuple(f"/each/{name}/" for name in CONTEXTS)

    @property
    def http(self):
        return (f"fastcgi_cache_path {self.path('cache')} levels=1:2 keys_zone=mixed:50m "
                "use_temp_path=off;")

    def settings_of(self, prefix):
        budget_s = CONTEXTS[prefix.split("/")[2]][2]
        return f"""fastcgi_cache mixed;
    fastcgi_cache_key $request_uri;
    fastcgi_ignore_headers Cache-Control Expires;
    fastcgi_hide_header Cache-Status;
    fastcgi_cache_valid 200 {budget_s}s;
    fastcgi_cache_lock on;
    fastcgi_cache_use_stale updating error timeout;
    fastcgi_cache_background_update on;
    add_header X-Cache $upstream_cache_status;"""


def start_node_contestants(world, postgres):
    nodes = [{"path": f"/{name}/:key", "sql": sql(name), "params": ["key"], "shape": "object",
              "budget_s": CONTEXTS[name][2]} for name in CONTEXTS]
    for kind in ("before", "after"):
        node = start_node(world, kind, nodes)
        if node is not None:
            yield Contestant(node.name, node.port, {
                "application": [node.process], "Redis": [world.redis.process], **postgres})


def start_contestants(world):
    leeway = start_leeway(world, "leeway", routes(), os.cpu_count(), refreshers=REFRESHERS,
                          postgres="slots = 100")
    each = start_leeway(world, "each", routes(), os.cpu_count(), postgres="slots = 100")
    postgres = {"Postgres": [world.postgres.process]}
    kept, plain = NginxKept(world, [leeway]), Nginx(world, [each])
    cache = NginxUpdating(world, [each])
    lifetimes = {f"/each/{name}": (0.9 * budget_s, 0.1 * budget_s)
                 for name, (_, _, budget_s, _) in CONTEXTS.items()}
    varnish = Varnish(world, plain.ports["each"], lifetimes)
    found = [Contestant("leeway", kept.ports["leeway"], {
        "web server": [kept.process], "application": [leeway.process, leeway.refresher],
        "Redis": [world.redis.process], **postgres})]
    found += start_node_contestants(world, postgres)
    found.append(Contestant(cache.name, cache.ports["each"], {
        "web server": [cache.process], "application": [each.process], **postgres}, prefix="/each"))
    found.append(Contestant("Varnish", varnish.port, {
        "web server": [varnish.process, plain.process], "application": [each.process], **postgres},
                            prefix="/each"))
    return found


class Outcome:
    """One run: `figures` of wrk, and what its script has counted."""

    def __init__(self, figures, queries):
        self.figures = figures
        self.queries = queries
        hit, stale, miss, late, oldest = figures.counts.split()
        self.answers = max(int(hit) + int(stale) + int(miss), 1)
        self.hit_share = (int(hit) + int(stale)) / self.answers
        self.stale_share = int(stale) / self.answers
        self.late = int(late)
        self.oldest_share = float(oldest)

    def cells(self):
        figures, cpu = self.figures, self.figures.cpu
        return [figures.rate, *(figures.percentile(percent) for percent in (50, 95, 99)),
                figures.slowest, f"{100 * self.hit_share:.1f} %", f"{100 * self.stale_share:.1f} %",
                str(self.queries), str(self.late), number(self.oldest_share, 2),
                *(number(cpu[name]) if name in cpu else "-"
                  for name in ("web server", "application", "Redis", "Postgres")),
                errors_told(figures.errors)]


def measure(world, contestant):
    work = [PAUSE_MS, ZIPF]
    for name, (share, keys, _, _) in CONTEXTS.items():
        work += [f"{contestant.prefix}/{name}/", share, keys]
    load(contestant.port, work, CONNECTIONS, WARM_UP_S, script="mixed.lua")
    before = world.stack.executions(MARKER)
    with Meter(contestant.watched) as meter:
        figures = load(contestant.port, work, CONNECTIONS, SECONDS, script="mixed.lua")
    figures.cpu = meter.per(max(figures.requests, 1))
    return Outcome(figures, world.stack.executions(MARKER) - before)


def print_outcomes(found):
    table("; ".join(f"{name}: {share} % of the requests, {keys} keys, budget {budget_s} s, query "
                    f"{query_ms} ms"
                    for name, (share, keys, budget_s, query_ms) in CONTEXTS.items()) +
          f". {CONNECTIONS} clients that pause {PAUSE_MS} ms on average, keys by Zipf's law with "
          f"exponent {ZIPF}; one run of {SECONDS} s each after {WARM_UP_S} s. `oldest` is in budgets",
          ["", "req/s", "p50 ms", "p95", "p99", "max", "hits and stale hits", "stale", "queries",
           "older than the budget", "oldest", "web server us/req", "application us", "Redis us",
           "Postgres us", "errors"],
          [[name, *outcome.cells()] for name, outcome in found.items()])


def run(world):
    """Outcomes by contestant."""
    found = {one.name: measure(world, one) for one in start_contestants(world)}
    print_outcomes(found)
    return found


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)

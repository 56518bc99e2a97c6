#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fifty requests at the same moment for a response that takes a query of 200 ms: never computed
before, in the last tenth of its budget, and just expired. nginx and Varnish are set up as their
users set them up for the same budget, over an application that runs the query each time: what is
compared is their own way to keep a crowd from it."""
import itertools
import math
import os
import statistics
import time

# it is measure that makes harness known
from measure.burst import burst
from measure.contest import Contestant
from measure.fronts import Nginx, NginxKept
from measure.markdown import number, table
from measure.node import POOL, PROCESSES, start_node
from measure.varnish import Varnish
from measure.world import World, start_leeway

from harness.wait import wait_until

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))
CLIENTS = 50
QUERY_MS = 200
BUDGET_S = 5
SLOTS = 100  # queries at once that leeway's workers may run
# a pool smaller than the crowd runs its queries in waves, one of which takes half of this
QUIET_S = 2 * QUERY_MS / 1000
STATES = ("cold", "in the last tenth", "just expired")
MARKER = "marker:stampede"
SQL = ("select extract(epoch from statement_timestamp()) as asked, {key} as key "
       f"from pg_sleep({QUERY_MS / 1000}) -- {MARKER}")
ROUTES = f"""
context "budget" {{ budget = {BUDGET_S}s }}
context "none" {{ budget = 0s }}
route "/kept/{{key}}" {{
  context = "budget"  param "key" {{ type = int }}
  sql = "{SQL.format(key='$1::int')}"  shape = object
}}
route "/each/{{key}}" {{
  context = "none"  param "key" {{ type = int }}
  sql = "{SQL.format(key='$1::int')}"  shape = object
}}
"""


class NginxUpdating(Nginx):
    """Serves what is expired while one request fetches it anew, however old it is."""

    name = "nginx, use_stale updating"
    location = f"""fastcgi_cache crowd;
    fastcgi_cache_key $request_uri;
    fastcgi_ignore_headers Cache-Control Expires;
    fastcgi_cache_valid 200 {BUDGET_S}s;
    fastcgi_cache_lock on;
    fastcgi_cache_use_stale updating error timeout;
    fastcgi_cache_background_update on;"""

    @property
    def http(self):
        return (f"fastcgi_cache_path {self.path('cache')} levels=1:2 keys_zone=crowd:10m "
                "use_temp_path=off;")


class NginxBounded(NginxUpdating):
    """Serves nothing beyond its time; the lock is for what is new only."""

    name = "nginx, bounded"
    location = NginxUpdating.location.replace("updating error timeout", "off").replace(
        "fastcgi_cache_background_update on;", "")


def start_contestants(world):
    leeway = start_leeway(world, "leeway", ROUTES, os.cpu_count(), refreshers=1,
                          postgres=f"slots = {SLOTS}")
    kept, plain = NginxKept(world, [leeway]), Nginx(world, [leeway])
    varnish = Varnish(world, plain.ports["leeway"], {"/": (BUDGET_S * 0.9, BUDGET_S * 0.1)})
    route = {"path": "/kept/:key", "sql": SQL.format(key="$1::int"), "params": ["key"],
             "shape": "object", "budget_s": BUDGET_S}
    found = [Contestant("leeway", kept.ports["leeway"], prefix="/kept/")]
    for kind in ("before", "after"):
        node = start_node(world, kind, [route])
        if node is not None:
            found.append(Contestant(node.name, node.port, prefix="/kept/"))
    for front in (NginxUpdating(world, [leeway]), NginxBounded(world, [leeway])):
        found.append(Contestant(front.name, front.ports["leeway"], prefix="/each/"))
    return found + [Contestant("Varnish", varnish.port, prefix="/each/")]


def sleep_until(moment):
    time.sleep(max(0, moment - time.monotonic()))


def settled(count):
    """What count() gives once it has given the same for QUIET_S: answers may leave work behind."""
    last, since = count(), time.monotonic()

    def is_quiet():
        nonlocal last, since
        time.sleep(0.05)
        now = count()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_S

    wait_until(is_quiet, "no further queries", 10)
    return last


class Crowd:
    """One burst: how many queries it led to, and its answers."""

    def __init__(self, world, contestant, key):
        before = world.stack.executions(MARKER)
        self.answers = burst(contestant.port, f"{contestant.prefix}{key}", CLIENTS)
        self.queries = settled(lambda: world.stack.executions(MARKER)) - before


def round_of(world, contestant, keys):
    """Crowds by state. Both entries are made first, and grow old at the same time."""
    stale, expired, cold = next(keys), next(keys), next(keys)
    for key in (stale, expired):
        status = burst(contestant.port, f"{contestant.prefix}{key}", 1)[0].status
        assert status == 200, f"{contestant.name}: {status} for a single request"
        made = time.monotonic() - QUERY_MS / 1000
        if key == stale:
            stale_at = made + BUDGET_S * 0.94
    expired_at = made + BUDGET_S * 1.28  # nginx counts whole seconds
    sleep_until(stale_at)
    found = {STATES[1]: Crowd(world, contestant, stale)}
    sleep_until(expired_at)
    found[STATES[2]] = Crowd(world, contestant, expired)
    found[STATES[0]] = Crowd(world, contestant, cold)
    return found


class Outcome:
    """Of all rounds: the most queries, the median, the slowest, the oldest. Without any good answer
    the times are endless."""

    def __init__(self, crowds):
        answers = [answer for crowd in crowds for answer in crowd.answers]
        good = [answer for answer in answers if answer.status == 200]
        self.queries = max(crowd.queries for crowd in crowds)
        times_ms = [answer.took_ms for answer in good] or [math.inf]
        self.p50_ms = statistics.median(times_ms)
        self.slowest_ms = max(times_ms)
        self.oldest_s = max((answer.age_s for answer in good), default=math.inf)
        self.errors = len(answers) - len(good)

    def cells(self):
        return [str(self.queries), f"{number(self.p50_ms)} / {number(self.slowest_ms)}"]


def print_outcomes(found):
    rows = []
    for name, states in found.items():
        worst = max(outcome.oldest_s for outcome in states.values())
        rows.append([name, *(cell for state in STATES for cell in states[state].cells()),
                     f"{worst:.1f} s" + (" (past it)" if worst > BUDGET_S else ""),
                     str(sum(outcome.errors for outcome in states.values()))])
    table(f"{CLIENTS} requests at once, a query of {QUERY_MS} ms, a budget of {BUDGET_S} s: queries "
          f"that reached Postgres, median / slowest answer in ms; the worst of {ROUNDS} rounds. In "
          f"front: of leeway, nginx with connections kept; of Node ({PROCESSES} processes), "
          "nothing; the two nginx ask leeway without a cache and keep no connections, Varnish asks "
          f"it through an nginx that keeps none. Queries at once: leeway {SLOTS} (slots), Node "
          f"{PROCESSES * POOL} (a pool of {POOL} in each process)",
          ["", *(cell for state in STATES for cell in (f"{state}: queries", "ms")),
           "oldest body", "errors"], rows)
    slowest = found["leeway"][STATES[0]].slowest_ms
    print(f"\nleeway, cold: the slowest answer came {slowest - QUERY_MS:.1f} ms after its query's "
          f"{QUERY_MS} ms")


def run(world):
    """Outcomes by contestant and state."""
    contestants = start_contestants(world)
    keys = itertools.count(1)
    rounds = {one.name: [] for one in contestants}
    for _ in range(ROUNDS):
        for contestant in contestants:
            rounds[contestant.name].append(round_of(world, contestant, keys))
    found = {name: {state: Outcome([one[state] for one in those]) for state in STATES}
             for name, those in rounds.items()}
    print_outcomes(found)
    return found


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)

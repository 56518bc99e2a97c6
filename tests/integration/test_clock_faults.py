# SPDX-License-Identifier: BSD-2-Clause
"""Clocks that lie: this machine's or Redis's are slewed, set, or stand still. The judge is Postgres,
whose clock is right: each answer says when it was computed. An answer was written after it was
asked for, so it is late for certain if it was too old by then; how late the reader was plays no
part."""
import json
import signal
import time

import pytest

from harness import report
from harness.http import Background
from harness.postgres import GATE
from harness.process import signal_each, tree
from harness.wait import wait_until

BUDGET_S = 2
PAUSE_S = 5
SLOW_S = 1.5    # of the budget
SLEW = 83333    # ppm: chrony's default limit
NOW = "extract(epoch from clock_timestamp())::float8"
ROUTES = f"""
context "plain" {{ budget = {BUDGET_S}s  refresh_at = 1 }}
context "lasting" {{ budget = {BUDGET_S}s  refresh_at = 1  stale_if_error = 1h }}
route "/hit/plain" {{ context = "plain"  sql = "select {NOW} as t"  shape = value }}
route "/hit/lasting" {{ context = "lasting"  sql = "select {NOW} as t"  shape = value }}
route "/slow/plain" {{ context = "plain"  shape = value
  sql = "with a as materialized (select {NOW} as t) select t from a, pg_sleep({SLOW_S})" }}
route "/slow/lasting" {{ context = "lasting"  shape = value
  sql = "with a as materialized (select {NOW} as t) select t from a, pg_sleep({SLOW_S})" }}
route "/gated/plain" {{ context = "plain"  shape = value
  sql = "with a as materialized (select {NOW} as t) select t from a, {GATE} -- marker:plain" }}
route "/gated/lasting" {{ context = "lasting"  shape = value
  sql = "with a as materialized (select {NOW} as t) select t from a, {GATE} -- marker:lasting" }}
"""
KINDS = ("plain", "lasting")
OLDEST = {}


class Fault:
    """`before`: set before anything is asked, else once the entries are there."""

    def __init__(self, act, before=True):
        self.act, self.before = act, before


FAULTS = {
    "none": Fault(lambda host, redis: None),
    "host slow": Fault(lambda host, redis: host.slew(-SLEW)),
    "host fast": Fault(lambda host, redis: host.slew(SLEW)),
    "redis slow": Fault(lambda host, redis: redis.slew(-SLEW)),
    "redis fast": Fault(lambda host, redis: redis.slew(SLEW)),
    "both slow": Fault(lambda host, redis: (host.slew(-SLEW), redis.slew(-SLEW))),
    "host slow, redis fast": Fault(lambda host, redis: (host.slew(-SLEW), redis.slew(SLEW))),
    "host fast, redis slow": Fault(lambda host, redis: (host.slew(SLEW), redis.slew(-SLEW))),
    "redis set back by 30 s": Fault(lambda host, redis: redis.move_time_of_day(-30), False),
    "redis set forward by 30 s": Fault(lambda host, redis: redis.move_time_of_day(30), False),
}


class World:
    """A Redis and a host, each with clocks of its own, and what came of asking."""

    def __init__(self, stack):
        self.stack = stack
        self.redis_clock = stack.shim()
        stack.redis.stop()
        stack.redis.start(environment=stack.environment)
        stack.environment = None
        self.host = stack.beside("host")
        self.host_clock = self.host.shim()
        self.host.configure(ROUTES, workers=1)
        self.worker = self.host.start_worker()
        self.oldest = {}
        self.statuses = {}

    def times_asked(self):
        stats = self.stack.redis.client().info("commandstats")
        return stats.get("cmdstat_time", {}).get("calls", 0)

    def await_measurements(self, count):
        """Counted from now on, by Redis itself."""
        before = self.times_asked()
        wait_until(lambda: self.times_asked() >= before + count, "Redis's clock is measured")

    def judge(self, path, kind, answer, not_before):
        status, headers, body = answer
        if status == 200 and "stale-if-error" not in headers["cache-status"]:
            age = (not_before - json.loads(body)) / BUDGET_S
            self.oldest[path, kind] = max(age, self.oldest.get((path, kind), 0))

    def ask(self, path, kind):
        asked = time.time()
        answer = self.host.ask(f"/{path}/{kind}")
        self.count(answer[0])
        self.judge(path, kind, answer, asked)

    def ask_for(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for kind in KINDS:
                self.ask("hit", kind)

    def ask_slow(self, seconds):
        """Queries that take most of the budget, one after another; an answer comes at the earliest
        when its query has slept."""
        until = time.monotonic() + seconds
        def ask(kind):
            while time.monotonic() < until:
                asked = time.time()
                status, headers, body = self.host.ask(f"/slow/{kind}")
                self.count(status)
                if status == 200:
                    slept = json.loads(body) + SLOW_S
                    self.judge("slow", kind, (status, headers, body), max(asked, slept))
        return [Background(lambda kind=kind: ask(kind)) for kind in KINDS]

    def count(self, status):
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def note(self, fault):
        for key in (("hit", "plain"), ("hit", "lasting"), ("slow", "plain"), ("slow", "lasting")):
            OLDEST.setdefault(fault, []).append(f"{self.oldest.get(key, 0):.3f}")
        report.table("clock_faults", ["fault", "hit", "hit, stale_if_error", "miss",
                                      "miss, stale_if_error"],
                     [[name, *ages] for name, ages in OLDEST.items()])

    def exceeded(self):
        _, _, text = self.host.ask("/metrics")
        return sum(float(line.split()[-1]) for line in text.decode().splitlines()
                   if line.startswith("leeway_budget_exceeded_total{"))


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_served_past_its_budget(stack, name):
    world = World(stack)
    fault = FAULTS[name]
    if fault.before:
        fault.act(world.host_clock, world.redis_clock)
        world.await_measurements(2)
    for kind in KINDS:
        world.ask("hit", kind)
    if not fault.before:
        fault.act(world.host_clock, world.redis_clock)
    slow = world.ask_slow(2.2 * BUDGET_S)
    world.ask_for(2.2 * BUDGET_S)
    for later in slow:
        later.result()
    world.note(name)
    assert max(world.oldest.values(), default=0) < 1
    assert world.oldest["hit", "plain"] > 0 and world.oldest["hit", "lasting"] > 0
    answered = world.statuses[200] / sum(world.statuses.values())
    assert answered > 0.9, "and everybody gets an answer"


def pause(world, wall_goes_on, meanwhile=lambda: None, seconds=PAUSE_S):
    """The machine stands still, all its clocks with it; what sets the time of day when it goes on,
    as a guest's agent or chrony does, is not always there."""
    processes = tree(world.worker.pid)
    signal_each(processes, signal.SIGSTOP)
    meanwhile()
    time.sleep(seconds)
    world.host_clock.hold(seconds)
    if wall_goes_on:
        world.host_clock.move_time_of_day(seconds)
    signal_each(processes, signal.SIGCONT)


@pytest.mark.parametrize("wall_goes_on", [True, False])
def test_hits_of_a_machine_that_was_paused(stack, wall_goes_on):
    world = World(stack)
    for kind in KINDS:
        world.ask("hit", kind)
    world.await_measurements(1)
    pause(world, wall_goes_on)
    if not wall_goes_on:  # nothing on the machine can tell before Redis is asked
        world.await_measurements(1)
    world.ask_for(1.2 * BUDGET_S)
    world.note("host paused, " + ("time set" if wall_goes_on else "once Redis is asked"))
    assert max(world.oldest.values()) < 1
    assert world.exceeded() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_that_was_done_while_the_machine_was_paused(stack, kind):
    world = World(stack)
    with world.stack.gate() as gate:
        later = Background(lambda: world.host.ask(f"/gated/{kind}"))
        wait_until(lambda: stack.executions(f"marker:{kind}") == 1, "the query is under way")
        pause(world, False, gate.open)
        gone_on = time.time()
    answer = later.result()
    if answer[0] == 200:
        world.judge("slow", kind, answer, gone_on)
    world.note(f"host paused, its query done, {kind}")
    assert max(world.oldest.values(), default=0) < 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_after_a_short_pause_is_as_old_as_it_is(stack, kind):
    """The lease is still held: the answer is stored, with a snapshot from before."""
    world = World(stack)
    seconds = 1.2
    with world.stack.gate() as gate:
        later = Background(lambda: world.host.ask(f"/gated/{kind}"))
        wait_until(lambda: stack.executions(f"marker:{kind}") == 1, "the query is under way")
        pause(world, False, seconds=seconds)
        world.ask("hit", "plain")  # which measures Redis's clock
        world.await_measurements(1)
        gate.open()
        status, _, body = later.result()
    assert status in (200, 504)
    until = time.monotonic() + 1.5 * BUDGET_S
    while time.monotonic() < until:
        world.ask("gated", kind)
    assert max(world.oldest.values()) < 1
    assert world.exceeded() == 0


def test_a_lease_that_is_found_lost_before_a_pause(stack):
    world = World(stack)
    with world.stack.gate() as gate:
        later = Background(lambda: world.host.ask("/gated/plain"))
        wait_until(lambda: stack.executions("marker:plain") == 1, "the query is under way")
        for lease in stack.redis.client().keys("*:lease"):
            stack.redis.client().set(lease, "another's", px=60000)
        scripts = stack.redis.client().info("commandstats").get("cmdstat_eval", {}).get("calls", 0)
        wait_until(lambda: stack.redis.client().info("commandstats").get(
            "cmdstat_eval", {}).get("calls", 0) > scripts, "it was to be renewed")
        world.await_measurements(1)
        pause(world, False, gate.open)
        gone_on = time.time()
        stack.redis.client().delete(*stack.redis.client().keys("*:lease"))
    answer = later.result()
    if answer[0] == 200:
        world.judge("slow", "plain", answer, gone_on)
    assert max(world.oldest.values(), default=0) < 1


@pytest.mark.parametrize("refresher", [False, True])
def test_a_budget_of_a_second_has_its_hits(stack, refresher):
    """What is allowed for clocks does not eat it."""
    stack.configure('context "c" { budget = 1s }\n'
                    'route "/second" { context = "c"  sql = "select 1 as n -- marker:second"'
                    '  shape = value }', workers=1)
    stack.start_worker()
    if refresher:
        stack.start_refresher()
    hits = asked = 0
    until = time.monotonic() + 10
    while time.monotonic() < until:
        status, headers, body = stack.ask("/second")
        assert status == 200, body
        hits += "; hit;" in headers["cache-status"]
        asked += 1
    queries = stack.executions("marker:second")
    report.table("budget_of_a_second" + "_refreshed" * refresher,
                 ["asked", "hits", "queries in 10 s"], [[asked, hits, queries]])
    assert hits > asked / 2, "also where the machine is loaded"

# SPDX-License-Identifier: BSD-2-Clause
"""The same load on several contestants in turns, so that what a machine does beside hits all."""
import re
from collections import Counter

from .cost import Meter
from .wrk import errors_told, run


class Contestant:
    """Who answers at `port`, and the processes whose cost is read, by what they are called. `work`
    is what this one is asked for instead of what the others are, `prefix` what its paths begin
    with. `stack` is that of a leeway all of whose answers have to be hits."""

    def __init__(self, name, port, watched=None, work=None, prefix="", stack=None):
        self.name = name
        self.port = port
        self.watched = watched or {}
        self.work = work
        self.prefix = prefix
        self.stack = stack


def behind(world, front, backend, name=None, work=None):
    """A backend behind a web server."""
    return Contestant(name or backend.name, front.ports[backend.name],
                      {"application": [backend.process], "web server": [front.process],
                       "Redis": [world.redis.process]}, work, stack=getattr(backend, "stack", None))


class Figures:
    """The means of several runs; `slowest` and `errors` of all of them."""

    def __init__(self, runs):
        def mean(values):
            return sum(values) / len(runs)

        self.rate = mean(one.rate for one in runs)
        self.permille_ms = [mean(points)
                            for points in zip(*(one.permille_ms for one in runs))]
        self.slowest = max(one.slowest for one in runs)
        self.cpu = {name: mean(one.cpu[name] for one in runs) for name in runs[0].cpu}
        self.application_us = [one.cpu["application"] for one in runs if "application" in one.cpu]
        self.sleeps = mean(one.sleeps for one in runs)
        self.kernel_share = mean(one.kernel_share for one in runs)
        kinds = sum((Counter(one.errors) for one in runs), Counter())
        self.errors = sum(kinds.values())
        self.errors_told = errors_told(kinds)

    def percentile(self, percent):
        return self.permille_ms[round(percent * 10)]

    @property
    def all_cpu(self):
        return sum(self.cpu.values())

    @property
    def starves(self):
        """Whether somebody waits for another client's connection and not for an answer."""
        return self.errors > 0 or self.slowest > 20 * self.percentile(50) + 100


def answers_that_are_no_hits(stack):
    """So far; leeway's own count."""
    _, _, text = stack.ask("/metrics")
    return sum(float(count) for count in re.findall(
        r'^leeway_response_seconds_count\{[^}]*cached="false"[^}]*\} (\S+)', text.decode(), re.M))


def measure(contestant, work, connections, seconds, headers=()):
    """One run."""
    before = answers_that_are_no_hits(contestant.stack) if contestant.stack else 0
    with Meter(contestant.watched) as meter:
        result = run(contestant.port, work, connections, seconds, headers=headers)
    requests = max(result.requests, 1)
    result.cpu = meter.per(requests)
    application = meter.used.get("application")
    result.sleeps = application.sleeps / requests if application else 0
    result.kernel_share = application.kernel_us / max(application.us, 1) if application else 0
    if contestant.stack:
        others = answers_that_are_no_hits(contestant.stack) - before
        assert "status" not in result.errors and others == 0, \
            f"{contestant.name}: {errors_told(result.errors)} errors, {others:.0f} were no hits"
    return result


def hold(contestants, work, connections, rounds, seconds, warm_up=1):
    """Figures by the contestant's name. `work` as for wrk.run()."""
    runs = {one.name: [] for one in contestants}
    for number in range(rounds):
        for one in contestants:
            if number == 0:
                run(one.port, one.work or work, connections, warm_up)
            runs[one.name].append(measure(one, one.work or work, connections, seconds))
    return {name: Figures(those) for name, those in runs.items()}

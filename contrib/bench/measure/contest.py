# SPDX-License-Identifier: BSD-2-Clause
"""The same load on several contestants in turns, so that what a machine does beside hits all."""
from collections import Counter

from .cost import Meter
from .wrk import errors_told, run


class Contestant:
    """Who answers at `port`, and the processes whose cost is read, by what they are called. `work`
    is what this one is asked for instead of what the others are, `prefix` what its paths begin
    with."""

    def __init__(self, name, port, watched=None, work=None, prefix=""):
        self.name = name
        self.port = port
        self.watched = watched or {}
        self.work = work
        self.prefix = prefix


def behind(world, front, backend, name=None, work=None):
    """A backend behind a web server."""
    return Contestant(name or backend.name, front.ports[backend.name],
                      {"application": [backend.process], "web server": [front.process],
                       "Redis": [world.redis.process]}, work)


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
        kinds = sum((Counter(one.errors) for one in runs), Counter())
        self.errors = sum(kinds.values())
        self.errors_told = errors_told(kinds)

    def percentile(self, percent):
        return self.permille_ms[round(percent * 10)]

    @property
    def all_cpu(self):
        return sum(self.cpu.values())


def hold(contestants, work, connections, rounds, seconds, warm_up=1):
    """Figures by the contestant's name. `work` as for wrk.run()."""
    runs = {one.name: [] for one in contestants}
    for number in range(rounds):
        for one in contestants:
            if number == 0:
                run(one.port, one.work or work, connections, warm_up)
            with Meter(one.watched) as meter:
                result = run(one.port, one.work or work, connections, seconds)
            result.cpu = meter.per(max(result.requests, 1))
            runs[one.name].append(result)
    return {name: Figures(those) for name, those in runs.items()}

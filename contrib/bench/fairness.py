#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Whether anybody starves when the web server keeps its connections: 64 clients, and nginx with
`keepalive` 8, 32 and 64 over 8 workers. A plain libfcgi worker stays with a connection that is kept
until it is closed; whoever comes over another one waits until then."""
import os

from measure.contest import behind, hold
from measure.cost import usage
from measure.fronts import NginxKept
from measure.markdown import number, table
from measure.world import World, start_leeway, start_plain

SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
KEEPALIVE = (8, 32, 64)
CLIENTS = 64
WORKERS = 8
TIMES = 20  # the median: more is called starving
ROUTES = """
context "c" { budget = 1h }
route "/hit" { context = "c"  sql = "select repeat('x', 1989) as text"  shape = object }
"""


class Pid:
    def __init__(self, pid):
        self.pid = pid


class Shares:
    """`with Shares(backend) as shares:` then str(shares): what part of the workers' processor time
    each had, least and most, warming up included; 12.5 % is an eighth."""

    def __init__(self, backend):
        self.backend = backend

    def read(self):
        return [usage(Pid(pid)).us for pid in self.backend.process.children()]

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *exception):
        used = [after - before for after, before in zip(self.read(), self.before)]
        self.least, self.most = (100 * one / max(sum(used), 1) for one in (min(used), max(used)))

    def __str__(self):
        return f"{self.least:.0f} to {self.most:.0f} %"


def starved_share(figures):
    """In per cent: the thousandths of the distribution that lie over TIMES the median. wrk fills it
    up with the requests that a client would have made had it not been held up, so this is the part
    of the time in which a client would have waited so long, not of the requests made."""
    limit = TIMES * figures.percentile(50)
    return sum(point > limit for point in figures.permille_ms[:1000]) / 10


def row(keepalive, name, figures, shares):
    median = figures.percentile(50)
    return [str(keepalive), name, figures.rate, median, figures.percentile(95),
            figures.percentile(99), figures.slowest, number(figures.slowest / median, 1),
            f"{starved_share(figures):.1f} %", str(shares), figures.errors_told]


def run(world):
    """Figures by (keepalive, program)."""
    backends = [start_leeway(world, "leeway", ROUTES, WORKERS),
                start_plain(world, "libfcgi", WORKERS, "fixed", 2000)]
    found, rows = {}, []
    for keepalive in KEEPALIVE:
        front = type("NginxKeeping", (NginxKept,), {"keepalive": keepalive})(world, backends)
        for backend in backends:
            with Shares(backend) as shares:
                figures = hold([behind(world, front, backend)], "/hit", CLIENTS, 1,
                               SECONDS)[backend.name]
            found[keepalive, backend.name] = figures
            rows.append(row(keepalive, backend.name, figures, shares))
        front.process.stop()
    table(f"{CLIENTS} clients, nginx keeping connections, {WORKERS} workers; one run of {SECONDS} s "
          "each; `max` is the slowest request of all that were answered",
          ["keepalive", "program", "req/s", "p50 ms", "p95", "p99", "max", "max / p50",
           f"time spent over {TIMES} x p50", "a worker's share of their CPU", "errors"], rows)
    return found


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)
